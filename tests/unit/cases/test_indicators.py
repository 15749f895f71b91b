"""What leaves of a case, and what never does."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import sharing_case
from scipy.stats import binomtest
from sharing_case import ACCOUNT, WRAPPER, case, corrected, evidence, finding

from stillwatch.cases import indicators
from stillwatch.cases.events import TLP_ORDER, rank
from stillwatch.cases.indicators import HIGH, LOW, MEDIUM, of_case
from stillwatch.cases.proportion import exact_interval
from stillwatch.errors import InputError
from stillwatch.records import TLP, Excluded, Indicator


def by_language(found: tuple[Indicator, ...]) -> dict[str, list[Indicator]]:
    languages: dict[str, list[Indicator]] = {}
    for made in found:
        languages.setdefault(made.language, []).append(made)
    return languages


def test_what_a_finding_gives() -> None:
    made = by_language(of_case(case()).indicators)
    assert {k: len(v) for k, v in made.items()} == {
        "stillwatch-text": 2, "stillwatch-template": 1, "stillwatch-profile": 1, "stix": 1,
    }  # fmt: skip
    for one in of_case(case()).indicators:
        assert one.valid_from == "2026-11-02T00:00:00Z"
        assert one.valid_until == "2027-02-12T00:00:00Z"
        assert one.derived_from == (case().findings[0].id,)
        assert one.tlp == "TLP:AMBER"
    assert made["stix"][0].pattern == "[autonomous-system:number = 64500]"
    assert made["stillwatch-profile"][0].pattern == (
        "accounts=198 exchanges=71204 per-account-day=27.7 from=2026-11-02 until=2026-11-14 "
        "kinds=reasoning:70000,text%20addressed%20to%20classifiers:40 "
        "models=meridian-large:60000,meridian%2C%20mini:11200"
    )


def test_a_text_is_told_by_digests_that_its_holder_can_make() -> None:
    pattern = by_language(of_case(case()).indicators)["stillwatch-text"][0].pattern
    data = WRAPPER.encode()
    assert f"sha256={sha256(data).hexdigest()} bytes={len(data)}" in pattern
    windows = set(re.fullmatch(r".* windows=(.*)", pattern)[1].split(","))  # type: ignore[index]
    assert len(windows) == len(data) // 32
    # Whoever has the text somewhere in a prompt finds every window by sliding over it, wherever it was cut.
    prompt = b"please: " + data[5:] + b" thank you"
    slid = {sha256(prompt[i : i + 32]).hexdigest()[:32] for i in range(len(prompt) - 31)}
    assert len(windows - slid) == 1


def test_no_text_leaves_unless_asked_and_never_for_readers_who_are_not_known() -> None:
    assert WRAPPER not in repr(of_case(case()).indicators)
    for tlp in TLP_ORDER:
        shared = of_case(case(), tlp=tlp, with_texts=True, downgrade=True)
        verbatim = [i for i in shared.indicators if i.language == "verbatim-text"]
        if tlp in ("TLP:CLEAR", "TLP:GREEN"):
            assert not verbatim
            assert any("the shared text itself: not at" in s for s in shared.left_out)
        else:
            assert [i.pattern for i in verbatim] == [WRAPPER, sharing_case.SECOND]


@pytest.mark.parametrize("accounts", range(8))
def test_small_groups_do_not_leave(accounts: int) -> None:
    shared = of_case(case(finding(accounts=accounts)))
    assert bool(shared.indicators) == (accounts >= 5)
    assert any("groups this small" in s for s in shared.left_out) == (accounts < 5)


def test_counts_of_few_do_not_leave_either() -> None:
    shared = of_case(case())
    everything = json.dumps([asdict(i) for i in shared.indicators])
    for small in ("grading", "rewriting", "meridian-old", "meridian-beta", "acme", "64501"):
        assert small not in everything
    assert "c-7f3a0011: networks of fewer than 5 accounts: 1" in shared.left_out


def test_no_identifier_of_an_account_leaves() -> None:
    told = finding(texts=[f"{ACCOUNT} and a long text in which a pseudonym stands, whatever it may do there"])
    assert not by_language(of_case(case(told)).indicators).get("stillwatch-text")


def test_only_what_is_supported_leaves_and_what_was_withdrawn_is_taken_back() -> None:
    shared = of_case(corrected())
    assert {i.finding.subject for i in shared.items} == {"c-wrong", "c-right", "c-gone"}
    assert {d for i in shared.indicators for d in i.derived_from} == {corrected().findings[1].id}
    assert len(shared.revoked) == 14
    assert "findings that are not supported: 1" in of_case(case()).left_out


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({"accounts": None}, "does not say how many accounts"),
        ({"accounts": True}, "does not say how many accounts"),
        ({"since": ""}, "does not say from when to when"),
        ({"until": "2026-11-01"}, "does not say from when to when"),
        ({"until": "9999-12-31"}, "does not say from when to when"),
        ({"part_of": "c-whole"}, "part of c-whole, which stands for it"),
    ],
)
def test_what_lacks_something_is_left_out_with_its_reason(details: dict[str, object], says: str) -> None:
    shared = of_case(case(finding(**details)))
    assert not shared.items
    assert says in shared.left_out[0]


@pytest.mark.parametrize("own", TLP_ORDER)
@pytest.mark.parametrize("wanted", TLP_ORDER)
def test_a_wider_tlp_needs_to_be_meant(own: TLP, wanted: TLP) -> None:
    file = case(tlp=own)
    if rank(wanted) < rank(own):
        with pytest.raises(InputError, match="--downgrade"):
            of_case(file, tlp=wanted)
    else:
        assert of_case(file, tlp=wanted).tlp == wanted
    assert of_case(file, tlp=wanted, downgrade=True).tlp == wanted


def test_a_finding_of_a_scan_is_no_wider_than_the_steps_that_made_it() -> None:
    """A scan's findings cite their SQL, which is filed as TLP:AMBER."""
    told = replace(finding(), evidence=("e" * 64,))
    steps = evidence("e" * 64, role="method as run", tlp="TLP:AMBER")
    green = case(told, tlp="TLP:GREEN", evidence=(steps,))
    assert of_case(green).left_out == ("c-7f3a0011: rests on evidence that is TLP:AMBER",)
    assert of_case(green, tlp="TLP:AMBER").indicators


