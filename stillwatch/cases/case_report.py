"""The report of a case: what it holds, told first for somebody who knows no statistics, then with every number.

Pages are bounded: of 10,000 findings the strongest `FULL` are told in full and `ROWS` stand in the table, and each
table says what it leaves out. A claim that somebody answered is always shown with that answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import cast

from stillwatch.cases.case_summary import DECISIONS, summary
from stillwatch.cases.claims import (
    code,
    decision_words,
    fallen,
    joined,
    last_delivery,
    name_of,
    user,
    whole_case,
)
from stillwatch.cases.content import (
    METHOD,
    THIS,
    Block,
    Document,
    Paragraph,
    Section,
    Span,
    Table,
    Text,
    check,
    followed_by,
)
from stillwatch.cases.finding_section import finding_sections
from stillwatch.cases.languages import Language, language
from stillwatch.cases.own_words import marked, own
from stillwatch.cases.plain_words import colon
from stillwatch.cases.sources import source_map
from stillwatch.records import Card, Case, Finding, Run

FULL = 40
"""Findings told in full."""
WITHDRAWN = 100
"""Withdrawn findings that have a section of their own; a table lists them all."""
ROWS = 300
"""Rows of one table."""
INPUTS = 20
SUBJECTS = 5


def case_report(
    case: Case,
    *,
    today: date,
    created_at: str,
    cards: Sequence[Card] = (),
    language_code: str = "en",
    author: str = "",
) -> Document:
    """The report of a case as a document, checked against its sources.

    Parameters
    ----------
    case
        What is told.
    today
        Decides whether a date by which an answer was due has passed.
    created_at
        ISO time, UTC, at which the report is written.
    cards
        The methods that the findings rest on; those that took no part are left out.
    language_code
        ``en``, ``fr``, ``ar`` or ``zh``. The findings' own words stay in the language in which they were written.
    author
        Who writes it; empty: not stated.

    Returns
    -------
    Document
        The same arguments give the same document.

    Raises
    ------
    InputError
        A number without a source, or a source that is not in the case.
    """
    lang = language(language_code)
    known = {card.name: card for card in cards}
    gone = fallen(case)
    ordered = sorted(case.findings, key=lambda f: _rank(f, f.id in gone))
    told, short = _told(case, ordered)

    def party(name: str) -> Text:
        return user(name) or lang.say("answer.party")

    sections = [summary(case, ordered, lang)]
    answers = whole_case(case, lang, today, party, "report.answers_claim")
    if answers is not None:
        sections.append(Section(lang.say("report.answers"), (answers,), mark="answers"))
    sections += [_how_to_read(lang), _overview(case, ordered, lang)]
    sections.append(
        Section(
            lang.say("report.detail"),
            (Paragraph(lang.say("report.detail_rest", shown=len(told), n=len(ordered)), (case.id,)),),
        )
    )
    full = {f.id for f in told}
    for finding in [*told, *short]:
        sections += finding_sections(
            case, finding, lang, today=today, party=party, cards=known, full=finding.id in full
        )
    sections += [
        _withdrawn(case, lang),
        _notices(case, lang),
        _evidence(case, lang),
        _custody(case, lang),
        *_methods(told, known, lang),
        _runs(case, lang),
        _seal(case, lang),
    ]
    document = Document(
        kind="report",
        language=lang.code,
        direction=lang.direction,
        title=lang.say("report.title", case=case.id, title=own(case.title, lang)),
        tlp=case.tlp,
        classification="",
        created_at=created_at,
        head=_head(case, lang, created_at, author),
        marks=marks(case, lang),
        words=words(lang),
        sections=tuple(sections),
    )
    document = followed_by(document, source_map(document, case, lang, title=lang.say("source.title")))
    check(document, case)
    return document


def marks(case: Case, lang: Language) -> tuple[Text, ...]:
    """What stands above everything else."""
    found = [] if lang.reviewed else [lang.say("mark.unreviewed")]
    if case.status == "withdrawn":
        found.append(lang.say("mark.withdrawn"))
    return tuple(found)


def words(lang: Language) -> dict[str, str]:
    """What renderers need to know of a language."""
    page, of = (lang.messages[f"word.{w}"] for w in ("page", "of"))
    return {"page": page, "of": of, "digits": lang.digits, "colon": lang.messages["word.colon"]}


def tlp_words(tlp: str, lang: Language) -> Text:
    """``TLP:AMBER``, and what it means."""
    key = tlp.removeprefix("TLP:").lower().replace("+", "_")
    return (*code(tlp), colon(lang), *lang.say(f"tlp.{key}"))


def _head(case: Case, lang: Language, created_at: str, author: str) -> tuple[tuple[Text, Text], ...]:
    rows = [
        (lang.say("head.case"), code(case.id)),
        (lang.say("head.status"), lang.say(f"status.{case.status}")),
        (lang.say("head.opened"), (Span(lang.day(case.opened_at)),)),
        (lang.say("head.written"), (Span(lang.day(created_at)),)),
        (lang.say("head.tlp"), tlp_words(case.tlp, lang)),
    ]
    if author:
        rows.append((lang.say("head.written_by"), user(author)))
    if case.subjects:
        shown = [user(s) for s in case.subjects[:SUBJECTS]]
        if len(case.subjects) > SUBJECTS:
            shown.append((Span("…"),))
        rows.append((lang.say("head.subjects"), joined(shown, ", ")))
    return tuple(rows)


def _rank(finding: Finding, gone: bool) -> tuple[int, bool, float, str]:
    evalue = finding.log_evalue if finding.log_evalue is not None else -math.inf
    part = bool(finding.details.get("part_of"))
    return DECISIONS.index(finding.decision) + 4 * gone, part, -evalue, finding.id


def _told(case: Case, ordered: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Findings told in full; and those of which claim and answer are shown, because somebody was asked or one of
    them was withdrawn."""
    gone = fallen(case)
    supported = [f for f in ordered if f.decision == "supported" and f.id not in gone]
    asked = {a.finding for a in case.asked} | {a.finding for a in case.answers}
    told = [f for f in supported if f.id in asked] + [f for f in supported if f.id not in asked]
    full = told[:FULL]
    chosen = {f.id for f in full}
    spoken = [f for f in ordered if f.id in asked and f.id not in chosen]
    quiet = [f for f in ordered if f.id in gone and f.id not in asked]
    # Never bounded: a claim that somebody answered is shown with that answer.
    return full, [*spoken, *quiet[:WITHDRAWN]]


