"""Words and counts as they may leave the house: no account, no party by its name, and no number of a few accounts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import unquote

from stillwatch.cases.claims import moment
from stillwatch.records import Case, Finding

LEAST = 5
"""Groups of fewer accounts, and counts below it, never leave."""
Parties = Mapping[str, str]
"""Name of a party -> how it is called outside; of whoever is not in it, the name may leave."""

# Upper-case hexadecimal in front is the end of a percent-code, and no part of a longer digest.
_PSEUDONYM = re.compile(r"(?<![0-9a-f])(?i:[a-z]-[0-9a-f]{16})(?![0-9a-f])")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NETWORK = re.compile(r"(?<![\w.:])(?:[0-9a-f]{0,4}[.:]){2,}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
"""What may be an address of IPv4, IPv6 or hardware; `_is_address` tells."""
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ONE_LETTER = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_NOUNS = "accounts?|members?|customers?|users?|payers?|organi[sz]ations?|companies|firms?|people|persons?"
_FEW = re.compile(
    rf"\b(\d[\d,]*|two|three|four)((?: of)?(?: (?:the|these|those|\d[\d,]*))?(?: [a-z]+){{0,2}} )({_NOUNS})\b|"
    r"\b(one) (account|member|customer|user)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![\w.,-])(?:\d+(?:[.,]\d+)*%?(?:e[+-]\d+)?|two\b|three\b|four\b)(?![\w-])(?=( *[A-Za-z])?)",
    re.IGNORECASE,
)
_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4}
_FINE_TUNED = re.compile(r"(?:^|[:/.-])ft[:-]", re.IGNORECASE)


def parties_of(case: Case) -> dict[str, str]:
    """What the parties of a case are called outside: ``party A`` and so on, in the order in which they came into it.

    A party that has a pseudonym of the case keeps it.
    """
    return {n: f"party {letter}" for n, letter in letters_of(case).items() if n not in case.subjects}


def letters_of(case: Case) -> dict[str, str]:
    """Name of a party -> its letter, the same in notices and in what is shared."""
    times = [(moment(a.at, "question"), a.party) for a in case.asked]
    times += [(moment(a.received_at, "answer"), a.party) for a in case.answers]
    names = dict.fromkeys(party for _, party in sorted(times))
    return {name: _letters(n) for n, name in enumerate(names)}


def nameless(text: str, parties: Parties) -> str:
    """`text` without pseudonyms of accounts, e-mail and network addresses, and the names of parties."""
    for name in sorted(parties, key=len, reverse=True):
        if name.strip():
            whole = re.compile(rf"(?<!\w){re.escape(name.strip())}(?!\w)", re.IGNORECASE)
            text = whole.sub(lambda _, called=parties[name]: called, text)  # type: ignore[misc]
    text = _MAIL.sub("(withheld)", _PSEUDONYM.sub("(withheld)", text))
    return _NETWORK.sub(lambda found: "(withheld)" if _is_address(found[0]) else found[0], text)


def public(text: str, parties: Parties) -> str:
    """`nameless`, and without numbers of accounts below `LEAST`."""
    return _FEW.sub(_hide_few, nameless(text, parties))


def numberless(text: str, parties: Parties, keep: Collection[int] = ()) -> str:
    """`nameless`, and without any number but `keep`: a part of a group tells the size of the rest.

    Days, and e-values written with a power of ten, stay.
    """

    def hide(found: re.Match[str]) -> str:
        digits = found[0].replace(",", "")
        if re.search(r"e[+-]", digits) or (digits.isdecimal() and int(digits) in keep):
            return found[0]
        if found[0].endswith("%"):
            return "a share"
        return "some" if found[1] else "a number"

    return _NUMBER.sub(hide, nameless(text, parties))


def limits_of(finding: Finding, parties: Parties) -> list[str]:
    """Its limits, without a number of accounts, however it is said."""
    return [numberless(limit, parties) for limit in finding.limits]


def models_of(finding: Finding) -> list[tuple[str, int]]:
    """Models and their exchanges, where at least `LEAST` accounts and exchanges used one.

    A model that somebody had made for themselves names them, so it never leaves.
    """
    listed = (finding.details.get("taken") or {}).get("models") or ()
    return [
        (str(m["model"]), m["exchanges"])
        for m in listed
        if _many(m.get("accounts"), m["exchanges"])
        and not _FINE_TUNED.search(str(m["model"]))
        and not names_pseudonym(str(m["model"]))
    ]


def kinds_of(finding: Finding) -> list[tuple[str, int]]:
    """Kinds of elicitation and their exchanges, where at least `LEAST` accounts and exchanges were of one."""
    taken = finding.details.get("taken") or {}
    accounts = taken.get("kind_accounts") or {}
    return [(str(k), n) for k, n in (taken.get("kinds") or {}).items() if _many(accounts.get(k), n)]


def names_pseudonym(text: str) -> str:
    """The first pseudonym of an account, a card or another identifier in `text`; empty if there is none."""
    found = _PSEUDONYM.search(text)
    return found[0] if found else ""


def readings(text: str) -> Iterator[str]:
    """A document as it is written, and as its readers see it: without escapes, and without percent-codes."""
    plain = _ESCAPE.sub(_unescaped, text)
    yield from dict.fromkeys((text, plain, unquote(text), unquote(plain)))


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else found[0]
    return _ONE_LETTER.get(code, code)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return text.count(":") == 5 and all(len(part) == 2 for part in text.split(":"))
    return True


def _many(accounts: object, exchanges: object) -> bool:
    return all(isinstance(n, int) and n >= LEAST for n in (accounts, exchanges))


def _hide_few(found: re.Match[str]) -> str:
    said, between, noun = (found[1], found[2], found[3]) if found[1] else (found[4], " ", found[5])
    number = _WORDS.get(said.lower())
    number = int(said.replace(",", "")) if number is None else number
    if number >= LEAST or number == 0:
        return found[0]
    plural = noun if noun.endswith("s") or noun == "people" else f"{noun}s"
    return f"fewer than {LEAST}{between}{plural}"


def _letters(number: int) -> str:
    """A to Z, then AA and so on."""
    text, number = "", number + 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text
