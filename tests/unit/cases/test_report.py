"""The report: what a reader finds in it, and what hostile text cannot do to it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stillwatch.cases import report, write_report
from stillwatch.errors import InputError
from stillwatch.records import Excluded, Finding

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}</style>",
    "<!-- --><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "<meta http-equiv=refresh content='0;url=http://example.com'>",
]


class Page(HTMLParser):
    """Every tag, the visible text, and whether the tags balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(scan: dict[str, Any]) -> Page:
    found = Page(report.render(**scan))
    assert not found.open
    return found


def changed(finding: Finding, **details: Any) -> Finding:
    return dataclasses.replace(finding, details={**finding.details, **details})


def only(scan: dict[str, Any], finding: Finding) -> dict[str, Any]:
    return {**scan, "findings": [finding], "summary": {}}


def test_it_opens_with_a_plain_summary(scan: dict[str, Any]) -> None:
    text = page(scan).text
    assert "Of 41 groups of accounts that were proposed, 1 is supported. Its 198 accounts act as one" in text
    assert "1 is inconclusive: too little data to say either way. 39 are not supported." in text
    assert text.index("Of 41 groups") < text.index("How to read") < text.index("The methods")


def test_what_was_taken_the_interval_and_what_stands_against_it(scan: dict[str, Any]) -> None:
    found = changed(
        scan["findings"][0],
        share_low=0.951,
        share_high=0.984,
        share_by="the text that proposed the group",
        open_for_nearly_all=["a reseller whose customers ask for themselves"],
        exempt={"a study agreed in writing": 3},
        taken_words=[["taken", "71,204 exchanges, 41 M output tokens; 61,880 distinct tasks"],
                     ["moved", "2026-11-05: 5 accounts join"], ["moved", "2026-11-06: 7 accounts join"]],
    )  # fmt: skip
    text = page(only(scan, found)).text
    for part in [
        "95 to 98%",
        "Share told by the text that proposed the group",
        "Not excluded for nearly all of these accounts: a reseller whose customers ask for themselves",
        "3 accounts exempt ( a study agreed in writing ).",
        "What was taken Taken 71,204 exchanges, 41 M output tokens; 61,880 distinct tasks",
        "Moved 2026-11-05: 5 accounts join 2026-11-06: 7 accounts join",
    ]:
        assert part in text, part
    assert text.index("Not excluded for nearly all") < text.index("The two questions")


def test_a_question_to_ask_is_told_in_the_opening(scan: dict[str, Any]) -> None:
    asked = [changed(f, reason="one organisation or payer: ask it") if f.decision == "inconclusive" else f
             for f in scan["findings"]]  # fmt: skip
    assert "or somebody has to be asked first" in page({**scan, "findings": asked}).text
    assert "or somebody has to be asked first" not in page(scan).text


def test_it_says_what_was_found_and_what_stands_against_it(scan: dict[str, Any]) -> None:
    text = page(only(scan, scan["findings"][0])).text
    for part in [
        "198 accounts act as one, and what they do has the shape of harvesting.",
        "71,204",
        "14 card tokens pay for 198 accounts",
        "reasoning is asked for in 97% of requests",
        "reseller not excluded 4 accounts also carry",
        "school class cannot tell",
        "one company excluded",
        "9 accounts joined on the last day",
        "No answer recorded.",
        "e = 3e+41",
        "e = 4,100",
        "e = 1e+15 is the largest this test could have given",
        "0.83 (interval 0.79 to 0.88)",
        "registration times are the provider's own : not checked",
        "p = 1.2e-04 (greater)",
        "you are an expert problem solver.",
        scan["run"].id,
        scan["findings"][0].id,
    ]:
        assert part in text, part


def test_what_was_not_tested_the_cards_and_the_run_close_it(scan: dict[str, Any]) -> None:
    text = page(scan).text
    assert "signature replay : the log has no reasoning signatures" in text
    assert "Users of a popular framework." in text
    assert "Hooi et al., FRAUDAR" in text
    assert "stillwatch campaigns scan --report report.html" in text
    assert f"{8:064x}" in text


