"""The import as a whole: every row counted once, nothing twice, in any container, and a clear word when it fails."""

from __future__ import annotations

import csv
import fcntl
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs_samples import START, lines, read, record

from stillwatch.engine.tables import Workspace
from stillwatch.errors import FormatError, InputError, SchemaError
from stillwatch.identity import Keys, Pseudonyms
from stillwatch.logs import ingest
from stillwatch.logs import sources as reading

ROWS = 40
LOG = lines(record(i) for i in range(ROWS))


def adds_up(done) -> bool:
    return (
        done.rows
        == done.added + done.duplicates + done.quarantined
        == sum((done.added, done.duplicates, *done.reasons.values()))
    )


def test_a_log_becomes_exchanges(tmp_path, write):
    done = ingest([write("a.jsonl", LOG)], tmp_path / "w")
    assert (done.rows, done.added, done.duplicates, done.quarantined) == (ROWS, ROWS, 0, 0)
    assert (done.exchanges, done.accounts, done.formats) == (ROWS, 7, {str(tmp_path / "a.jsonl"): "litellm"})
    assert (done.first_time, done.last_time) == (START * 10**6, (START + ROWS - 1) * 10**6)
    found = read(tmp_path / "w")
    assert found["source_line"].to_pylist() == list(range(1, ROWS + 1))
    assert found["turns"].to_pylist() == [1] * ROWS
    names = Pseudonyms(Keys(tmp_path / "w" / "key"), tmp_path / "w" / "vault.db")
    accounts = names.reveal("account", found["account_id"].to_pylist())
    assert set(accounts.values()) == {f"user-{i}" for i in range(7)}
    assert [accounts[i] for i in found["account_id"].to_pylist()] == [f"user-{i % 7}" for i in range(ROWS)]


def test_nothing_readable_is_written(tmp_path, write):
    ingest([write("a.jsonl", LOG)], tmp_path / "w")
    for path in (tmp_path / "w").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"user-3" not in content, path
            assert b"neighbours" not in content, path
            assert b"10.0." not in content, path


def test_the_same_again_adds_nothing(tmp_path, write):
    path = write("a.jsonl", LOG)
    ingest([path], tmp_path / "w")
    before = read(tmp_path / "w")
    containers = {
        "copy.jsonl": LOG,
        "a.jsonl.gz": gzip.compress(LOG),
        "a.jsonl.zst": pa.compress(LOG, codec="zstd", asbytes=True),
        "two.gz": gzip.compress(LOG[: LOG.index(b"\n") + 1]) + gzip.compress(LOG[LOG.index(b"\n") + 1 :]),
        "backwards.jsonl": b"".join(reversed(LOG.splitlines(keepends=True))),
        "spaced.jsonl": LOG.replace(b"\n", b"  \r\n\r\n"),
        "open_end.jsonl": LOG[:-1],
        "array.json": b"[" + LOG[:-1].replace(b"\n", b",\n") + b"]",
        "pretty.json": "\n".join(json.dumps(json.loads(x), indent=1) for x in LOG.splitlines()).encode(),
        "utf16.jsonl": LOG.decode().encode("utf-16"),
        "utf16le.jsonl": LOG.decode().encode("utf-16-le"),
        "mark.jsonl": b"\xef\xbb\xbf" + LOG,
    }
    for name, content in containers.items():
        done = ingest([write(name, content)], tmp_path / "w")
        assert (done.added, done.duplicates, done.quarantined) == (0, ROWS, 0), name
    again = ingest([path, *(tmp_path / name for name in containers)], tmp_path / "w")
    assert (again.added, again.duplicates) == (0, ROWS * (1 + len(containers)))
    assert read(tmp_path / "w").equals(before)


def test_lines_without_an_id_are_known_by_their_text(tmp_path, write):
    plain = [{k: v for k, v in record(i).items() if k != "id"} for i in (1, 2, 2)]
    done = ingest([write("a.jsonl", lines(plain))], tmp_path / "w")
    assert (done.added, done.duplicates) == (2, 1)
    done = ingest([write("b.jsonl.gz", gzip.compress(lines(reversed(plain))))], tmp_path / "w")
    assert (done.added, done.duplicates) == (0, 3)


