"""Whatever bytes come as a portable file, the answer is one of our errors: never a crash, a hang or a wrong yes."""

from __future__ import annotations

import io
import random
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillwatch.cases import portable
from stillwatch.cases.chain import START, link
from stillwatch.cases.reading import loads, read, read_json
from stillwatch.cases.sealing import Signer
from stillwatch.cases.store import CaseStore
from stillwatch.errors import StillwatchError
from stillwatch.records import Answer, Evidence, Finding, Seal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "cases"))
from portable_changes import listed_anew, packed, unpacked
from store_samples import filled

SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("fuzz")
    with CaseStore(folder) as store:
        store.export(filled(store), folder / "c.zip", by="ann")
    return (folder / "c.zip").read_bytes()


def refused(data: bytes) -> None:
    with pytest.raises(StillwatchError):
        portable.check_file(portable.Portable(io.BytesIO(data), "x.zip"))


@SLOW
@given(data=st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    refused(data)


@SLOW
@given(data=st.binary(max_size=200), tail=st.binary(max_size=60))
def test_bytes_that_look_like_an_archive(data: bytes, tail: bytes) -> None:
    refused(b"PK\x03\x04" + data + b"PK\x01\x02" + tail + b"PK\x05\x06" + bytes(18))


@SLOW
@given(
    names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4, unique=True),
    data=st.binary(max_size=50),
)
def test_archives_of_any_names(names: list[str], data: bytes) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in names:
            try:
                made.writestr(name, data)
            except (UnicodeEncodeError, ValueError, IndexError):
                made.writestr("x", data)
    refused(out.getvalue())


@SLOW
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 30))
def test_a_file_with_bytes_changed(whole: bytes, seed: int, changes: int) -> None:
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(changes):
        place = rng.randrange(len(data))
        data[place] = (data[place] + rng.randrange(1, 256)) % 256
    if bytes(data) != whole:
        refused(bytes(data))


@SLOW
@given(seed=st.integers(0, 2**32), values=JSON)
def test_members_of_any_json(whole: bytes, seed: int, values: object) -> None:
    """A member is replaced by any JSON, and the archive made to fit."""
    import json

    members = unpacked(whole)
    name = random.Random(seed).choice([n for n in members if n != "manifest.sig"])
    members[name] = json.dumps(values).encode() + b"\n"
    refused(packed(members if name == "manifest.json" else listed_anew(members)))


@SLOW
@given(seed=st.integers(0, 2**32), values=JSON, part=st.sampled_from(["kind", "time", "body", "record"]))
def test_journals_of_any_json_that_are_chained_and_signed(
    whole: bytes, seed: int, values: object, part: str
) -> None:
    """Somebody who can make everything fit: chain, manifest, signature. Only what an entry says is left to check."""
    import json

    members = unpacked(whole)
    entries = [json.loads(line) for line in members["journal.jsonl"].splitlines()]
    chosen = random.Random(seed).choice(entries)
    if part == "record" and isinstance(next(iter(chosen["body"].values())), dict):
        record = next(v for v in chosen["body"].values() if isinstance(v, dict))
        record[random.Random(seed).choice(list(record))] = values
    elif part == "body":
        chosen["body"] = values if isinstance(values, dict) else {"x": values}
    else:
        chosen[part if part != "record" else "kind"] = values
    previous, lines = START, []
    try:
        for entry in entries:
            previous, line = link(entry["seq"], previous, entry["time"], entry["kind"], entry["body"])
            lines.append(line + b"\n")
    except ValueError:  # NaN is no JSON, so it cannot be written
        return
    members["journal.jsonl"] = b"".join(lines)
    refused(packed(listed_anew(members, Signer.derived(lambda label: b"e" * 32))))


@SLOW
@given(kind=st.sampled_from([Finding, Evidence, Answer, Seal]), values=JSON)
def test_records_of_any_json(kind: type, values: object) -> None:
    with pytest.raises(StillwatchError):
        read(kind, values, "x")


@SLOW
@given(text=st.text(max_size=60))
def test_any_text_for_a_record(text: str) -> None:
    with pytest.raises(StillwatchError):
        read_json(Finding, text, "x")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 50_000, "1" * 10_000, "NaN", "-Infinity", "\ud800"]
)
def test_json_that_is_made_to_hurt(text: str) -> None:
    with pytest.raises(StillwatchError):
        read_json(Finding, text, "x")
    with pytest.raises(StillwatchError):
        read(Finding, loads(text, "x"), "x")
