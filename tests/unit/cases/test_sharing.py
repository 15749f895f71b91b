"""What holds for every format: nothing that identifies leaves, and what can come back comes back field by field."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import sharing_case
from sharing_case import ACCOUNT, SECOND, WRAPPER

from stillwatch.cases import indicators, received, sharing
from stillwatch.cases.events import TLP_ORDER
from stillwatch.cases.sharing import _bounded
from stillwatch.errors import FormatError, InputError, InsufficientData, IntegrityError
from stillwatch.records import Answer, Asked, Case, Excluded, Indicator, Withdrawal

ROOT = Path(__file__).resolve().parents[3]
AT = "2026-11-24T00:00:00Z"
FORMATS = sharing.formats()
READ = [name for name, module in FORMATS.items() if module.FORMAT.reads]
FIELDS = [f.name for f in fields(Indicator)]
CASES = {"one": sharing_case.case(), "corrected": sharing_case.corrected()}
HOSTILE = "=cmd|' /C calc'!A0 \u202e<script>alert(1)</script> and a text that is long enough for a digest \x07\x1b[2J"


def written(name: str, case: Case, **more: Any) -> bytes:
    return sharing.write(case, indicators.of_case(case, **more), name, producer="Provider A")


def test_the_formats_are_found() -> None:
    assert set(FORMATS) == {"stix", "misp", "ocsf", "sigma", "csv"}
    assert set(READ) == {"stix", "misp", "ocsf", "csv"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_the_three_names(name: str) -> None:
    module = FORMATS[name]
    assert inspect.getdoc(module)
    assert list(inspect.signature(module.write).parameters) == ["case", "shared", "producer"]
    assert list(inspect.signature(module.read).parameters) == ["data", "source", "at"]
    assert set(module.FORMAT.carries) <= set(FIELDS)
    assert module.FORMAT.loses


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FORMATS)
def test_no_account_and_no_unasked_text_leaves(name: str, case: str) -> None:
    data = written(name, CASES[case]).decode()
    assert ACCOUNT not in data
    assert indicators.names_pseudonym(data) == ""
    assert WRAPPER[:40] not in data
    assert SECOND[:40] not in data
    for small in (
        "c-00000004",
        "meridian-old",
        "meridian-beta",
        "acme",
        "64501",
        "3 accounts",
        "4 accounts",
        "rewriting",
    ):
        assert small not in data
    for named in ("Alder", "alder", "Birch"):
        assert named not in data
    assert WRAPPER[:40] in written(name, CASES[case], with_texts=True).decode()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FORMATS)
def test_one_case_gives_the_same_bytes(name: str, case: str) -> None:
    assert written(name, CASES[case], with_texts=True) == written(name, CASES[case], with_texts=True)
    # What does not leave changes nothing.
    noted = replace(CASES[case], head="1" * 64, status="sealed")
    assert written(name, noted) == written(name, CASES[case])


@pytest.mark.parametrize("tlp", TLP_ORDER)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", READ)
def test_a_round_trip_loses_no_field(name: str, case: str, tlp: Any) -> None:
    shared = indicators.of_case(CASES[case], tlp=tlp, with_texts=True, downgrade=True)
    data = sharing.write(CASES[case], shared, name, producer="Provider A")
    back = sharing.read(data, "auto", source="theirs", at=AT)
    assert back.provenance.format == name
    assert back.provenance.producer == "Provider A"
    assert back.provenance.size == len(data)
    assert set(FORMATS[name].FORMAT.carries) == set(FIELDS)
    for given, found in ((shared.indicators, back.indicators), (shared.revoked, back.revoked)):
        assert len(given) == len(found)
        for one, other in zip(given, found, strict=True):
            for field in FIELDS:
                assert getattr(one, field) == getattr(other, field), field


@pytest.mark.parametrize("name", READ)
def test_hostile_text_comes_back_as_it_was(name: str) -> None:
    told = replace(
        sharing_case.finding(texts=[HOSTILE, "'" + HOSTILE, '"' + HOSTILE + "\n=1+1"]),
        claim=HOSTILE,
        limits=(HOSTILE,),
    )
    case = sharing_case.case(told, title=HOSTILE)
    shared = indicators.of_case(case, with_texts=True)
    back = sharing.read(sharing.write(case, shared, name), name, source="theirs", at=AT)
    assert back.indicators == shared.indicators


@pytest.mark.parametrize("name", READ)
def test_what_is_imported_is_never_taken_for_ours(name: str) -> None:
    """A bundle names the ids of its findings, so whoever got ours can claim to be derived from them."""
    shared = indicators.of_case(CASES["one"])
    back = sharing.read(written(name, CASES["one"]), name, source="theirs", at=AT)
    ids = {f.id for f in CASES["one"].findings}
    assert all(received.imported(i) for i in back.filed())
    assert not any(received.imported(i) for i in shared.indicators)
    assert not any(ids & set(i.derived_from) for i in back.filed())
    # What the document said is kept.
    assert {d for i in back.filed() for d in i.derived_from[1:]} == {f"theirs:{CASES['one'].findings[0].id}"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_answer_beside_the_claim_and_says_who_is_silent(name: str) -> None:
    data = "".join(sharing.readings(written(name, CASES["one"]).decode()))
    assert "We run one study. (withheld) is our test account" in data
    assert "Party B was asked on 2026-11-20 to answer by 2026-12-05; no answer is on file" in data
    # A bundle takes its note of the question back, since it was answered.
    assert ("Party A was asked" in data) == (name == "stix")
    named = written(name, CASES["one"], name_parties=True).decode()
    assert "Alder Labs" in named
    assert "Birch Ltd was asked" in named
    nobody = written(name, replace(CASES["one"], asked=(), answers=())).decode()
    assert "no answer is on file" not in nobody


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("asked_about_the_case", [True, False])
def test_an_answer_to_the_case_answers_its_findings_and_the_other_way_round(
    name: str, asked_about_the_case: bool
) -> None:
    told = sharing_case.finding()
    asked, answered = ("", told.id) if asked_about_the_case else (told.id, "")
    case = sharing_case.case(
        told,
        asked=(Asked("Birch Ltd", asked, "2026-11-20T12:00:00+00:00", "2026-12-05"),),
        answers=(Answer("Birch Ltd", answered, "We deny it.", "2026-11-21T09:00:00+00:00", "a"),),
    )
    data = written(name, case).decode()
    assert "We deny it" in data
    assert '"revoked": true' in data if name == "stix" else "no answer is on file" not in data


@pytest.mark.parametrize("name", FORMATS)
def test_no_number_of_a_few_leaves_however_it_is_said(name: str) -> None:
    missing = InsufficientData(8, 3, "members that began after the first stop")
    told = replace(
        sharing_case.finding(benign={}),
        claim="3 of 198 accounts began late; 198 accounts act as one.",
        limits=(
            f"not tested: ban failover {missing}",
            "2 of 198 accounts rest on it",
            "three of them joined late",
        ),
    )
    small = sharing_case.finding("c-small", accounts=4)
    case = sharing_case.case(
        told,
        small,
        title="Two distinct accounts, 3 of the accounts, 4 customers and 1 organisation",
        withdrawals=(
            Withdrawal(told.id, "2026-11-23T08:00:00+00:00", "x", "194 were one customer", small.id),
        ),
    )
    for shown in (case, replace(case, withdrawals=())):
        data = written(name, shown).decode()
        for few in (
            "found 3",
            "3 of",
            "2 of",
            "three of",
            "Two distinct",
            "4 customers",
            "1 organisation",
            "194 were",
            "c-small",
        ):
            assert few not in data


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "hidden", ["ft:{}", "x\\n{}", "x\n{}", "%3A{}", "user/{}", "{}x", "{}", "\u00e9{}", "{}_1"]
)
def test_no_pseudonym_leaves_wherever_it_stands(name: str, hidden: str) -> None:
    account = "a-fedcba9876543210"
    for letters in (account, account.upper()):
        text = hidden.format(letters)
        told = replace(
            sharing_case.finding(
                taken={"models": [{"model": text, "exchanges": 60, "accounts": 9}], "kinds": {text: 50},
                       "kind_accounts": {text: 9}},
            ),
            claim=text, family=text, limits=(text,), alternatives=(Excluded(text, False, ""),),
        )  # fmt: skip
        case = sharing_case.case(
            told, title=text, answers=(Answer(text, "", text, "2026-11-21T09:00:00+00:00", "i"),)
        )
        try:
            data = written(name, case).decode()
        except IntegrityError:
            continue  # refusing is right as well
        assert letters[2:] not in data


def test_the_last_look_stops_an_account_that_slipped_through(monkeypatch: pytest.MonkeyPatch) -> None:
    case = sharing_case.case()
    monkeypatch.setattr(FORMATS["csv"], "write", lambda case, shared, producer: f'"{ACCOUNT}"'.encode())
    with pytest.raises(IntegrityError, match="identifiers of accounts"):
        sharing.write(case, indicators.of_case(case), "csv")
    named = sharing_case.finding(members=[{"account": "customer-four-two"}])
    for hidden in (
        "a%2D0123456789abcdef",
        "x\\u0061-0123456789abcdef",
        "y\\na-0123456789abcdef",
        "z%3Aa-0123456789abcdef",
    ):
        monkeypatch.setattr(FORMATS["csv"], "write", lambda case, shared, producer, h=hidden: h.encode())
        with pytest.raises(IntegrityError, match="identifiers of accounts"):
            sharing.write(case, indicators.of_case(case), "csv")
    monkeypatch.setattr(FORMATS["csv"], "write", lambda case, shared, producer: b"by customer-four-two")
    with pytest.raises(IntegrityError, match="identifiers of accounts"):
        sharing.write(sharing_case.case(named), indicators.of_case(sharing_case.case(named)), "csv")


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_case_says_why_it_has_nothing(name: str) -> None:
    small = sharing_case.case(sharing_case.finding(accounts=4))
    with pytest.raises(InputError, match="nothing to share: c-7f3a0011: fewer than 5 accounts"):
        written(name, small)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04rest", "found a ZIP archive"),
        (b"\x1f\x8b\x08rest", "found a gzip file"),
        (b"\xff\xfe{\x00}\x00", "found UTF-16 text"),
        (b"<xml/>", "found XML or HTML"),
        (b'{"a": "\xc3\x28"}', "is no UTF-8"),
        (b"{" + b" " * (33 << 20), "bytes; documents of up to"),
    ],
)
def test_what_is_no_document_is_refused(name: str, data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        sharing.read(data, name, source="theirs", at=AT)


@pytest.mark.parametrize("name", ["stix", "misp", "ocsf"])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper than"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nested deeper than"),
        ('{"a": [' + "1," * 1_000_001 + "1]}", "values; up to 1,000,000"),
        ('{"a": 1, "a": 2}', "given twice"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 5000 + "}", "too large"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
        ('{"a": "' + "x" * 100_001 + '"}', "a text of 100,001 characters"),
        ('{"a": 1', "no JSON"),
        ("[]", "expected a"),
        ("null", "expected a"),
        ("&a [*a, *a]", "no JSON"),
    ],
)  # fmt: skip
def test_hostile_json_is_refused_with_its_place(name: str, data: str, says: str) -> None:
    with pytest.raises(FormatError, match=says) as refused:
        sharing.read(data.encode(), name, source="theirs.json", at=AT)
    assert str(refused.value).startswith("theirs.json")


def test_a_key_that_stands_twice_among_many_is_found_at_once() -> None:
    """In time that grows with the number of keys: 80,000 of them took minutes when each was counted."""
    looked_at = 0

    class Key(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looked_at
            looked_at += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    keys = [Key(f"k{n:06d}") for n in range(20_000)]
    with pytest.raises(ValueError, match="'z' is given twice"):
        _bounded._once([*((k, 1) for k in keys), ("z", 1), ("z", 2)])
    assert looked_at < 100 * len(keys)


def test_millions_of_objects_are_refused_before_they_are_built() -> None:
    objects = '{"type":"bundle","id":"bundle--1","objects":[' + "{}," * 600_000 + "{}]}"
    with pytest.raises(FormatError, match="values; up to"):
        sharing.read(objects.encode(), "stix", source="theirs", at=AT)
    many = {"type": "bundle", "objects": [{}] * 50_001}
    with pytest.raises(FormatError, match="50,001 objects; up to 50,000"):
        sharing.read(json.dumps(many).encode(), "stix", source="theirs", at=AT)


def test_unknown_formats_are_named() -> None:
    with pytest.raises(InputError, match="unknown format 'taxii'; known: csv, misp, ocsf, sigma, stix"):
        sharing.read(b"", "taxii", source="theirs", at=AT)
    with pytest.raises(InputError, match="cannot be read back"):
        sharing.read(b"title: x", "sigma", source="theirs", at=AT)


@pytest.mark.parametrize("name", ["stix", "misp", "ocsf"])
@pytest.mark.parametrize("bound", ["MOST_OBJECTS", "MOST_VALUES", "MOST_BYTES"])
def test_what_would_not_be_read_is_not_written(
    name: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bounded, bound, 2)
    with pytest.raises(InputError, match="--finding"):
        written(name, CASES["corrected"])


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def test_an_imported_indicator_never_acts_by_itself() -> None:
    """Only cases and their command line know what an imported indicator is; nothing that acts may import either."""
    package = ROOT / "stillwatch"
    knows = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if any(name.startswith("stillwatch.cases.sharing") for name in imports_of(path))
    }
    assert knows == {"cases", "cli"}
    users = {p.name for p in (package / "cli").glob("*.py") if "stillwatch.cases.sharing" in imports_of(p)}
    assert users <= {"case_sharing.py"}


def test_optional_libraries_load_when_they_are_used_and_not_before() -> None:
    code = (
        "from stillwatch.cases import sharing, indicators, matching; sharing.formats(); import sys; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(
        {"numpy", "duckdb", "pyarrow", "scipy", "stix2", "pymisp", "yaml", "sigma", "py_ocsf_models"}
    )


@pytest.mark.parametrize("field", FIELDS)
def test_the_table_of_the_guide_says_what_each_format_carries(field: str) -> None:
    guide = (
        (ROOT / "docs" / "guides" / "sharing.md")
        .read_text(encoding="utf-8")
        .partition("### What comes back")[2]
    )
    names = ["stix", "misp", "ocsf", "csv", "sigma"]
    row = next(line for line in guide.splitlines() if line.startswith(f"| `{field}` |"))
    cells = [c.strip() for c in row.strip("|").split("|")][1:]
    assert cells == ["yes" if field in FORMATS[n].FORMAT.carries and FORMATS[n].FORMAT.reads else
                     "in words" if field in FORMATS[n].FORMAT.carries else "lost" for n in names]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_the_guide_says_what_is_lost(name: str) -> None:
    guide = (ROOT / "docs" / "guides" / "sharing.md").read_text(encoding="utf-8")
    for sentence in FORMATS[name].FORMAT.loses:
        assert " ".join(sentence.split()) in " ".join(guide.split())