def test_one_id_at_two_times_or_accounts_is_two_exchanges(tmp_path, write):
    one = record(1)
    later, other = {**one, "startTime": one["startTime"] + 1}, record(1, account="someone else")
    done = ingest([write("a.jsonl", lines([one, later, other, one]))], tmp_path / "w")
    assert (done.added, done.duplicates) == (3, 1)


def test_many_small_blocks_give_the_same_rows(tmp_path, write):
    many = lines(record(i) for i in range(300))
    path = write("a.jsonl.gz", gzip.compress(many))
    ingest([path], tmp_path / "w")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "key").touch(0o600)
    (tmp_path / "v" / "key").write_bytes((tmp_path / "w" / "key").read_bytes())
    done = ingest([path], tmp_path / "v", block_bytes=20_000)
    assert done.added == 300
    with sqlite3.connect(tmp_path / "v" / "ledger.db") as ledger:
        assert ledger.execute("select count(*) from blocks").fetchone()[0] > 5
    ledger.close()
    assert read(tmp_path / "v").equals(read(tmp_path / "w"))


def test_small_parts_are_merged(tmp_path, write):
    for k in range(3):
        ingest([write(f"{k}.jsonl", lines(record(i) for i in range(k * 10, k * 10 + 10)))], tmp_path / "w")
        assert len(Workspace(tmp_path / "w").parts()) == 1
    assert read(tmp_path / "w").num_rows == 30
    files = [p for p in (tmp_path / "w" / "exchanges").rglob("*") if p.is_file()]
    assert files == Workspace(tmp_path / "w").parts()


def test_days_are_separate_and_orphans_go(tmp_path, write):
    spread = [{**record(i), "startTime": START + 86_400 * (i % 3)} for i in range(30)]
    ingest([write("a.jsonl", lines(spread))], tmp_path / "w")
    days = sorted(p.name for p in (tmp_path / "w" / "exchanges").iterdir())
    assert days == ["day=2026-11-01", "day=2026-11-02", "day=2026-11-03"]
    orphan = tmp_path / "w" / "exchanges" / "day=2026-11-01" / "left.parquet"
    orphan.write_bytes(b"half a file")
    (orphan.parent / ".left.parquet.tmp").write_bytes(b"")
    assert read(tmp_path / "w").num_rows == 30
    ingest([write("b.jsonl", lines([record(99)]))], tmp_path / "w")
    assert not orphan.exists()
    assert not (orphan.parent / ".left.parquet.tmp").exists()
    assert read(tmp_path / "w").num_rows == 31


BAD = [
    (b'{"id": "cut', "not JSON"),
    (b"hello", "not JSON"),
    (b"[1, 2]", "a JSON array, not an object"),
    (b"3", "a JSON ubigint, not an object"),
    (b'"x"', "a JSON varchar, not an object"),
    (b"\x00\x01\xff\xfe", "not JSON"),
    (b"[" * 200_000, "not JSON"),
    (b'{"n": ' + b"1" * 5000 + b"}", "not a LiteLLM record: no call_type, messages or metadata"),
    (b'{"call_type": "x"}', "no time, or not a time"),
    (b'{"call_type": "x", "startTime": "soon"}', "no time, or not a time"),
    (b'{"call_type": "x", "startTime": {"a": 1}}', "no time, or not a time"),
    (b'{"call_type": "x", "startTime": -5}', "time outside the years 1990 to 2100"),
    (b'{"call_type": "x", "startTime": 99999999999}', "time outside the years 1990 to 2100"),
    (b'{"call_type": "x", "startTime": 1793491200}', "no account"),
    (b'{"call_type": "x", "startTime": 1793491200, "metadata": []}', "no account"),
    (
        b'{"call_type": "x", "startTime": 1793491200, "metadata": {"user_api_key_user_id": "'
        + b"u" * 5000
        + b'"}}',
        "account longer than 4096 bytes",
    ),
]


def test_bad_rows_are_quarantined_with_reason_and_place(tmp_path, write):
    content = b"".join(LOG.splitlines(keepends=True)[i] + bad + b"\n" for i, (bad, _) in enumerate(BAD))
    done = ingest([write("a.jsonl", content)], tmp_path / "w", format="litellm")
    assert (done.added, done.quarantined) == (len(BAD), len(BAD))
    assert adds_up(done)
    with sqlite3.connect(tmp_path / "w" / "ledger.db") as ledger:
        kept = ledger.execute("select file, line, reason from quarantine order by line").fetchall()
    ledger.close()
    path = str(tmp_path / "a.jsonl")
    assert kept == [(path, 2 * i + 2, reason) for i, (_, reason) in enumerate(BAD)]
    again = ingest([write("a.jsonl", content)], tmp_path / "w", format="litellm")
    assert (again.duplicates, again.quarantined) == (len(BAD), len(BAD))
    assert adds_up(again) or again.reasons == {}


