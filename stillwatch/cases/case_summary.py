"""The first page of a report: what the data support, what they leave open, and what no longer stands."""

from __future__ import annotations

from collections.abc import Sequence

from stillwatch.cases.claims import fallen, joined, name_of
from stillwatch.cases.content import Block, Paragraph, Section, Span, Text
from stillwatch.cases.finding_section import tested
from stillwatch.cases.languages import Language
from stillwatch.cases.own_words import own
from stillwatch.records import Case, Decision, Finding

TOLD = 5
"""Findings told in the summary, of those that are supported and of those that no longer stand."""
DECISIONS: tuple[Decision, ...] = ("supported", "inconclusive", "not supported", "not tested")


def summary(case: Case, ordered: Sequence[Finding], lang: Language) -> Section:
    """The first page: `ordered` has every finding, the strongest first."""
    gone = fallen(case)
    standing = [f for f in ordered if f.id not in gone]
    counts = {d: sum(f.decision == d for f in standing) for d in DECISIONS}
    supported = [f for f in standing if f.decision == "supported"]
    blocks: list[Block] = [
        Paragraph(lang.say("report.evidence_not_accusation")),
        Paragraph(
            lang.say(
                "report.counts",
                findings=lang.count("findings", len(case.findings)),
                supported=counts["supported"],
                inconclusive=counts["inconclusive"],
                not_supported=counts["not supported"],
                not_tested=counts["not tested"],
                withdrawn=len(case.findings) - len(standing),
            ),
            (case.id,),
        ),
        *logs(case, case.findings, lang),
    ]
    if not supported:
        blocks.append(Paragraph(lang.say("report.nothing_left" if gone else "report.nothing"), (case.id,)))
    for finding in supported[:TOLD]:
        blocks.append(Paragraph(_told_plainly(finding, lang), (finding.id,)))
        for state, key in ((False, "open_questions"), (None, "untold_questions")):
            names = [own(a.name, lang) for a in finding.alternatives if a.excluded is state]
            if names:
                listed = joined(names, lang.messages["word.list"])
                said = lang.say(f"report.{key}", subject=name_of(finding), names=listed)
                blocks.append(Paragraph(said, (finding.id,)))
    if len(supported) > TOLD:
        blocks.append(Paragraph(lang.say("report.more_supported", n=len(supported) - TOLD), (case.id,)))
    blocks += _no_longer(case, [f for f in ordered if f.id in gone and f.decision == "supported"], lang)
    models = [f for f in case.findings if f.details.get("about") == "model"]
    if len(models) < len(case.findings) or not models:
        blocks.append(Paragraph(lang.say("report.not_said")))
    if models:
        blocks.append(Paragraph(lang.say("report.not_said_model")))
    return Section(lang.say("report.summary"), tuple(blocks), mark="summary")


def logs(case: Case, findings: Sequence[Finding], lang: Language) -> list[Paragraph]:
    """How large the log was in which each of these findings was made, and which days it spans."""
    told, made_by = [], {f.run for f in findings}
    for run in [r for r in case.runs if r.id in made_by][:TOLD]:
        accounts, exchanges = (run.config.get(key) for key in ("population", "exchanges"))
        first, last = (str(run.config.get(key) or "") for key in ("first", "last"))
        if isinstance(accounts, int) and isinstance(exchanges, int) and first and last:
            days = lang.say("number.days", first=(Span(lang.day(first)),), last=(Span(lang.day(last)),))
            counted = {
                "accounts": lang.count("accounts", accounts),
                "exchanges": lang.count("exchanges", exchanges),
            }
            said = lang.say("report.log", **counted, days=days)
        elif isinstance(accounts, int):
            said = lang.say("report.log_accounts", accounts=lang.count("accounts", accounts))
        else:
            continue
        told.append(Paragraph(said, (run.id,)))
    if told or not any("acts_as_one" in f.details for f in findings):
        return told
    return [Paragraph(lang.say("report.log_untold"))]


def _no_longer(case: Case, findings: Sequence[Finding], lang: Language) -> list[Paragraph]:
    """What was supported and no longer stands; the claim itself is repeated only beside its answer."""
    gone, told = fallen(case), []
    for finding in findings[:TOLD]:
        word, corrected = gone[finding.id].word, gone[finding.id].state == "corrected"
        said = lang.say(
            "report.was_corrected" if corrected else "report.was_withdrawn",
            at=(Span(lang.day(word.at)),),
            subject=name_of(finding),
            reason=word.reason,
        )
        told.append(Paragraph(said, (finding.id, case.id)))
    if len(findings) > TOLD:
        told.append(Paragraph(lang.say("report.more_withdrawn", n=len(findings) - TOLD), (case.id,)))
    return told


def _told_plainly(finding: Finding, lang: Language) -> Text:
    found, needed = finding.log_evalue, finding.log_evalue_needed
    claim = own(finding.claim, lang)
    if found is None or found <= 0 or needed is None:
        return lang.say("report.supported", subject=name_of(finding), claim=claim)
    return lang.say(
        "report.supported_sure",
        subject=name_of(finding),
        claim=claim,
        tested=tested(finding, lang),
        odds=lang.odds(found),
        needed=lang.odds(needed),
    )
