"""What the tests of the case store share: records of every kind, and a PostgreSQL server to throw away."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillwatch.cases.store import CaseStore
from stillwatch.records import (
    Answer,
    Asked,
    Assumption,
    Custody,
    Delivery,
    Evidence,
    Excluded,
    Finding,
    Indicator,
    Note,
    Notice,
    Null,
    Run,
    TestResult,
)

AT = "2026-11-24T09:00:00+00:00"


def run(number: int = 1) -> Run:
    return Run(
        "0.1.0", "stillwatch campaigns scan", {"alpha": 0.01, "seed": number}, {"exchanges": "ab" * 32}, 1
    )


def finding(number: int = 1, *, of: Run | None = None, **more: Any) -> Finding:
    """With every kind of value that a finding can have, and text of every direction."""
    result = TestResult(
        test="registration@1",
        statistic=4,
        null=Null("registration times are those of matched groups", "permutation", "account", 999),
        n=198,
        unit="accounts",
        log_pvalue=-6.5,
        log_evalue=1e-300,
        log_evalue_ceiling=-0.0,
        effect=0.1 + 0.2,
        interval=(0.1, 0.5000000000000001),
        assumptions=(Assumption("exchangeable", "checked", "balance 0.1"), Assumption("own clock")),
        seed=7,
    )
    values: dict[str, Any] = {
        "subject": f"c-{number:06x}",
        "claim": f"{number} accounts act as one. \u202e\u0645\u0631\u062d\u0628\u0627 \u4f60\u597d \x00",
        "decision": "inconclusive",
        "results": (result,),
        "family": "41 groups",
        "log_evalue": 3.5,
        "alternatives": (Excluded("one company", None, "the log cannot tell"),),
        "limits": ("no device data", "two"),
        "run": (of or run()).id,
        "details": {"accounts": number, "share": 0.97, "deep": [{"a": [None, True, "x"]}, 1e-9]},
    }
    return Finding(**{**values, **more})


def notice(of: Finding, **more: Any) -> Notice:
    values: dict[str, Any] = {
        "kind": "alert",
        "language": "en",
        "created_at": AT,
        "created_by": "ann",
        "title": "Accounts that act as one",
        "addressees": ("Desk A", "Desk B"),
        "tlp": "TLP:AMBER",
        "classification": "",
        "findings": (of.id,),
        "due": "2026-12-24",
        "content": {"paragraphs": [{"number": 1, "text": "..."}]},
    }
    return Notice(**{**values, **more})


def indicator(**more: Any) -> Indicator:
    values: dict[str, Any] = {
        "kind": "template digest",
        "pattern": "[x:value = '7f']",
        "language": "stix",
        "valid_from": "2026-11-01",
        "valid_until": "2027-02-01",
        "confidence": 60,
        "tlp": "TLP:GREEN",
        "derived_from": (),
        "benign_hits": 0,
        "benign_of": 20_000,
    }
    return Indicator(**{**values, **more})


def filled(store: CaseStore, *, title: str = "Shared prompt in 198 accounts") -> str:
    """A case with everything in it; its id."""
    case = store.open(title, subjects=("c-000001",), by="ann").id
    first, second = finding(1), finding(2)
    told = notice(first)
    (log, size), (empty, _) = store.files.put(b"line one\n" * 40), store.files.put(b"")
    records = [
        run(),
        first,
        second,
        Evidence(log, "text/plain", size, "log", "a.log", AT, "ann"),
        Evidence(empty, "text/plain", 0, "excerpt", "a.log:3", AT, "ann", derived_from=(log,)),
        Custody(log, AT, "bob", "read", "on the spot"),
        Note(AT, "ann", "Ask the reseller first."),
        Asked("Reseller", first.id, AT, "2026-12-01"),
        Answer("Reseller", first.id, "These are our customers.", AT, "ann", (log,)),
        told,
        Delivery(told.id, "Desk A", AT, "ann", "delivered"),
        indicator(),
    ]
    store.add_many(case, records, by="ann")
    store.withdraw(case, second.id, "The log was another one.", by="ann", replacement=finding(3))
    store.seal(case, by="ann")
    return case


BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def postgres_is_here() -> bool:
    return bool(BINARIES and (BINARIES / "initdb").exists()) or bool(shutil.which("initdb"))


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of its own on a free port of this machine; its URL without a database.

    It runs as a user without rights (PostgreSQL refuses root), and is stopped and removed afterwards.
    """
    binaries = BINARIES or Path(str(shutil.which("initdb"))).parent
    person = next((n for n in ("postgres", "nobody") if _is_user(n)), None) if os.getuid() == 0 else None
    who: dict[str, Any] = {"user": person, "extra_groups": []} if person else {}
    folder = Path(tempfile.mkdtemp(prefix="sw-pg-"))
    password = secrets.token_hex(16)
    try:
        (folder / "password").write_text(password)
        if person:
            for path in (folder, folder / "password"):
                shutil.chown(path, person)
        data = folder / "data"
        command = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "ann",
            "-A",
            "scram-sha-256",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        command += ["--no-locale", f"--pwfile={folder / 'password'}"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **who)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            binaries / "postgres",
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            folder,
            "-N",
            "40",
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
        try:
            _wait_for(folder / "log", server)
            yield f"postgresql+pg8000://ann:{password}@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is kept
            server.wait(120)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(log: Path, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError("the PostgreSQL server ended")
        if b"ready to accept connections" in log.read_bytes():  # it answers before that, and refuses
            return
        time.sleep(0.1)
    raise RuntimeError("the PostgreSQL server does not answer")


def _is_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
