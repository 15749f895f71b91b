"""A case on a screen: each claim with the answer to it, a seal, what was verified, what was exported."""

from __future__ import annotations

import textwrap
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.cases.portable import Exported
    from stillwatch.cases.verify import Verified
    from stillwatch.records import Case, Finding, Seal

FEW = 20


def show(case: Case, today: date | None = None) -> None:
    """Print a case."""
    day = (today or datetime.now(UTC).date()).isoformat()
    output.line(f"{case.id}  {case.title}")
    output.line(f"  {case.status}, {case.tlp}, opened {case.opened_at[:10]}")
    if case.subjects:
        _words("about", ", ".join(case.subjects))
    for finding in case.findings[:FEW]:
        _show_finding(case, finding, day)
    if len(case.findings) > FEW:
        output.line(f"\n{output.count(len(case.findings) - FEW, 'more finding')} (--json)")
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
        output.line(
            f"\n{output.count(len(case.notices), 'notice')}, {output.count(len(case.indicators), 'indicator')}"
        )
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
    answers = [a for a in case.answers if a.finding == finding]
    found = [f"{a.party}, {a.received_at[:10]}: {a.statement}" for a in answers]
    for asked in case.asked:
        if asked.finding == finding and asked.party not in {a.party for a in answers}:
            waiting = f"no answer by {asked.due}" if asked.due < day else f"asked, due {asked.due}"
            found.append(f"{asked.party}: {waiting}")
    return found


def _show_finding(case: Case, finding: Finding, day: str) -> None:
    output.line()
    gone = next((w for w in case.withdrawals if w.finding == finding.id), None)
    state = "" if gone is None else "CORRECTED, " if gone.replaced_by else "WITHDRAWN, "
    output.line(f"{finding.id[:12]}  {state}{finding.decision}: {finding.subject}")
    _words("claim", finding.claim)
    for words in replies(case, finding.id, day) or ["nobody was asked yet"]:
        _words("answer", words)
    if gone is not None:
        by = f"; see {gone.replaced_by[:12]}" if gone.replaced_by else ""
        _words("withdrawn", f"{gone.at[:10]} {gone.by}: {gone.reason}{by}")


def _words(name: str, text: str) -> None:
    lines = textwrap.wrap(output.printable(" ".join(text.split())), output.WIDTH - 14) or [""]
    for number, part in enumerate(lines):
        output.line(f"  {name if not number else '':<11} {part}")
