"""Cases in a database, their evidence in files, and a hash-chained journal of each.

Every operation is one transaction that appends to the journal of its case; what is asked is answered from that journal.
A process that is killed at any moment, or a full disk, leaves the case as it was before or as it is after.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import insert, text

from stillwatch.cases import chain, events, importing, portable, reading, rules, sealing
from stillwatch.cases.database import lock_files
from stillwatch.cases.events import Planned, Record
from stillwatch.cases.evidence import Draft
from stillwatch.cases.holdings import remove_deleted, strictest
from stillwatch.cases.marks import Mark
from stillwatch.cases.reader import CaseReader
from stillwatch.cases.schema import CASES, ENTRIES
from stillwatch.cases.sealing import Signer
from stillwatch.cases.verify import Verified
from stillwatch.cases.writing import Writer, link_entry, signed_mark
from stillwatch.errors import InputError
from stillwatch.records import (
    TLP,
    Answer,
    Asked,
    Case,
    Custody,
    Evidence,
    Finding,
    Note,
    Run,
    Seal,
    Share,
    Withdrawal,
)

_log = logging.getLogger(__name__)
_MANY = 20
"""Records from which on a bulk reads once what the case holds."""


class CaseStore(CaseReader):
    """The cases of one workspace, or of one database that several share; its parameters are those of `CaseReader`."""

    def open(
        self,
        title: str,
        *,
        tlp: TLP = "TLP:AMBER",
        subjects: Sequence[str] = (),
        by: str = "",
        at: datetime | None = None,
    ) -> Case:
        """A new case, ``C-`` and the next number.

        Parameters
        ----------
        subjects
            Pseudonyms, such as names of campaigns; never a person.
        by
            Who opens it.

        Raises
        ------
        InputError
            The title is empty, or the label is none of TLP 2.0.
        """
        if not title.strip():
            raise InputError("a case needs a title")
        events.rank(tlp)
        signer = self._signer()
        time = chain.moment(at)
        with self._database.writing() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(text("lock table cases in share row exclusive mode"))
            number = importing.next_number(connection)
            case = f"C-{number}"
            body = {
                "case": case, "title": title, "tlp": tlp, "subjects": list(subjects), "by": by,
                "nonce": os.urandom(16).hex(),
            }  # fmt: skip
            reading.read(events.Opened, body, "a case")
            head, line = link_entry(case, 1, chain.START, time, events.OPENED, body)
            mark = signed_mark(signer, case, 1, head)
            connection.execute(
                insert(CASES).values(
                    id=case, number=number, opened=head, title=title, status="open", tlp=tlp, opened_at=time,
                    seq=1, head=head, public_key=mark.public_key, signature=mark.signature,
                )
            )  # fmt: skip
            connection.execute(insert(ENTRIES).values(case_id=case, seq=1, line=line.decode()))
        self._note(mark)
        return self.get(case)

    def add_many(
        self, case: str, records: Iterable[Record], *, by: str = "", at: datetime | None = None
    ) -> tuple[bool, ...]:
        """Add records in their order, all or none; for each whether it is new.

        Parameters
        ----------
        records
            Findings (their runs before them), runs, evidence whose bytes are in `files` already, custody, notes, what
            was asked and answered, withdrawals, notices, deliveries, indicators.

        Raises
        ------
        InputError
            There is no such case; a record refers to something that the case does not have, or does not survive JSON;
            or it is evidence whose bytes were deleted from the case, or left out when it was taken in.
        IntegrityError
            The chain is broken at its end; nothing is added to it.
        """
        wanted = list(records)
        with self._chain(case, at) as writer:
            rules.check_open(writer, wanted)
            if len(wanted) > _MANY:
                writer.expect_many()
            return tuple([self._add(writer, record, by) for record in wanted])

    def add(self, case: str, record: Record, *, by: str = "", at: datetime | None = None) -> bool:
        """Add one record, as `add_many`; whether it is new."""
        return self.add_many(case, [record], by=by, at=at)[0]

    def add_finding(
        self,
        case: str,
        finding: Finding,
        run: Run | None = None,
        *,
        by: str = "",
        at: datetime | None = None,
    ) -> bool:
        """Add a finding with the run that made it; whether the finding is new."""
        return self.add_many(case, [*([run] if run else []), finding], by=by, at=at)[-1]

    def add_evidence(
        self,
        case: str,
        data: bytes | Path,
        *,
        media_type: str,
        role: str,
        origin: str,
        by: str,
        collected_at: str = "",
        tlp: TLP = "TLP:AMBER",
        personal_data: bool = True,
        retain_until: str = "",
        derived_from: Sequence[str] = (),
        at: datetime | None = None,
    ) -> Evidence:
        """Keep bytes, or the bytes of a file, as evidence; the record as the case has it.

        Bytes that the case has already are not added again, and their first record stands.

        Parameters
        ----------
        role
            What they are for the case: ``members``, ``log excerpt``.
        origin
            Where they come from, in words.
        collected_at
            ISO 8601, UTC; now if not given.
        retain_until
            ISO date; after it the bytes are in no export.
        derived_from
            sha256 of evidence from which these bytes were made.

        Raises
        ------
        InputError
            As for `add_many`; or the case has these bytes with a laxer label or retention than is asked for now.
        """
        with self.files.drafted([data]) as (draft,):
            record = Evidence(
                sha256=draft.sha256,
                media_type=media_type,
                size=draft.size,
                role=role,
                origin=origin,
                collected_at=collected_at or chain.moment(at),
                collected_by=by,
                tlp=tlp,
                personal_data=personal_data,
                retain_until=retain_until,
                derived_from=tuple(derived_from),
            )
            with self._chain(case, at) as writer:
                is_new = self._add(writer, record, by, draft)
                if is_new:
                    return record
                values = writer.record_of("evidence", record.sha256)["evidence"]
                return rules.first_stands(case, values, record)

    def note(self, case: str, remark: str, *, by: str, at: datetime | None = None) -> Note:
        """Add a remark."""
        record = Note(at=chain.moment(at), by=by, text=remark)
        self.add(case, record, by=by, at=at)
        return record

    def ask(
        self, case: str, party: str, *, due: str, by: str, finding: str = "", at: datetime | None = None
    ) -> Asked:
        """Record that a party was asked to answer a finding (or the whole case) by an ISO date."""
        record = Asked(party=party, finding=finding, at=chain.moment(at), due=due)
        self.add(case, record, by=by, at=at)
        return record

    def answer(
        self,
        case: str,
        party: str,
        statement: str,
        *,
        by: str,
        finding: str = "",
        received_at: str = "",
        evidence: Sequence[str] = (),
        at: datetime | None = None,
    ) -> Answer:
        """Record what a party says to a finding (or to the whole case); it may answer without having been asked."""
        record = Answer(
            party=party,
            finding=finding,
            statement=statement,
            received_at=received_at or chain.moment(at),
            recorded_by=by,
            evidence=tuple(evidence),
        )
        self.add(case, record, by=by, at=at)
        return record

    def withdraw(
        self,
        case: str,
        finding: str,
        reason: str,
        *,
        by: str,
        replacement: Finding | None = None,
        run: Run | None = None,
        replaced_by: str = "",
        at: datetime | None = None,
    ) -> Withdrawal:
        """Say that a finding was wrong. It stays in the case, shown as withdrawn or corrected.

        Parameters
        ----------
        replacement, run
            What is right, and the run that made it; added together with the withdrawal, to a closed case too.
        replaced_by
            Or the id of a finding that the case has already.
        """
        record = Withdrawal(
            finding=finding,
            at=chain.moment(at),
            by=by,
            reason=reason,
            replaced_by=replacement.id if replacement else replaced_by,
        )
        given: list[Record] = [r for r in (run, replacement) if r is not None]
        self.add_many(case, [*given, record], by=by, at=at)
        return record

    def delete_evidence(
        self, case: str, sha256: str, reason: str, *, by: str, at: datetime | None = None
    ) -> Custody:
        """Delete the bytes of an item, as retention asks for; its record and digest stay, the bytes never come back.

        Where another case has the same bytes, the file stays for that one (see `holders`) and this one has it no more.

        Raises
        ------
        InputError
            The case has no such item, or its bytes are gone already.
        """
        record = Custody(evidence=sha256, at=chain.moment(at), by=by, action="deleted", note=reason)
        with self._chain(case, at) as writer:
            if writer.has("evidence", sha256) and not writer.has_bytes(sha256):
                raise InputError(f"case {case}: it has no bytes of evidence {sha256[:12]} to delete")
            self._add(writer, record, by)
        self._remove_deleted()
        return record

    def note_share(self, case: str, share: Share, *, head: str, at: datetime | None = None) -> None:
        """Note what is about to leave; what stands in it was read when `head` was the last entry of the case.

        Raises
        ------
        InputError
            The case has another entry since then, so that the document is not what the journal would say.
        """
        with self._chain(case, at) as writer:
            if writer.head != head:
                raise InputError(f"case {case} was changed while it was shared; share it again")
            self._add(writer, share, share.by)

    def note_workspace(
        self, case: str, head: str, entries: int, *, by: str, at: datetime | None = None
    ) -> None:
        """Note the head of the workspace's journal in the case, so that one vouches for the other."""
        with self._chain(case, at) as writer:
            writer.add(Planned(events.NOTED, {"head": head, "entries": entries, "by": by}))

    def close_case(
        self, case: str, reason: str, *, by: str, withdrawn: bool = False, at: datetime | None = None
    ) -> None:
        """Close a case, or withdraw it as a whole. Answers, withdrawals and corrections are still taken.

        Raises
        ------
        InputError
            It is closed already.
        """
        with self._chain(case, at) as writer:
            if writer.status in ("closed", "withdrawn") and not (withdrawn and writer.status == "closed"):
                raise InputError(f"case {case} is {writer.status} already")
            writer.add(Planned(events.CLOSED, {"by": by, "reason": reason, "withdrawn": withdrawn}))

    def seal(self, case: str, *, by: str, signer: Signer | None = None, at: datetime | None = None) -> Seal:
        """Sign the state of a case. Note the seal elsewhere: it then shows a rollback, whoever did it.

        Parameters
        ----------
        signer
            Another key than the store's.
        """
        with self._chain(case, at) as writer:
            seal = sealing.make_seal(
                signer or self._signer(), case=str(writer.first()["case"]), seq=writer.seq, head=writer.head,
                at=chain.moment(at), by=by,
            )  # fmt: skip
            writer.add(events.plan_seal(seal))
        return seal

    def stamp(
        self,
        case: str,
        token: bytes,
        *,
        by: str,
        roots: Sequence[Path] = (),
        at: datetime | None = None,
    ) -> tuple[Seal, str]:
        """Attach an RFC 3161 time stamp to the newest seal; the seal with it, and the time that it states.

        Raises
        ------
        InputError
            The case has no seal, or the token is none.
        IntegrityError
            The stamp is over something else.
        MissingExtra
            ``stillwatch[timestamp]`` is not installed.
        """
        with self._chain(case, at) as writer:
            seals = self.get(case).seals
            if not seals:
                raise InputError(f"case {case} has no seal to stamp; start with: stillwatch case seal {case}")
            moment, kept = sealing.check_timestamp(token, seals[-1].signature, roots)
            body = {"signature": seals[-1].signature, "timestamp": kept, "by": by}
            writer.add(Planned(events.STAMPED, body))
        return replace(seals[-1], timestamp=kept), moment

    def export(
        self,
        case: str,
        path: Path,
        *,
        by: str,
        tlp: str = "",
        signer: Signer | None = None,
        today: date | None = None,
        replace_it: bool = False,
        at: datetime | None = None,
    ) -> portable.Exported:
        """Write a case as one portable file, see `stillwatch.cases.portable.written`; the journal notes that it left.

        The file is there after the journal says so, and not before: a case that does not hold leaves none behind.
        """
        with self._sound(case) as source:
            terms = strictest(source.connection, case)
            with portable.written(
                source, path, signer=signer or self._signer(), tlp=tlp, terms=terms, today=today, replace_it=replace_it
            ) as written, self._chain(case, at) as writer:  # fmt: skip
                body = {
                    "sha256": written.sha256, "tlp": written.tlp, "left_out": len(written.left_out), "by": by,
                }  # fmt: skip
                writer.add(Planned(events.EXPORTED, body))
        return written

    def import_file(
        self,
        path: Path,
        *,
        public_key: str = "",
        heads: Sequence[str] = (),
        as_case: str = "",
        by: str = "",
        at: datetime | None = None,
    ) -> tuple[str, int, Verified]:
        """Take in a portable file once everything in it is verified; before that nothing is written.

        A case that is here already, whatever its id, takes in what the file has beyond it, if the file's journal
        continues the one here and its signer may continue it: this store; `public_key`; a key that was given for this
        case before; where none ever was, the signer of the file that brought it.

        Parameters
        ----------
        public_key, heads
            As for `stillwatch.cases.portable.check_file`.
        as_case
            The id to give it, where its own is taken by another case.
        by
            Who takes it in.

        Returns
        -------
        tuple
            The id here, how many entries are new, and what was verified.

        Raises
        ------
        FormatError, IntegrityError
            The file is hostile, broken or changed.
        InputError
            Its id is taken; its journal does not continue the one that is here; its signer is not known.
        """
        with portable.opened(path) as source:
            found = portable.check_file(source, public_key=public_key, heads=heads)
            own = self._signer()
            known = [*self._known(), *([sealing.public_key_of(public_key)] if public_key else [])]
            incoming = importing.Incoming(source, found, known, as_case, by, chain.moment(at))
            with self._database.reading() as connection:
                importing.check_place(connection, incoming, self._marks)
            # What is refused has left nothing: the bytes get their names in the transaction that takes the case in.
            with importing.evidence_of(source, self.files) as drafts:
                importing.check_drafts(source, drafts)
                with self._database.writing() as connection:
                    mark, new = importing.merge(connection, incoming, signer=own, marks=self._marks)
                    lock_files(connection)
                    self.files.keep(drafts)
            has_deletions = bool(source.deleted())
        self._note(mark)
        if has_deletions:
            self._remove_deleted()
        return mark.case, new, found

    # -- inside -------------------------------------------------------------------------------------------------

    def _add(self, writer: Writer, record: Record, by: str, draft: Draft | None = None) -> bool:
        planned = events.plan(record, by)
        rules.check(writer, record)
        is_new = writer.add(planned)
        if isinstance(record, Evidence):
            writer.hold_files()
            if not writer.has_bytes(record.sha256):
                raise InputError(
                    f"case {writer.case}: the bytes of evidence {record.sha256[:12]} were deleted, or left out when "
                    "the case was taken in: they do not come back into it. A case of their own can have them"
                )
            if draft is not None:
                self.files.keep([draft])
            rules.check_bytes(writer.case, record, self.files.size(record.sha256))
        return is_new

    def _remove_deleted(self) -> None:
        with self._database.writing() as connection:
            lock_files(connection, alone=True)
            remove_deleted(connection, self.files)

    @contextmanager
    def _chain(self, case: str, at: datetime | None = None) -> Iterator[Writer]:
        """The end of a case's chain; what the block adds is committed together, then the new head is noted."""
        signer = self._signer()
        with self._database.writing() as connection:
            writer = Writer(
                connection, case, signer=signer, known=self._known(), marks=self._marks, time=chain.moment(at)
            )
            yield writer
            mark = writer.finish()
        self._note(mark)

    def _note(self, mark: Mark) -> None:
        try:
            self._marks.note(mark)
        except InputError as problem:
            # What was added is in; only the proof against an older copy of the database is one write behind.
            _log.warning("%s; the case itself was written", problem)