GOOD_ALL_THE_SAME = [
    ("a lone surrogate", rb'"Question \ud800 ?"'),
    ("a raw control character", b'"tab \t and bell \x07"'),
    ("not UTF-8", b'"caf\xe9 \xed\xa0\x80"'),
    ("NaN beside it", b'"x", "score": NaN, "more": -Infinity'),
    ("a number beyond every type", b'"x", "score": 1' + b"0" * 400),
    ("a key twice", b'"x", "status": "success", "status": 7'),
    ("deep nesting beside it", b'"x", "deep": ' + b"[" * 900 + b"]" * 900),
    ("right to left and emoji", '"\u202eسلام 👋🏽"'.encode()),
    ("NUL", rb'"a\u0000b"'),
]


@pytest.mark.parametrize(("what", "text"), GOOD_ALL_THE_SAME, ids=[w for w, _ in GOOD_ALL_THE_SAME])
def test_odd_text_is_no_bad_row(tmp_path, write, what, text):
    base = json.dumps(record(1, text="TEXT")).encode()
    # the text is the last member of its message, so that what follows it lands in the message
    line = base.replace(b'"TEXT"', text)
    done = ingest([write("a.jsonl", line + b"\n")], tmp_path / "w", format="litellm")
    assert (done.added, done.quarantined) == (1, 0), done.reasons
    assert read(tmp_path / "w")["prompt_bytes"].to_pylist()[0] > 0


WRONG_KINDS = [
    "model",
    "messages",
    "response",
    "model_parameters",
    "requester_ip_address",
    "endTime",
    "id",
    "call_type",
]


@pytest.mark.parametrize("value", [{"a": 1}, [1, [2]], "text", -7, 1e300, True, None], ids=repr)
def test_fields_of_the_wrong_kind_cost_the_field_not_the_row(tmp_path, write, value):
    changed = [{**record(i), field: value} for i, field in enumerate(WRONG_KINDS)]
    done = ingest([write("a.jsonl", lines(changed))], tmp_path / "w", format="litellm")
    assert (done.added, done.quarantined) == (len(WRONG_KINDS), 0), done.reasons