def test_what_rests_on_narrower_evidence_stays() -> None:
    told = replace(finding(), evidence=("e" * 64,))
    file = case(told, evidence=(evidence("e" * 64, tlp="TLP:RED"),))
    assert of_case(file).left_out == ("c-7f3a0011: rests on evidence that is TLP:RED",)
    assert of_case(file, downgrade=True).indicators


def test_confidence_follows_from_pattern_and_honest_matches_and_never_from_an_evalue() -> None:
    def of(**more: object) -> int:
        told = finding(**more)
        alternatives = tuple(a for a in told.alternatives if a.excluded is not False)
        return by_language(of_case(case(replace(told, alternatives=alternatives))).indicators)[
            "stillwatch-text"
        ][0].confidence

    assert of(benign={"hits": 3, "of": 20_000}) == HIGH
    assert of(benign={"hits": 30, "of": 20_000}) == MEDIUM
    assert of(benign={"hits": 0, "of": 100}) == MEDIUM
    assert of(benign={}) == MEDIUM
    assert of(texts=["a text of forty bytes, and not one more."]) == LOW
    strong, weak = (replace(finding(), log_evalue=e) for e in (500.0, 9.0))
    first, second = (of_case(case(f)).indicators for f in (strong, weak))
    assert [i.confidence for i in first] == [i.confidence for i in second]
    popular = replace(
        finding(), alternatives=(Excluded("users of a popular framework or prompt", False, ""),)
    )
    assert {i.confidence for i in of_case(case(popular)).indicators} == {LOW}


def test_the_benign_rate_is_given_stored_or_not_measured() -> None:
    plain = finding(benign={})
    assert {(i.benign_hits, i.benign_of) for i in of_case(case(plain)).indicators} == {(0, 0)}
    given = of_case(case(plain), benign={plain.id: (1, 50)})
    assert by_language(given.indicators)["stillwatch-text"][0].benign_of == 50
    assert indicators.benign_words(0, 0) == "how many honest accounts match was not measured"
    assert indicators.benign_words(3, 20_000) == (
        "3 of 20,000 honest accounts matched (0.015%; 95% interval 0.0031% to 0.044%)"
    )
    with pytest.raises(InputError, match="no rate"):
        of_case(case(plain), benign={plain.id: (5, 4)})


@pytest.mark.parametrize("days", [0, 731])
def test_how_long_indicators_last_is_bounded(days: int) -> None:
    with pytest.raises(InputError, match="1 to 730"):
        of_case(case(), valid_days=days)


def test_an_indicator_ends() -> None:
    made = of_case(case()).indicators[0]
    states = {datetime(2026, 11, 1, tzinfo=UTC): "not yet valid", datetime(2026, 11, 20, tzinfo=UTC): "valid",
              datetime(2027, 2, 12, tzinfo=UTC): "expired"}  # fmt: skip
    assert {at: indicators.state_of(made, at) for at in states} == states


@pytest.mark.parametrize(
    ("hits", "of"),
    [(0, 1), (1, 1), (0, 20_000), (3, 20_000), (500, 1000), (7, 123_456), (499_999, 1_000_000)],
)
def test_the_interval_is_the_exact_one(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(0.95, "exact")
    assert exact_interval(hits, of) == pytest.approx((expected.low, expected.high), rel=1e-8)


@pytest.mark.parametrize(("hits", "of"), [(1, 0), (-1, 5), (6, 5)])
def test_no_interval_without_a_share(hits: int, of: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        exact_interval(hits, of)


def test_a_template_is_the_text_with_its_slots_open() -> None:
    assert (
        indicators.template_of('say "this" at https://x.example/0 with `code` in 0.0 s')
        == "say \t at \t with \t in \t s"
    )


def test_windows_never_cross_a_place_where_text_was_cut() -> None:
    pattern = indicators.text_pattern("x" * 40 + "\ufffd" + "y" * 40)
    assert pattern.count(",") == 1
    with pytest.raises(InputError, match="at least 32 bytes"):
        indicators.text_pattern("x" * 31 + "\ufffd" + "y" * 31)