def test_methods_are_called_by_their_titles(scan: dict[str, Any]) -> None:
    finding = changed(scan["findings"][0], proposed_by="shared_prompt")
    for member in finding.details["members"]:
        member["evidence"] = {"shared_prompt": True, "unknown_method": True}
    text = page(only(scan, finding)).text
    assert "Proposed by Shared prompt text" in text
    assert "Share First seen Shared prompt text unknown_method" in text
    assert "shared_prompt" not in text.replace("shared_prompt@1", "").replace('["shared_prompt",', "")


def test_an_answer_stands_beside_the_claim(scan: dict[str, Any]) -> None:
    scan["summary"]["answers"] = {"c-7f3a": ["We are a tutoring company; <b>these are our pupils</b>."]}
    text = page(only(scan, scan["findings"][0]) | {"summary": scan["summary"]}).text
    assert "We are a tutoring company; <b>these are our pupils</b>." in text
    assert "No answer recorded" not in text


def test_too_little_resampling_is_said(scan: dict[str, Any]) -> None:
    small = scan["findings"][2]
    short = dataclasses.replace(small.results[0], log_evalue=math.log(900), log_evalue_ceiling=math.log(1000))
    text = page(only(scan, dataclasses.replace(small, results=(short,)))).text
    assert "too little resampling to reach what is needed" in text
    assert "too little resampling" not in page(only(scan, small)).text


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_stays_text_wherever_it_stands(scan: dict[str, Any], words: str) -> None:
    tags_before = [tag for tag, _ in page(only(scan, scan["findings"][0])).tags]
    finding = changed(
        scan["findings"][0],
        campaign=words,
        takes=words,
        proposed_by=words,
        confirmed_by=[words] * 3,
        harvest_words=[words] * 2,
        also=[words],
        texts=[words],
    )
    finding = dataclasses.replace(
        finding,
        claim=words,
        limits=(words, words),
        alternatives=tuple(Excluded(words, a.excluded, words) for a in finding.alternatives),
    )
    for member in finding.details["members"]:
        member["account"] = words
        member["evidence"] = {words if k == "funding" else k: v for k, v in member["evidence"].items()}
    found = page(only(scan, finding) | {"title": words})
    assert [tag for tag, _ in found.tags] == tags_before
    assert words in "".join(found.words)
    for tag, attributes in found.tags:
        assert tag not in {
            "script",
            "iframe",
            "object",
            "embed",
            "img",
            "link",
            "form",
            "base",
            "foreignobject",
        }
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "src"}], (
            attributes
        )
        href = attributes.get("href")
        assert href is None or re.fullmatch(r"#g-[0-9a-f]{16}|#groups", href)


def test_what_hides_or_reorders_is_shown(scan: dict[str, Any]) -> None:
    text = "a\x00b \u202egnirts\u202c \u2066x\u2069 \u200b| \ud800 \x1b[2J \U000e0041 \ufeff"
    # A record refuses lone surrogates (it is digested as UTF-8); the title need not be part of one.
    told = changed(scan["findings"][0], texts=[text.replace("\ud800", "")], takes=text.replace("\ud800", ""))
    html = report.render(**only(scan, told) | {"title": text})
    html.encode()
    for raw in "\x00\u202e\u202c\u2066\u2069\u200b\ud800\x1b\U000e0041\ufeff":
        assert raw not in html
        assert f"⟨U+{ord(raw):04X}⟩" in html
    assert 'dir="auto"' in html


def test_honest_scripts_are_left_alone(scan: dict[str, Any]) -> None:
    text = "می‌خواهم क्ष 👨‍👩‍👧 שלום e\u0301\nsecond line"
    assert text in report.render(**only(scan, changed(scan["findings"][0], texts=[text])))