def _how_to_read(lang: Language) -> Section:
    keys = ["read_decisions", "read_odds", "read_not", "read_interval"]
    keys += [] if lang.code == "en" else ["originals"]
    return Section(
        lang.say("report.how_to_read"),
        tuple(Paragraph(lang.say(f"report.{key}"), (THIS,)) for key in keys),
    )


def _overview(case: Case, ordered: Sequence[Finding], lang: Language) -> Section:
    rows, gone = [], fallen(case)
    for finding in ordered[:ROWS]:
        decision, odds = decision_words(finding, lang), _chance(finding, lang)
        why = own(str(finding.details.get("reason") or ""), lang)
        if finding.id in gone:
            # A figure beside what no longer stands would still be read as one.
            corrected = gone[finding.id].state == "corrected"
            decision = lang.say("decision.corrected" if corrected else "decision.withdrawn")
            odds, why = (Span("–"),), user(gone[finding.id].word.reason)
        counts = [finding.details.get(key) for key in ("accounts", "exchanges")]
        rows.append(
            (
                user(name_of(finding)),
                decision,
                odds,
                *(lang.text(n) if isinstance(n, int) else (Span("–"),) for n in counts),
                why or (Span("–"),),
            )
        )
    head = tuple(
        lang.say(f"column.{c}") for c in ("subject", "decision", "odds", "accounts", "exchanges", "why")
    )
    rests = tuple(f.id for f in ordered[:ROWS])
    blocks: list[Block] = [Table(lang.say("report.findings_table"), head, tuple(rows), rests or (case.id,))]
    return Section(lang.say("report.findings"), (*blocks, *left_out(len(ordered), case, lang)))


