"""Sigma 2 correlation rules: several distinct accounts send one text, or hold one card, within a time.

Sigma counts; it holds nothing against matched accounts. What a rule here finds is where to look, never a finding, and
most of what convinces a scan cannot be said in it: each document begins with what was left out. The YAML is written
here, so no YAML library is needed, and none reads a stranger's rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillwatch.cases.indicators import VERBATIM, Shareable, Shared
from stillwatch.cases.leaving import LEAST, public
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._ids import Ids, utc, version_of
from stillwatch.errors import InputError
from stillwatch.records import Case, Indicator

FORMAT = Format(
    name="sigma",
    title="Sigma correlation rules",
    media_type="application/yaml",
    suffix=".yml",
    reads=False,
    carries={
        "pattern": "detection (of shared text in words, in pieces)",
        "tlp": "tags",
        "valid_until": "description",
    },
    loses=(
        "A rule keeps the text and the count of accounts; digests, validity, confidence, benign rate, null and "
        "innocent explanations are lost or stand in comments.",
    ),
)
SIGNALS: Mapping[str, tuple[str, str]] = {
    "shared_prompt": ("template_digest", "one template of prompt"),
    "shared_infrastructure": ("payment_token", "one payment token"),
}
"""Proposer -> the column of Stillwatch's own exchange table that says the same as a count of distinct values."""
MOST_DESCRIPTION = 65_535
"""Characters, by the schema of SigmaHQ; a longer answer stands whole at the head of the document."""
PIECE = 8
"""Characters that a piece of text must have to be looked for."""


def write(case: Case, shared: Shared, *, producer: str) -> bytes:
    """Rules of the findings that stand, each a base rule and a correlation over distinct accounts."""
    head = [f"Rules of case {case.id} by {producer}, {shared.tlp}.", _said.ACTION, ""]
    rules: list[dict[str, Any]] = []
    for item in shared.items:
        if item.withdrawal:
            head.append(f"{item.finding.subject}: {_said.taken_back(case, shared, item)} Remove its rules.")
            head += [f"{item.finding.subject}: {r}" for r in _said.replies(case, shared, item.finding)]
            continue
        made = list(_rules(case, shared, item, producer))
        rules += made
        told = [*_said.replies(case, shared, item.finding), *unsaid(item, bool(made))]
        head += [f"{item.finding.subject}: {said}" for said in told]
    lines = [f"# {line}".rstrip() for text in head for line in _one_line(text)]
    return ("\n".join(lines) + "\n" + "".join("---\n" + _yaml(rule) for rule in rules)).encode()


def read(data: bytes, *, source: str, at: str) -> Imported:
    """Never: see `FORMAT.loses`."""
    raise InputError(f"{source}: {FORMAT.title} cannot be read back: {' '.join(FORMAT.loses)}")


def unsaid(item: Shareable, any_rule: bool) -> list[str]:
    """What of a finding Sigma cannot say, one sentence each."""
    said = []
    if not any_rule:
        said.append("no rule: without its text, nothing of it is a count of distinct accounts by one value.")
    digests = sum(i.language not in (VERBATIM, "stix") for i in item.indicators)
    if digests:
        said.append(f"not said: digests of text, and rates and volumes of groups ({digests} indicators).")
    if any(i.language == "stix" for i in item.indicators):
        said.append("not said: networks, because distinct accounts of one network are mostly honest.")
    tests = sorted({r.test.partition("@")[0].replace("_", " ") for r in item.finding.results})
    if tests:
        said.append(
            f"not said: {', '.join(tests)}. They hold a group against matched accounts, which a count does not."
        )
    return said


def _rules(case: Case, shared: Shared, item: Shareable, producer: str) -> Iterator[dict[str, Any]]:
    texts = [i for i in item.indicators if i.language == VERBATIM]
    for n, made in enumerate(texts, 1):
        pieces = _pieces(made.pattern)
        if pieces:
            key = f"stillwatch_{item.finding.subject.replace('-', '_')}_text_{n}"
            detection: dict[str, Any] = {"gen_ai.input.messages|contains|all": pieces}
            source = {"category": "application", "product": "gen_ai"}
            words = f"one text (piece {n})"
            group = ("service.name",)
            yield from _pair(
                case, shared, item, producer, key, words, source, detection, "user.id", group, made
            )
    signal = SIGNALS.get(str(item.finding.details.get("proposed_by")))
    if signal:
        column, words = signal
        key = f"stillwatch_{item.finding.subject.replace('-', '_')}_{column}"
        source = {"product": "stillwatch", "service": "exchanges"}
        detection = {f"{column}|exists": True}
        yield from _pair(
            case, shared, item, producer, key, words, source, detection, "account_id", (column,), None
        )


