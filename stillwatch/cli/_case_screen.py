"""A case on a screen: each claim with what became of it and the answer to it, a seal, what was verified or exported."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.cases.claims import Fallen
    from stillwatch.cases.portable import Exported
    from stillwatch.cases.verify import Verified
    from stillwatch.records import Case, Finding, Seal

FEW = 20
"""Rows of a list that are shown; the rest is counted. Whatever fell or was answered is always among them."""


def show(case: Case, today: date | None = None) -> None:
    """Print a case."""
    from stillwatch.cases.claims import fallen

    day = (today or datetime.now(UTC).date()).isoformat()
    gone = fallen(case)
    output.line(f"{case.id}  {case.title}")
    status = "WITHDRAWN" if case.status == "withdrawn" else case.status
    output.line(f"  {status}, {case.tlp}, opened {case.opened_at[:10]}")
    if case.closing:
        word = "withdrawn" if case.closing.withdrawn else "closed"
        _words(word, f"{case.closing.at[:10]} {case.closing.by}: {case.closing.reason}")
    if case.subjects:
        _words("about", ", ".join(case.subjects))
    if case.findings:
        _words("findings", _counted(case, gone))
    shown = _shown(case, gone)
    for finding in shown:
        _show_finding(case, finding, gone.get(finding.id), day)
    if left := len(case.findings) - len(shown):
        what = "fell with the case" if case.status == "withdrawn" else "stand"
        output.line(f"\n{output.count(left, 'more finding')} that {what} (--json)")
    if whole := replies(case, "", day):
        output.line("\nTo the whole case")
        for words in whole:
            _words("answer", words)
    if case.evidence:
        output.line()
        output.table(
            [(e.sha256[:16], e.size, e.tlp, e.role, e.origin) for e in case.evidence[:FEW]],
            ["EVIDENCE", "BYTES", "TLP", "ROLE", "ORIGIN"],
        )
        if len(case.evidence) > FEW:
            output.line(f"{output.count(len(case.evidence) - FEW, 'more item')} (--json)")
    if case.notes:
        output.line()
        for note in case.notes[-FEW:]:
            _words("note", f"{note.at[:10]} {note.by}: {note.text}")
    if case.notices or case.indicators:
        indicators = output.count(len(case.indicators), "indicator")
        gone = f", {len(case.revocations)} of them taken back" if case.revocations else ""
        output.line(f"\n{output.count(len(case.notices), 'notice')}, {indicators} filed{gone}")
    for seal in case.seals:
        output.line(
            f"sealed over {output.count(seal.seq, 'entry', 'entries')} at {seal.at[:19]} by {seal.by}"
        )
    output.line(f"Next: stillwatch case {'verify' if case.seals else 'seal'} {case.id}")


def seal(made: Seal) -> None:
    """Print what is to be noted of a seal."""
    from stillwatch.cases.sealing import fingerprint

    output.line(
        f"{made.case} is sealed over {output.count(made.seq, 'entry', 'entries')}; note these elsewhere:"
    )
    output.line(f"  head         {made.head}")
    output.line(f"  public key   {made.public_key}")
    output.line(f"  fingerprint  {fingerprint(made.public_key)}")


def verified(found: Verified) -> None:
    """Print what was found whole, and who vouches for it."""
    from stillwatch.cases.sealing import fingerprint

    output.line(
        f"{found.name}: whole; {output.count(found.entries, 'entry', 'entries')}, "
        f"{output.count(found.findings, 'finding')}, {output.count(found.evidence, 'item')} of evidence "
        f"({found.evidence_bytes:,} bytes)"
    )
    for one in found.seals:
        output.line(
            f"  seal over {output.count(one.seq, 'entry', 'entries')} by {fingerprint(one.public_key)}"
        )
    if found.vouched:
        known = "" if found.pinned else ", not known beforehand"
        output.line(f"  signed by {found.vouched}")
        output.line(f"  fingerprint {fingerprint(found.vouched)}{known}")
    for taken in found.imports:
        brought = (
            f"entries {taken.first} to {taken.last}"
            if taken.first <= taken.last
            else "what was left out before"
        )
        known = "" if taken.named else ", not known beforehand"
        output.line(f"  {brought}: taken in by {taken.by or 'somebody'} on {taken.at[:10]} from a file that")
        output.line(f"    {fingerprint(taken.public_key)} signed{known}")
    for kind, identity, reason in found.left_out[:10]:
        output.line(f"  not here: {kind} {identity[:12]}, {reason}")
    if len(found.left_out) > 10:
        output.line(f"  not here: {len(found.left_out) - 10:,} more")
    for words in found.notes:
        output.line(f"  note: {words}")


def exported(written: Exported) -> None:
    """Print what a portable file holds, and what not."""
    output.line(f"{written.path}: {output.count(written.members, 'member')}, {written.size:,} bytes")
    output.line(f"  sha256 {written.sha256}")
    for item in written.left_out[:10]:
        output.line(f"  left out: {item.kind} {item.id[:12]}, {item.reason}")
    if len(written.left_out) > 10:
        output.line(f"  left out: {len(written.left_out) - 10:,} more; the manifest lists them")
    output.line(f"Next: stillwatch case verify {written.path}")


def replies(case: Case, finding: str, day: str) -> list[str]:
    """What was answered to a finding (or the whole case), and who was asked and has not answered."""
    from stillwatch.cases.claims import answered, answers_to, predecessors, questions

    before = predecessors(case, finding)
    found = [f"{a.party}, {a.received_at[:10]}: {a.statement}" for a in answers_to(case, finding)]
    for old in before:
        found += [
            f"{a.party}, {a.received_at[:10]}, to the claim before: {a.statement}"
            for a in answers_to(case, old)
        ]
    if finding:
        whole = dict.fromkeys(a.party for a in answers_to(case, ""))
        found += [f"{party} answered to the whole case, see below" for party in whole]
    for asked in questions(case):
        if asked.finding in (finding, "", *before) and not answered(case, asked):
            waiting = f"no answer by {asked.due}" if asked.due < day else f"asked, due {asked.due}"
            about = " (about the whole case)" if finding and not asked.finding else ""
            found.append(f"{asked.party}: {waiting}{about}")
    return found


def _counted(case: Case, gone: Mapping[str, Fallen]) -> str:
    """``24: 22 stand, 1 withdrawn, 1 corrected``."""
    states: Counter[str] = Counter(gone[f.id].state if f.id in gone else "stand" for f in case.findings)
    parts = ", ".join(f"{n:,} {state}" for state, n in states.most_common())
    return f"{len(case.findings):,}: {parts}"


def _shown(case: Case, gone: Mapping[str, Fallen]) -> list[Finding]:
    """The first of them, and every one that somebody withdrew, corrected, was asked about or answered."""
    spoken = {q.finding for q in case.asked} | {a.finding for a in case.answers}
    spoken |= {i for i, what in gone.items() if what.state != "withdrawn with its case"}
    return [f for n, f in enumerate(case.findings) if n < FEW or f.id in spoken]


def _show_finding(case: Case, finding: Finding, gone: Fallen | None, day: str) -> None:
    output.line()
    state = f"{gone.state.upper()}, " if gone else ""
    output.line(f"{finding.id[:12]}  {state}{finding.decision}: {finding.subject}")
    _words("claim", finding.claim)
    for words in replies(case, finding.id, day) or ["nobody was asked yet"]:
        _words("answer", words)
    if gone and gone.state != "withdrawn with its case":
        by = f"; see {gone.word.replaced_by[:12]}" if gone.word.replaced_by else ""
        _words("withdrawn", f"{gone.word.at[:10]} {gone.word.by}: {gone.word.reason}{by}")


def _words(name: str, text: str) -> None:
    lines = textwrap.wrap(output.printable(" ".join(text.split())), output.WIDTH - 14) or [""]
    for number, part in enumerate(lines):
        output.line(f"  {name if not number else '':<11} {part}")
