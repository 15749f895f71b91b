"""Hostile documents: whatever stands in them, only our own errors come out, and nothing is read beyond its bounds.

Valid documents of every format are changed at random: values swapped for others of any kind, keys dropped, doubled or
renamed, texts cut, bytes flipped, nesting and references added. And text from nowhere is read as every format.
"""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "cases"))
from sharing_case import ACCOUNT, case, corrected, finding

from stillwatch.cases import indicators, matching, sharing
from stillwatch.errors import StillwatchError
from stillwatch.records import Indicator

AT = "2026-11-24T00:00:00Z"
READ = [name for name, module in sharing.formats().items() if module.FORMAT.reads]
JSON = [name for name in READ if name != "csv"]
VALID = {
    name: sharing.write(c, indicators.of_case(c, with_texts=True), name, producer="A")
    for c in [corrected()]
    for name in READ
}
KEY = matching.exchange_key(bytes(32), exchange="a", kind="b")
OFFER = matching.offer({f"tok_{c * 16}": 9 for c in "abc"}, KEY, exchange="a", kind="b", sender="c")
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

WORDS = st.sampled_from(
    [
        "", " ", "0", "-1", "1e999", "=1+1", "\x00", "\u202e", "\ufffd", "true", "null", "[", "((((((", "TLP:RED",
        "tlp:white", "stix", "stillwatch-text", "stillwatch-profile", "indicator", "bundle", AT, "2026-13-40T99:99:99Z",
        "9999-12-31T23:59:59.999999999-23:59", "0001-01-01T00:00:00+23:59", "[a:b = 'c']", "[a:b = 'c' AND",
        "indicator--00000000-0000-4000-8000-000000000000", "x" * 70_000, ACCOUNT,
    ]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS | st.text(max_size=30)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, (dict, list)):
            keys = list(here) if isinstance(here, dict) else range(len(here))
            found += [(here, key) for key in keys]
            stack += [here[key] for key in keys]
    return found


def change(document: Any, data: st.DataObject) -> Any:
    """The document with up to six of its values changed."""
    document = deepcopy(document)
    for _ in range(data.draw(st.integers(1, 6))):
        known = places(document)
        if not known:
            break
        where, key = known[data.draw(st.integers(0, len(known) - 1))]
        how = data.draw(st.sampled_from(["put", "drop", "rename", "copy", "wrap", "put", "put"]))
        if how == "put":
            where[key] = data.draw(VALUES)
        elif how == "drop":
            del where[key]
        elif how == "rename" and isinstance(where, dict):
            where[data.draw(WORDS)] = where.pop(key)
        elif how == "copy":
            other, at = known[data.draw(st.integers(0, len(known) - 1))]
            try:
                where[key] = deepcopy(other[at])
            except (KeyError, IndexError):
                continue
        elif how == "wrap":
            for _ in range(data.draw(st.integers(1, 40))):
                where[key] = [where[key]]
    return document


def read(data: bytes, name: str) -> None:
    """Reads it or refuses it; what is read is whole."""
    try:
        found = sharing.read(data, name, source="theirs", at=AT)
    except StillwatchError as refused:
        note(str(refused))
        assert "theirs" in str(refused)
        assert len(str(refused)) < 2_000
        return
    for made in (*found.indicators, *found.revoked, *found.filed()):
        assert isinstance(made, Indicator)
        assert made.valid_until > ""
        assert 0 <= made.confidence <= 100
        assert 0 <= made.benign_hits <= made.benign_of
        indicators.state_of(made, datetime.now(UTC))
    assert found.provenance.size == len(data)


@pytest.mark.parametrize("name", JSON)
@FUZZ
@given(data=st.data())
def test_changed_documents(name: str, data: st.DataObject) -> None:
    lines = VALID[name].decode().splitlines() if name == "ocsf" else [VALID[name].decode()]
    which = data.draw(st.integers(0, len(lines) - 1))
    changed = change(json.loads(lines[which]), data)
    lines[which] = json.dumps(changed)
    read("\n".join(lines).encode(), name)


@pytest.mark.parametrize("name", READ)
@FUZZ
@given(data=st.data())
def test_flipped_and_cut_bytes(name: str, data: st.DataObject) -> None:
    raw = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    read(bytes(raw[:end]), name)


@pytest.mark.parametrize("name", [*READ, "auto"])
@FUZZ
@given(data=st.binary(max_size=400) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))
       | VALUES.map(lambda v: json.dumps(v).encode()))  # fmt: skip
def test_anything_at_all(name: str, data: bytes) -> None:
    read(data, name)


@FUZZ
@given(data=st.data())
def test_changed_offers(data: st.DataObject) -> None:
    changed = json.dumps(change(json.loads(OFFER.as_json()), data)).encode()
    try:
        found = matching.read_offer(changed, source="theirs")
        matching.matches({f"tok_{'a' * 16}": 9}, found, KEY, receiver="d")
    except StillwatchError as refused:
        note(str(refused))


TEXTS = (
    st.text(max_size=120)
    | WORDS
    | st.text(alphabet="abc 0=+-@'\"\\*?`\n\t\u202e\ufffd\U0001f600", min_size=32, max_size=200)
)


@FUZZ
@given(
    subject=TEXTS, title=TEXTS, texts=st.lists(TEXTS, max_size=3), models=st.lists(TEXTS, max_size=3), limit=TEXTS,
    accounts=st.integers(0, 10**9), exchanges=st.integers(0, 10**12), hits=st.integers(0, 10),
)  # fmt: skip
def test_whatever_a_case_holds_comes_back_as_it_was_and_names_nobody(
    subject: str,
    title: str,
    texts: list[str],
    models: list[str],
    limit: str,
    accounts: int,
    exchanges: int,
    hits: int,
) -> None:
    told = finding(
        subject, accounts=accounts, exchanges=exchanges, texts=texts, benign={"hits": hits, "of": hits + 7},
        taken={"kinds": dict.fromkeys(models, 9), "kind_accounts": dict.fromkeys(models, 7),
               "models": [{"model": m, "exchanges": 50, "accounts": 5} for m in models]},
    )  # fmt: skip
    file = case(told, title=title)
    shared = indicators.of_case(file, with_texts=True)
    for name in sharing.formats():
        try:
            data = sharing.write(file, shared, name)
        except StillwatchError as refused:
            note(str(refused))
            continue
        assert ACCOUNT.encode() not in data
        if name != "sigma":
            assert sharing.read(data, name, source="theirs", at=AT).indicators == shared.indicators