def test_a_cut_gzip_keeps_what_could_be_read(tmp_path, write):
    packed = gzip.compress(lines(record(i) for i in range(3000)))
    done = ingest([write("a.jsonl.gz", packed[: len(packed) // 2])], tmp_path / "w")
    assert 500 < done.added < 2500
    assert done.reasons == {"the gzip stream ends too early; what came before is kept": 1}
    assert adds_up(done)
    whole = ingest([write("b.jsonl.gz", packed)], tmp_path / "w")
    assert (whole.added, whole.duplicates) == (3000 - done.added, done.added)


@pytest.mark.parametrize("damage", ["cut", "flip", "head"])
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_damaged_streams_are_counted(tmp_path, write, codec, damage):
    plain = lines(record(i) for i in range(3000))
    packed = bytearray(pa.compress(plain, codec=codec, asbytes=True))
    if damage == "cut":
        del packed[-len(packed) // 3 :]
    elif damage == "flip":
        packed[len(packed) // 2] ^= 0xFF
    else:
        del packed[12:]
    done = ingest([write("a", bytes(packed))], tmp_path / "w", format="litellm")
    assert done.quarantined >= 1
    assert adds_up(done)


def test_a_line_beyond_the_limit_is_passed_over_in_bounded_memory(tmp_path, write, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE", 3 << 20)
    long = b'{"x": "' + b"y" * (9 << 20) + b'"}\n'
    first, rest = LOG.split(b"\n", 1)
    path = write("a.jsonl", first + b"\n" + long + rest)
    done = ingest([path], tmp_path / "w", block_bytes=1 << 20)
    assert (done.added, done.quarantined) == (ROWS, 1)
    assert done.reasons == {"line longer than 3 MB": 1}
    # the lines after it keep their numbers
    assert read(tmp_path / "w")["source_line"].to_pylist() == [1, *range(3, ROWS + 2)]


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\xef\xbb\xbf", gzip.compress(b"")])
def test_empty_files_are_no_error(tmp_path, write, content):
    done = ingest([write("a.jsonl", content)], tmp_path / "w")
    assert (done.rows, done.exchanges, done.first_time) == (0, 0, None)


def test_what_nobody_recognises_is_refused_and_says_what_to_do(tmp_path, write):
    with pytest.raises(
        InputError,
        match=r"--format \(anthropic, canonical, helicone, langfuse, litellm, openai, otel, otel_rows\)",
    ):
        ingest([write("a.txt", b"hello\nworld\n")], tmp_path / "w")
    with pytest.raises(InputError, match="unknown format 'x'; known: auto, anthropic"):
        ingest([write("a.txt", b"hello\n")], tmp_path / "w", format="x")
    with pytest.raises(InputError, match="no such file"):
        ingest([tmp_path / "none*.jsonl"], tmp_path / "w")
    with pytest.raises(InputError, match="is a folder"):
        ingest([tmp_path], tmp_path / "w")
    with pytest.raises(InputError, match="no file was given"):
        ingest([], tmp_path / "w")
    with pytest.raises(InputError, match="memory limit"):
        ingest([write("a.jsonl", LOG)], tmp_path / "w", memory_limit="much")


def test_globs_take_each_file_once(tmp_path, write):
    for k in range(3):
        write(f"{k}.jsonl", lines([record(k)]))
    done = ingest([str(tmp_path / "*.jsonl"), tmp_path / "1.jsonl"], tmp_path / "w")
    assert (done.files, done.added, done.duplicates) == (3, 3, 0)


def test_standard_input(tmp_path):
    command = [sys.executable, "-c", "from stillwatch.cli.main import run; run()"]
    told = subprocess.run(
        [*command, "logs", "import", "-", "--json", "--workspace", str(tmp_path / "w")],
        input=gzip.compress(LOG), capture_output=True, check=True,
    )  # fmt: skip
    done = json.loads(told.stdout)
    assert (done["added"], done["formats"]) == (ROWS, {"-": "litellm"})
    assert told.stderr == b""


def test_only_one_import_at_a_time(tmp_path, write):
    path = write("a.jsonl", LOG)
    ingest([path], tmp_path / "w")
    with (tmp_path / "w" / "import.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=rf"another import is running here \(process {os.getpid()}\)"):
            ingest([path], tmp_path / "w")
    ingest([path], tmp_path / "w")


def test_progress_is_told(tmp_path, write):
    seen = []
    path = write("a.jsonl", lines(record(i) for i in range(300)))
    ingest([path], tmp_path / "w", block_bytes=30_000, on_progress=seen.append)
    assert len(seen) > 3
    assert [s.rows for s in seen] == sorted(s.rows for s in seen)
    assert (seen[-1].rows, seen[-1].bytes_done, seen[-1].files_done) == (300, path.stat().st_size, 1)


# ------------------------------------------------------------------------------------------------ CSV, Parquet

TABLE = {
    "time": ["1793491200", "2026-11-01T00:00:01Z", "1793491202000", "", "1793491204"],
    "account_id": ["a", "b", "a", "a", ""],
    "prompt": ['two\nlines, "quoted"', "x", "", "y", "z"],
    "input_tokens": ["1", "2.0", "three", "", ""],
    "client_prefix": ["1.2.3.4", "", "", "", ""],
    "marks": ['["m"]', "[]", "oops", "", ""],
}


def as_csv(table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue().encode()


def check_table(done, workspace):
    assert (done.rows, done.added, done.quarantined) == (5, 3, 2)
    assert done.reasons == {"no time, or not a time": 1, "no account": 1}
    found = read(workspace)
    assert found["time"].to_pylist() == [(START + i) * 10**6 for i in range(3)]
    assert found["input_tokens"].to_pylist() == [1, 2, None]
    assert found["prompt_bytes"].to_pylist() == [len(TABLE["prompt"][0]), 1, None]
    assert found["source_line"].to_pylist() == [1, 2, 3]
    assert [bool(m) for m in found["marks"].to_pylist()] == [True, False, False]
    assert found["client_prefix"].null_count == 2


def test_csv(tmp_path, write):
    check_table(ingest([write("a.csv", as_csv(TABLE))], tmp_path / "w"), tmp_path / "w")


def test_parquet(tmp_path):
    pq.write_table(pa.table(TABLE), tmp_path / "a.parquet", row_group_size=2)
    check_table(ingest([tmp_path / "a.parquet"], tmp_path / "w"), tmp_path / "w")


def test_parquet_with_real_types(tmp_path):
    table = pa.table(
        {
            "time": pa.array([START * 10**6], pa.timestamp("us", "UTC")),
            "account": pa.array(["a"]).dictionary_encode(),
            "marks": [["m", "n"]],
            "signatures_minted": [["S"]],
            "temperature": pa.array([0.5], pa.float32()),
            "refused": [True],
            "input_tokens": pa.array([3], pa.uint8()),
            "prompt": pa.array(["p"], pa.large_string()),
            "nested": [{"a": [1]}],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    ingest([tmp_path / "a.parquet"], tmp_path / "w")
    (found,) = read(tmp_path / "w").to_pylist()
    assert (found["time"], found["marks"], found["temperature"], found["refused"]) == (
        START * 10**6,
        ["m", "n"],
        0.5,
        True,
    )
    assert (found["input_tokens"], len(found["signatures_minted"]), found["prompt_bytes"]) == (3, 1, 1)


def test_the_same_rows_as_csv_and_parquet_are_duplicates(tmp_path, write):
    with_id = {"record_id": [str(i) for i in range(5)], **TABLE}
    ingest([write("a.csv", as_csv(with_id))], tmp_path / "w")
    pq.write_table(pa.table(with_id), tmp_path / "a.parquet")
    done = ingest([tmp_path / "a.parquet"], tmp_path / "w")
    assert (done.added, done.duplicates, done.quarantined) == (0, 3, 2)


def test_csv_rows_of_the_wrong_width_are_counted(tmp_path, write):
    content = b"time,account,prompt\n1793491200,a,x\n1793491201,a\n1793491202,a,x,y\n1793491203,a,z\n"
    done = ingest([write("a.csv", content)], tmp_path / "w")
    assert (done.rows, done.added, done.quarantined) == (4, 2, 2)
    assert read(tmp_path / "w")["source_line"].to_pylist() == [1, 4]
    assert set(done.reasons) == {
        "2 fields where the header has 3",
        "4 fields where the header has 3",
    }


def test_csv_in_blocks_and_compressed(tmp_path, write):
    many = {"time": [str(START + i) for i in range(5000)], "account": [f"a{i % 9}" for i in range(5000)]}
    many["prompt"] = [f"text {i},\nsecond line" for i in range(5000)]
    done = ingest([write("a.csv.gz", gzip.compress(as_csv(many)))], tmp_path / "w", block_bytes=20_000)
    assert (done.rows, done.added) == (5000, 5000)
    assert read(tmp_path / "w")["source_line"].to_pylist() == list(range(1, 5001))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"time,time\n1,2\n", FormatError),
        (b"time,prompt\n1793491200,x\n", SchemaError),
        (b"\x00\x01\x02\n", FormatError),
        (b"PAR1 but no more", FormatError),
    ],
)
def test_tables_that_cannot_be_used_say_so(tmp_path, write, content, error):
    with pytest.raises(error, match=r"a\.table"):
        ingest([write("a.table", content)], tmp_path / "w", format="canonical")


def test_a_damaged_parquet_file_counts_every_lost_row(tmp_path):
    many = pa.table(
        {
            "time": list(range(START, START + 4000)),
            "account": ["a"] * 4000,
            "prompt": [f"p{i}" for i in range(4000)],
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(many, path, row_group_size=500, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    done = ingest([path], tmp_path / "w", block_bytes=10_000)
    assert done.rows == 4000
    assert 0 < done.added < 4000
    assert adds_up(done)


# ------------------------------------------------------------------------------------------- accounts, actions


def test_accounts_and_actions_join_with_the_exchanges(tmp_path, write):
    accounts = write(
        "accounts.csv",
        b"account_id,created_at,payment_token,signup_prefix,contract_volume,plan,unknown\n"
        b"user-1,2026-10-01,card-1,10.0.1.77,5.5,pro,?\n"
        b"user-2,1790000000,card-1,10.0.2.0/24,,,\n"
        b",,,,,,\n"
        b"user-3,never,,,,,\n"
        b"user-4,,,,much,,\n"
        b"user-5\n",
    )
    actions = write(
        "actions.csv", b"account_id,time,rung,reason\nuser-1,1793491201,suspend,x\nuser-1,,suspend,x\n"
    )
    done = ingest([write("a.jsonl", LOG)], tmp_path / "w", accounts=accounts, actions=actions)
    assert (done.account_rows, done.action_rows, done.reference_quarantined) == (2, 1, 5)
    known = pq.read_table(tmp_path / "w" / "accounts.parquet").to_pylist()
    by_line = {r["source_line"]: r for r in read(tmp_path / "w").to_pylist()}
    one, two = by_line[2], by_line[3]
    assert {(r["account_id"], r["signup_prefix"]) for r in known} == {
        (one["account_id"], one["client_prefix"]),
        (two["account_id"], two["client_prefix"]),
    }
    assert len({r["payment_token"] for r in known}) == 1
    assert {r["contract_volume"] for r in known} == {5.5, None}
    (action,) = pq.read_table(tmp_path / "w" / "actions.parquet").to_pylist()
    assert action["account_id"] == one["account_id"]
    with sqlite3.connect(tmp_path / "w" / "ledger.db") as ledger:
        reasons = ledger.execute("select kind, line, reason from quarantine order by kind, line").fetchall()
    ledger.close()
    assert reasons == [
        ("accounts", 3, "no account_id"),
        ("accounts", 4, "created_at is not a time"),
        ("accounts", 5, "contract_volume is not a number"),
        ("accounts", 6, "1 fields where the header has 7"),
        ("actions", 2, "no time"),
    ]


def test_accounts_read_again_replace_the_old_ones(tmp_path, write):
    first = write("1.csv", b"account_id,plan\na,free\nb,free\na,pro\n")
    assert ingest([], tmp_path / "w", accounts=first).account_rows == 2
    second = tmp_path / "2.parquet"
    pq.write_table(pa.table({"account_id": ["b", "c"], "plan": ["team", "free"]}), second)
    assert ingest([], tmp_path / "w", accounts=second).account_rows == 3
    names = Pseudonyms(Keys(tmp_path / "w" / "key"), tmp_path / "w" / "vault.db")
    rows = pq.read_table(tmp_path / "w" / "accounts.parquet").to_pylist()
    real = names.reveal("account", [r["account_id"] for r in rows])
    assert {real[r["account_id"]]: r["plan"] for r in rows} == {"a": "pro", "b": "team", "c": "free"}


@pytest.mark.parametrize("content", [b"plan\nfree\n", b""])
def test_a_reference_file_without_its_key_column_is_refused(tmp_path, write, content):
    with pytest.raises(InputError, match="account_id"):
        ingest([], tmp_path / "w", accounts=write("a.csv", content))


def test_the_summary_is_plain_data(tmp_path, write):
    done = ingest([write("a.jsonl", LOG)], tmp_path / "w")
    assert json.loads(json.dumps(asdict(done)))["added"] == ROWS


def test_parts_of_an_older_schema_are_merged_with_nulls(tmp_path, write):
    workspace = tmp_path / "w"
    ingest([write("a.jsonl", lines(record(i) for i in range(3)))], workspace)
    (part,) = Workspace(workspace).parts()
    pq.write_table(pq.read_table(part, partitioning=None).drop_columns("opening_digest"), part)
    done = ingest([write("b.jsonl", lines(record(i) for i in range(3, 6)))], workspace)
    assert (done.added, done.exchanges) == (3, 6)
    assert len(Workspace(workspace).parts()) == 1
    assert read(workspace)["opening_digest"].null_count == 3


def test_turns_that_a_log_does_not_tell_stay_unknown(tmp_path):
    (tmp_path / "a.csv").write_text("time,account,prompt\n2026-11-01T00:00:00Z,a,hello\n")
    (tmp_path / "b.csv").write_text(
        "time,account,prompt,turns\n2026-11-01T00:00:01Z,a,more,\n2026-11-01T00:00:02Z,a,again,3\n"
    )
    ingest([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "w")
    parts = sorted((tmp_path / "w" / "exchanges").glob("*/*.parquet"))
    rows = pa.concat_tables([pq.read_table(part) for part in parts]).sort_by("time")
    assert rows["turns"].to_pylist() == [None, None, 3]