def _pair(
    case: Case,
    shared: Shared,
    item: Shareable,
    producer: str,
    key: str,
    words: str,
    source: dict[str, str],
    detection: dict[str, Any],
    account: str,
    group_by: Sequence[str],
    made: Indicator | None,
) -> Iterator[dict[str, Any]]:
    until = made.valid_until if made else max(i.valid_until for i in item.indicators)
    innocent = [public(a.name, shared.parties) for a in item.finding.alternatives if a.excluded is not True]
    ids, version = Ids(case, producer), version_of(case, shared, producer)
    common = {
        "status": "experimental",
        "author": producer,
        "date": utc(case.opened_at).date().isoformat(),
        "modified": version.date().isoformat(),
        "tags": [f"tlp.{shared.tlp.removeprefix('TLP:').lower().replace('+', '-')}"],
        "falsepositives": list(
            dict.fromkeys([*innocent, "users of one framework, product or published prompt"])
        ),
        "level": "informational",
    }
    yield {
        "title": f"{_short(item, shared)}: request with {words}",
        "id": str(ids.of("sigma", key)),
        "name": key,
        "description": f"Base rule of {key}_accounts, which counts; alone it says nothing. Not after {until[:10]}.",
        **common,
        "logsource": source,
        "detection": {"selection": detection, "condition": "selection"},
    }
    replies = " ".join(f"{r.rstrip('.')}." for r in _said.replies(case, shared, item.finding))
    first, last = _said.day_bounds(item.finding)
    days = min((last - first).days + 1, 30)
    correlation: dict[str, Any] = {
        "type": "value_count",
        "rules": [key],
        # The schema asks for one. Of a text it is the service that was asked: accounts are of one, and so is its text.
        "group-by": list(group_by),
        "timespan": f"{days}d",
        "condition": {"field": account, "gte": LEAST},
    }
    description = (
        f"At least {LEAST} distinct accounts with {words} within {days} days: somewhere to look, not a finding. "
        f"{_said.claimed(item.finding, shared)} Not after {until[:10]}. {replies}"
    )
    yield {
        "title": f"{_short(item, shared)}: several accounts with {words}",
        "id": str(ids.of("sigma", key, "accounts")),
        "name": f"{key}_accounts",
        "description": description[:MOST_DESCRIPTION],
        **common,
        "correlation": correlation,
    }


def _short(item: Shareable, shared: Shared) -> str:
    return public(item.finding.subject, shared.parties)[:40]


def _pieces(text: str) -> list[str]:
    """The runs between numbers (which the normal form writes as 0), with what Sigma takes for wildcards escaped."""
    runs = [run.strip() for run in text.replace("\ufffd", "0").split("0")]
    return [
        "".join(f"\\{c}" if c in "\\*?" else c for c in run)
        for run in dict.fromkeys(runs)
        if len(run) >= PIECE
    ]


def _one_line(text: str) -> list[str]:
    """A comment ends where its line does, whatever a stranger's text holds."""
    return ["".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")]


def _yaml(value: Any, indent: int = 0) -> str:
    """Dictionaries, lists, texts, whole numbers and booleans as YAML 1.2; every text quoted."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "".join(
            f"{pad}{_key(k)}:\n{_yaml(v, indent + 1)}"
            if isinstance(v, (dict, list))
            else f"{pad}{_key(k)}: {_scalar(v)}\n"
            for k, v in value.items()
        )
    return "".join(f"{pad}- {_scalar(v)}\n" for v in value)


def _key(text: str) -> str:
    return text if text.replace("-", "").replace("_", "").isalnum() and text.isascii() else _scalar(text)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    quoted = []
    for c in text:
        if c in '"\\':
            quoted.append("\\" + c)
        elif c.isprintable():
            quoted.append(c)
        else:
            quoted.append(f"\\x{ord(c):02x}" if c < "\x80" else f"\\U{ord(c):08x}")
    return f'"{"".join(quoted)}"'