def _chance(finding: Finding, lang: Language) -> Text:
    found = finding.log_evalue
    if found is None:
        return lang.say("word.not_tested")
    return lang.odds(found) if found > 0 else lang.say("word.nothing_against")


def left_out(n: int, case: Case, lang: Language, most: int = ROWS) -> list[Block]:
    """What a bounded table says about the rows it does not have."""
    if n <= most:
        return []
    said = lang.say("word.more_rows", shown=lang.count("rows", most), left=n - most)
    return [Paragraph(said, (case.id,))]


def _listed(
    case: Case, lang: Language, key: str, columns: Sequence[str], rows: Sequence[tuple[Text, ...]], n: int
) -> Section:
    """A section with one bounded table, or the sentence that there is nothing to list."""
    title = lang.say(f"report.{key}")
    if not rows:
        return Section(title, (Paragraph(lang.say(f"report.{key}_none"), (case.id,)),))
    head = tuple(lang.say(f"column.{c}") for c in columns)
    caption = lang.say(f"report.{key}_table")
    # What somebody wrote down about evidence and custody is told as it was written.
    caption = marked(caption, lang) if key in ("evidence", "custody") else caption
    table = Table(caption, head, tuple(rows), (case.id,))
    return Section(title, (table, *left_out(n, case, lang)))


def _withdrawn(case: Case, lang: Language) -> Section:
    named = {f.id: name_of(f) for f in case.findings}

    def shown(finding: str) -> Text:
        return (*user(named.get(finding, "")), Span(" "), *code(finding[:8]))

    rows = [
        (
            shown(w.finding),
            (Span(lang.day(w.at)),),
            user(w.by),
            user(w.reason),
            shown(w.replaced_by) if w.replaced_by else lang.say("word.none"),
        )
        for w in case.withdrawals[:ROWS]
    ]
    columns = ("finding", "at", "by", "reason", "replaced")
    return _listed(case, lang, "withdrawn", columns, rows, len(case.withdrawals))


def _notices(case: Case, lang: Language) -> Section:
    rows: list[tuple[Text, ...]] = []
    for notice in case.notices:
        for addressee in notice.addressees or ("",):
            last = last_delivery(case, notice.id, addressee)
            event = "none" if last is None else last.event.replace(" ", "_")
            when = notice.due if last is None else last.due or notice.due
            rows.append(
                (
                    user(notice.title),
                    lang.say(f"kind.{notice.kind}"),
                    user(addressee) or lang.say("head.nobody"),
                    lang.say(f"event.{event}"),
                    (Span(lang.day(when)),) if when else (Span("–"),),
                )
            )
    columns = ("notice", "kind", "addressee", "event", "due")
    return _listed(case, lang, "notices", columns, rows[:ROWS], len(rows))


def _evidence(case: Case, lang: Language) -> Section:
    rows = [
        (
            code(e.sha256[:16]),
            user(e.role),
            user(e.origin),
            (Span(lang.day(e.collected_at)),),
            code(e.tlp),
            lang.say("word.yes" if e.personal_data else "word.no"),
            (Span(lang.day(e.retain_until)),) if e.retain_until else (Span("–"),),
        )
        for e in case.evidence[:ROWS]
    ]
    columns = ("evidence", "role", "origin", "collected", "sharing", "personal", "retain")
    return _listed(case, lang, "evidence", columns, rows, len(case.evidence))


def _custody(case: Case, lang: Language) -> Section:
    rows = [
        (code(c.evidence[:16]), code(c.at), user(c.by), user(c.action), user(c.note))
        for c in case.custody[:ROWS]
    ]
    columns = ("evidence", "at", "by", "action", "note")
    return _listed(case, lang, "custody", columns, rows, len(case.custody))