def test_the_page_allows_only_its_own_style(scan: dict[str, Any]) -> None:
    html = report.render(**scan)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy and style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert (
        policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert html.count("<style") == 1
    for outside in ("http://", "https://", "url(", "@import", "javascript:", "<script"):
        assert outside not in html


def test_it_can_be_used_without_eyes(scan: dict[str, Any]) -> None:
    found = page(scan)
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in found.tags if tag == "th")
    pictures = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(p["role"] == "img" and len(p["aria-label"] or "") > 40 for p in pictures)
    assert ("html", {"lang": "en"}) in found.tags
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for t, a in found.tags if t == "a"} <= set(ids)


def test_words_that_accuse_are_never_used(scan: dict[str, Any]) -> None:
    html = report.render(**scan).lower()
    for word in ("victim", "thief", "stolen", "attack score", "certainty", "1 in ", "guilty", "attacker"):
        assert word not in html


def test_the_same_input_gives_the_same_bytes_in_one_step(scan: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert write_report(target, **scan) == target
    first = target.read_bytes()
    write_report(str(target), **scan)
    assert target.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_is_a_plain_error(scan: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "nowhere" / "report.html", **scan)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "folder", **scan)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_empty_scan_says_so(scan: dict[str, Any]) -> None:
    text = page(scan | {"findings": [], "cards": [], "summary": {}}).text
    assert "No group of accounts stood out" in text


def test_a_finding_without_details_is_still_told(scan: dict[str, Any]) -> None:
    bare = Finding(
        subject="group 1", claim="Two accounts act as one.", decision="supported", results=(), family=""
    )
    text = page(only(scan, bare)).text
    assert "Of 1 group of accounts that was proposed, 1 is supported." in text
    assert "None was examined." in text
    assert "No answer recorded." in text


def test_a_group_inside_another_is_not_counted_as_a_campaign_of_its_own(scan: dict[str, Any]) -> None:
    whole, twin = scan["findings"][:2]
    part = dataclasses.replace(
        changed(whole, campaign="c-part", accounts=20, part_of="c-7f3a"), claim="20 accounts act as one."
    )
    twin = changed(twin, reason="acts as one only")
    text = page(scan | {"findings": [part, whole, twin], "summary": {}}).text
    assert "Of 3 groups of accounts that were proposed, 2 are supported. 1 of them lies almost wholly" in text
    assert "so this is 1 campaign. Its 198 accounts act as one" in text
    assert "part of c-7f3a" in text
    assert "20 accounts act as one." not in text
    assert "(acts as one only)" in text


def test_small_groups_without_any_sign_are_listed_and_not_told(scan: dict[str, Any]) -> None:
    small = scan["findings"][2]
    dull = changed(small, campaign="c-dull", acts_as_one=math.log(3), harvesting=None)
    found = page(scan | {"findings": [small, dull], "summary": {}})
    linked = [a["href"] for t, a in found.tags if t == "a" and a["href"] != "#groups"]
    assert linked == [f"#g-{small.id[:16]}"]
    assert "1 more group: parts of those above, too small to tell" in found.text
    assert "c-dull" in found.text
    assert "2 are inconclusive" in found.text


def test_not_tested_findings_are_listed_and_none_is_counted_as_supported(scan: dict[str, Any]) -> None:
    skipped = dataclasses.replace(scan["findings"][0], decision="not tested", claim="The log has no times.")
    text = page(only(scan, skipped)).text
    assert "none is supported" in text
    assert "1 was not tested" in text
    assert "c-7f3a : The log has no times." in text


def test_many_groups_and_long_texts_are_cut_and_the_cut_is_said(scan: dict[str, Any]) -> None:
    many = [
        dataclasses.replace(scan["findings"][3 + n % 38], subject=f"s{n}", details={"campaign": f"x-{n}"})
        for n in range(500)
    ]
    big = changed(scan["findings"][0], texts=["y" * 5000] * 30, accounts=450)
    text = page(scan | {"findings": [big, *many], "summary": {"proposed": 1412}}).text
    assert "Of 1,412 groups" in text
    assert "The other 911 are not listed here." in text
    assert "201 more groups not shown in this table" in text
    assert "500 groups without a section of their own" in text
    assert "[3,000 more characters]" in text
    assert "10 more texts not shown" in text
    assert "252 more accounts" in text
