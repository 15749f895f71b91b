"""``watermark ledger``: answers in, accounts out; no text without a word in the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stillwatch.cli.watermark import app
from stillwatch.errors import FormatError, InputError, IntegrityError

RUNNER = CliRunner()
LONG = (
    "A leap year has 366 days, which is one more than other years have, and it comes every four years or so. "
)
LONG += "Centuries are the exception, unless four hundred divides them, as it did in the year two thousand."


def typed(workspace: Path, *words: object, stdin: str | None = None) -> Any:
    all_words = ["ledger", *map(str, words), "--workspace", str(workspace)]
    return RUNNER.invoke(app, all_words, input=stdin, catch_exceptions=True)


def refused(result: Any, kind: type[Exception] = InputError) -> str:
    assert isinstance(result.exception, kind), (result.exception, result.output)
    return str(result.exception)


def rows(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, (result.exception, result.output)
    return [json.loads(line) for line in result.stdout.splitlines()]


def answer(number: int | str, **fields: Any) -> dict[str, Any]:
    base = {"exchange_id": f"req-{number}", "time": "2026-11-20T10:00:00Z", "account": "ann@example.org"}
    return base | {"text": f"answer number {number}"} | fields


def lines(*answers: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in answers)


def journal(workspace: Path) -> list[dict[str, Any]]:
    path = workspace / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    assert RUNNER.invoke(app, ["key", "new", "--workspace", str(tmp_path)]).exit_code == 0
    assert typed(tmp_path, "policy", "--keep", "both", "--by", "ann").exit_code == 0
    file = tmp_path / "answers.jsonl"
    file.write_text(
        lines(
            answer(1, text=LONG, mark="0123456789abcdef", model="m-1"),
            answer(2, account="a-00000000000000ff"),
            answer(3, account=7, tokens=[1, 2, 3], text=None),
            answer(4, withheld_text="the other one", note={"twin": 1}),
        )
    )
    done = typed(tmp_path, "add", file)
    assert done.exit_code == 0, done.exception
    assert "4 answers added, 0 were there already" in done.stdout and "Head, worth noting" in done.stdout
    return tmp_path


def test_which_account_received_a_text(workspace: Path) -> None:
    file = workspace / "found.txt"
    file.write_text(LONG + "\n")
    (row,) = rows(typed(workspace, "find", "--exact", file, "--json"))
    assert row["exchange_id"] == "req-1" and row["mark"] == "0123456789abcdef"
    assert row["note"] == {"model": "m-1"} and row["account"].startswith("a-") and "text" not in row
    (same,) = rows(typed(workspace, "find", "--digest", row["text_digest"], "--json"))
    assert same["record"] == row["record"]
    file.write_text("It was said that " + LONG.upper())
    (near,) = rows(typed(workspace, "find", "--like", file, "--json"))
    assert near["exchange_id"] == "req-1" and near["fits"].endswith(f"of {near['fits'].split()[-1]}")
    file.write_text(
        "Nobody was ever told this, in no words that are like those, so nothing can be found of it."
    )
    assert rows(typed(workspace, "find", "--like", file, "--json")) == []
    assert "0 of 1 asked for" in typed(workspace, "find", "--exact", file).stdout


def test_by_account_and_by_tokens(workspace: Path) -> None:
    found = rows(typed(workspace, "find", "--account", "ann@example.org", "--json"))
    assert [row["exchange_id"] for row in found] == ["req-1", "req-4"]
    assert [
        r["exchange_id"] for r in rows(typed(workspace, "find", "--account", found[0]["account"], "--json"))
    ] == [
        "req-1",
        "req-4",
    ]
    (one,) = rows(typed(workspace, "find", "--account", "a-00000000000000ff", "--json"))
    assert one["exchange_id"] == "req-2"
    done = typed(workspace, "find", "--account", "ann@example.org", "--limit", "1")
    assert "1 more: --limit" in done.stdout
    assert rows(typed(workspace, "find", "--account", "nobody@example.org", "--json")) == []
    done = typed(workspace, "find", "--exact", "-", "--json", stdin='{"tokens": [1, 2, 3]}\n')
    assert [row["exchange_id"] for row in rows(done)] == ["req-3"]


def test_texts_and_names_are_shown_only_with_a_word_in_the_journal(workspace: Path) -> None:
    done = typed(workspace, "find", "--account", "ann@example.org")
    assert "leap year" not in done.stdout and "--text" in done.stderr
    assert [entry["kind"] for entry in journal(workspace)] == ["ledger.policy"]
    done = typed(workspace, "find", "--account", "ann@example.org", "--text", "--reveal")
    assert "req-1: A leap year" in done.stdout and "ann@example.org" in done.stdout
    said = journal(workspace)[1:]
    assert [(e["kind"], e["body"]["kind"], e["body"]["count"]) for e in said] == [
        ("reveal", "account", 1),
        ("reveal", "text", 2),
    ]
    assert "leap" not in (workspace / "journal.jsonl").read_text()
    assert "ann@" not in (workspace / "journal.jsonl").read_text()


def test_adding_again_adds_nothing(workspace: Path) -> None:
    done = typed(workspace, "add", workspace / "answers.jsonl")
    assert "0 answers added, 4 were there already" in done.stdout
    twice = lines(answer(9), answer(9), answer(10))
    assert "2 answers added, 1 were there" in typed(workspace, "add", "-", stdin=twice).stdout


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON object is expected"),
        ('{"exchange_id": "x"}', "time is missing; there is exchange_id"),
        (json.dumps(answer(1, time="yesterday")), "time is such as"),
        (json.dumps(answer(1, time="2026-11-20T10:00:00")), "with its zone"),
        (json.dumps(answer(1, account="\ud800")), "half a character"),
        (json.dumps(answer("\ud800")), "half a character"),
        (json.dumps(answer(1, note={"a": float("nan")})), "its note is not JSON"),
        (json.dumps(answer(1, time="2126-11-20T10:00:00Z")), "more than a day ahead"),
        (json.dumps(answer(1, time=(1 << 62) - 1)), "time"),
        (json.dumps(answer(1, account=10**400)), "out of range"),
        (json.dumps(answer(1, account=1.5)), "account is a name or a pseudonym"),
        (json.dumps(answer(1, text=None)), "neither text nor tokens"),
        (json.dumps(answer(1, text=5)), "text is text, found int"),
        (json.dumps(answer(1, tokens=[-1])), "list of token ids"),
        (json.dumps(answer(1, mark="xyz")), "16 hexadecimal digits"),
        (json.dumps(answer(1, keep="no")), "keep is true or false"),
        (json.dumps(answer(1, note=[1])), "note is a JSON object"),
    ],
)
def test_a_bad_line_is_named_or_counted(workspace: Path, line: str, why: str) -> None:
    told = refused(typed(workspace, "add", "-", stdin=lines(answer(20)) + line + "\n"), FormatError)
    assert told.startswith("-:2:") and why in told
    done = typed(workspace, "add", "-", "--skip-bad", stdin=lines(answer(20)) + line + "\n")
    assert "1 answer added" in done.stdout and "1 passed over" in done.stdout and why in done.stderr


def test_verify_names_the_first_bad_record_and_holds_a_noted_head(workspace: Path) -> None:
    done = typed(workspace, "verify")
    assert "4 records hold, 4 answers among them; 4 kept texts opened." in done.stdout
    head = done.stdout.split()[-1]
    assert typed(workspace, "verify", "--head", head).exit_code == 0
    refused(typed(workspace, "verify", "--head", head.replace(":", ":0", 1)[:-1]), IntegrityError)
    (segment,) = (workspace / "marks" / "ledger" / "segments").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"req-2")] ^= 1
    segment.write_bytes(data)
    assert "record 1" in refused(typed(workspace, "verify"), IntegrityError)


def test_describe_and_expire(workspace: Path) -> None:
    (said,) = rows(typed(workspace, "describe", "--json"))
    assert (said["answers"], said["accounts"], said["kept"], said["twins"], said["erased"]) == (4, 3, 4, 1, 0)
    assert (
        said["marks"] == {"": 3, "0123456789abcdef": 1}
        and said["bytes"] > 0
        and said["policy"]["keep"] == "both"
    )
    shown = typed(workspace, "describe").stdout
    assert (
        "4 answers of 3 accounts, 2026-11-20 to 2026-11-20" in shown and "Policy: digests, and text" in shown
    )
    assert "0 segments destroyed" in typed(workspace, "expire", "--days", "100000").stdout
    assert "1 segment destroyed" in typed(workspace, "expire", "--days", "0", "--by", "ann").stdout
    (said,) = rows(typed(workspace, "describe", "--json"))
    assert (said["answers"], said["erased"]) == (4, 4)
    done = typed(workspace, "find", "--account", "ann@example.org", "--text")
    assert "leap year" not in done.stdout and "was not kept, or is erased" in done.stdout
    assert "Texts of 1 segment were erased" in typed(workspace, "verify").stdout


def test_the_policy_is_narrow_until_somebody_widens_it(tmp_path: Path) -> None:
    assert "Policy: digests only; one shingle in 4." in typed(tmp_path, "policy").stdout
    assert journal(tmp_path) == []
    done = typed(tmp_path, "policy", "--keep", "text", "--share", "0.1", "--retain-days", "7", "--by", "ann")
    assert "text of 10% of the exchanges, encrypted, for 7 days" in done.stdout
    assert journal(tmp_path)[0]["body"]["by"] == "ann"
    assert "7 days" in typed(tmp_path, "policy").stdout and len(journal(tmp_path)) == 1
    assert "share lies between" in refused(typed(tmp_path, "policy", "--share", "2"))
    (tmp_path / "marks" / "ledger" / "policy.json").write_text('{"keep": "all"}')
    assert "not a policy" in refused(typed(tmp_path, "policy"))


def test_what_cannot_be_asked(workspace: Path, tmp_path: Path) -> None:
    assert "ask by one of" in refused(typed(workspace, "find"))
    assert "ask by one of" in refused(typed(workspace, "find", "--digest", "0" * 64, "--account", "x"))
    assert "64 hexadecimal digits" in refused(typed(workspace, "find", "--digest", "12"))
    told = refused(typed(workspace, "find", "--like", "-", stdin='{"tokens": [1]}\n'))
    assert "--like takes text" in told
    empty = tmp_path / "empty"
    assert RUNNER.invoke(app, ["key", "new", "--workspace", str(empty)]).exit_code == 0
    for words in (("find", "--account", "a-00000000000000ff"), ("verify",), ("describe",), ("expire",)):
        assert "there is no ledger here" in refused(typed(empty, *words))
    assert not (empty / "marks" / "ledger").exists()


def test_conversations_go_in_by_name_and_come_out_as_digests(workspace: Path) -> None:
    turns = [
        answer(n, text=f"{LONG} {n}", conversation=name) for n, name in ((11, "thread-1"), (12, "thread-1"))
    ]
    added = typed(workspace, "add", "-", stdin=lines(*turns))
    assert added.exit_code == 0, added.exception
    (workspace / "asked.txt").write_text(f"{LONG} 11")
    found = rows(typed(workspace, "find", "--like", workspace / "asked.txt", "--json"))
    said = {r["exchange_id"]: r["note"].get("conversation") for r in found}
    assert said["req-11"] == said["req-12"] and len(said["req-11"]) == 32 and said["req-1"] is None
    assert "conversation is text" in refused(
        typed(workspace, "add", "-", stdin=lines(answer(13, conversation=5))), FormatError
    )