def _methods(told: Sequence[Finding], cards: dict[str, Card], lang: Language) -> list[Section]:
    used = dict.fromkeys(r.test.partition("@")[0] for f in told for r in f.results)
    sections = [Section(lang.say("report.methods"), _gammas(told, lang))]
    for name in used:
        if name not in cards:
            continue
        card = cards[name]
        rows = (
            (lang.say("method.question"), own(card.question, lang)),
            (lang.say("method.null"), user(card.null)),
            (lang.say("method.unit"), user(card.unit)),
            (lang.say("method.looks_same"), joined([user(x) for x in card.looks_same], "\n")),
            (lang.say("method.assumptions"), joined([user(x) for x in card.assumptions], "\n")),
            (lang.say("method.sources"), joined([user(x) for x in card.sources], "\n")),
        )
        label = f"{card.name}@{card.version}"
        table = Table(marked(code(label), lang), (), rows, (METHOD + label,))
        sections.append(Section(own(card.title, lang), (table,), 2, (METHOD + label,)))
    if len(sections) == 1:
        none = Paragraph(lang.say("report.methods_none"))
        return [Section(lang.say("report.methods"), (none,))]
    return sections


def _gammas(told: Sequence[Finding], lang: Language) -> tuple[Paragraph, ...]:
    """What the cards mean by gamma, and which it was."""
    used = {float(g): f.id for f in told if isinstance(g := f.details.get("gamma"), (int, float))}
    if not used:
        return ()
    said = joined([lang.text(gamma) for gamma in sorted(used)], lang.messages["word.list"])
    return (Paragraph(lang.say("report.methods_gamma", gamma=said), tuple(used.values())),)


def _runs(case: Case, lang: Language) -> Section:
    if not case.runs:
        return Section(lang.say("report.runs"), (Paragraph(lang.say("report.runs_none"), (case.id,)),))
    return Section(lang.say("report.runs"), tuple(_run(run, lang) for run in case.runs[:ROWS]))


def _run(run: Run, lang: Language) -> Table:
    settings = json.dumps(run.config, sort_keys=True, ensure_ascii=False, default=str)
    inputs = [code(f"{name}: {found[:16]}") for name, found in sorted(run.inputs.items())]
    if len(inputs) > INPUTS:
        more = lang.say("run.more_inputs", n=len(inputs) - INPUTS)
        inputs = [*inputs[:INPUTS], more]
    rows = (
        (lang.say("run.version"), code(run.version)),
        (lang.say("run.command"), code(run.command)),
        (lang.say("run.seed"), code(str(run.seed))),
        (lang.say("run.settings"), code(settings)),
        (lang.say("run.inputs"), joined(inputs, "\n") or lang.say("word.none")),
    )
    return Table((*lang.say("run.id"), Span(" "), *code(run.id[:16])), (), rows, (run.id,))


def _seal(case: Case, lang: Language) -> Section:
    blocks: list[Block] = []
    for seal in case.seals[-ROWS:]:
        said = lang.say(
            "report.seal_text",
            by=seal.by,
            at=cast(Text, (Span(lang.day(seal.at)),)),
            entries=lang.count("entries", seal.seq),
            head=code(seal.head),
            key=code(seal.public_key),
            stamp=lang.say("word.yes" if seal.timestamp else "word.none"),
        )
        blocks.append(Paragraph(said, (seal.signature,)))
    if not case.seals:
        blocks.append(Paragraph(lang.say("report.seal_none"), (case.id,)))
    elif case.seals[-1].head == case.head:
        blocks.append(Paragraph(lang.say("report.seal_same"), (case.id,)))
    if case.head and not (case.seals and case.seals[-1].head == case.head):
        key = "report.seal_changed" if case.seals else "report.head"
        blocks.append(Paragraph(lang.say(key, head=code(case.head)), (case.id,)))
    return Section(lang.say("report.seal"), tuple(blocks), mark="seal")
