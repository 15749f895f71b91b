"""What ``stillwatch watermark detect`` says: JSON lines, a table, and what it means in sentences."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import output
from stillwatch.cli._options import HOME

if TYPE_CHECKING:
    from stillwatch.cli._documents import Bad
    from stillwatch.marks.detecting import Corpus, Found
    from stillwatch.marks.served_keys import Unread

SHOWN = 20
"""Keys in the table; all of them with --json."""
LN10 = 2.302585092994046


class Single:
    """What is said of single documents, and how many were looked at."""

    def __init__(self, keys: int) -> None:
        self.keys = keys
        self.logs = array("d")
        self.little = 0

    def __call__(self, corpus: Corpus, place: str, ids: Any) -> dict[str, Any]:
        """One line for one document: its best key, with p by itself and for all keys that were tried on it."""
        import math

        said: dict[str, Any] = {"kind": "document", "document": place, "tokens": len(ids), "keys": self.keys}
        best, tested = corpus.best(ids)
        if best is None or best.log_p is None:
            self.little += 1
            return said | {"too_little_text": True}
        over_keys = min(0.0, best.log_p + math.log(tested))
        self.logs.append(over_keys)
        return said | {
            "key": best.serving.fingerprint,
            "scheme": best.serving.scheme,
            "scope": str(best.serving.scope),
            "pairs": best.pairs,
            "mean": best.mean,
            "chance": best.chance,
            "log10_p": best.log_p / LN10,
            "log10_p_over_keys": over_keys / LN10,
        }

    def summary(self, alpha: float) -> dict[str, Any]:
        """How many documents were tested, and how many remain after correcting for all of them."""
        import math

        import numpy as np

        from stillwatch.stats.multiplicity import holm

        logs = np.frombuffer(self.logs, np.float64) if self.logs else np.zeros(0)
        remain = int((holm(logs) <= math.log(alpha)).sum())
        return {
            "documents_tested": len(logs),
            "documents_with_too_little_text": self.little,
            "documents_after_correction": remain,
            "log10_p_over_keys_of_the_last": float(np.sort(logs)[remain - 1]) / LN10 if remain else None,
        }

    def words(self, alpha: float) -> str:
        said = self.summary(alpha)
        n, remain = said["documents_tested"], said["documents_after_correction"]
        text = (
            f"{output.count(n, 'document')} tested by themselves, {self.little:,} had too little text. Without any "
            f"mark about {alpha * n:,.3g} would have a p of {alpha:g} or less, so no single p decides. Corrected for "
            f"all documents and keys (Holm, {alpha:g}): {output.count(remain, 'document')}"
        )
        last = said["log10_p_over_keys_of_the_last"]
        return f"{text}, those with log10_p_over_keys of {last:.2f} or less." if remain else f"{text}."


def write_all(
    write: Callable[[dict[str, Any]], object],
    corpus: Corpus,
    found: list[Found],
    unread: list[Unread],
    bad: Bad,
    single: Single | None,
    alpha: float,
) -> None:
    from stillwatch.marks.detecting import detectable

    tested = sum(one.log_p is not None for one in found)
    for one in found:
        s = one.serving
        row: dict[str, Any] = {
            "kind": "key", "key": s.fingerprint, "scheme": s.scheme, "scope": str(s.scope), "begins": s.begins,
            "ends": s.ends, "pairs": one.pairs, "need": one.need,
        }  # fmt: skip
        if one.log_p is None or one.log_p_adjusted is None:
            write(row | {"too_little_text": True})
            continue
        write(row | {
            "mean": one.mean, "chance": one.chance, "log10_p": one.log_p / LN10,
            "log10_p_adjusted": one.log_p_adjusted / LN10, "carries": one.carries(alpha),
            "null": "exact" if one.exact else "rank among drawn keys", "rank": one.rank, "drawn": one.drawn,
            "drawn_say": one.drawn_say, "detectable": detectable(one, tested, alpha=alpha),
        })  # fmt: skip
    for other in unread:
        s = other.serving
        write(
            {
                "kind": "unread",
                "key": s.fingerprint,
                "scheme": s.scheme,
                "scope": str(s.scope),
                "why": other.why,
            }
        )
    write(
        {"kind": "summary", "documents": corpus.documents, "tokens": corpus.tokens, "keys": len(found),
         "keys_tested": tested, "alpha": alpha, "pairs_left_out": corpus.dropped, "passed_over": bad.count}
        | (single.summary(alpha) if single else {})
    )  # fmt: skip


def show(
    corpus: Corpus, found: list[Found], unread: list[Unread], alpha: float, strength: float, workspace: Path
) -> None:
    rows = [
        (
            one.serving.fingerprint[:8],
            str(one.serving.scope),
            one.serving.scheme,
            one.pairs,
            *_numbers(one),
        )
        for one in found[:SHOWN]
    ]
    output.table(
        rows,
        ["KEY", "SCOPE", "SCHEME", "PAIRS", "MEAN", "CHANCE", "LOG10 P", "ADJUSTED", "RANK"],
        right=["MEAN", "CHANCE", "LOG10 P", "ADJUSTED", "RANK"],
    )
    if len(found) > SHOWN:
        output.line(f"{len(found) - SHOWN:,} more keys with larger p: --json")
    output.line()
    output.line(
        f"{output.count(corpus.documents, 'document')}, {output.count(corpus.tokens, 'token')}, "
        f"{output.count(len(found), 'key')}; ADJUSTED is over all keys (Holm)."
    )
    for text in _sentences(found, alpha, strength):
        output.line(text)
    if corpus.dropped:
        output.line(f"{corpus.dropped:,} pairs were left out: no room to remember them (--remember).")
    for other in unread:
        output.note(f"key {other.serving.fingerprint} ({other.serving.scheme}) was not read: {other.why}")
    where = "" if workspace == HOME else f" --workspace {workspace}"
    if any(one.carries(alpha) for one in found):
        output.line(f"Next: stillwatch watermark ledger find --like FILE{where}")
    else:
        output.line(f"Next: stillwatch watermark key list --all{where}")


def _numbers(one: Found) -> tuple[str, ...]:
    if one.log_p is None or one.log_p_adjusted is None or one.mean is None or one.chance is None:
        return ("-", "-", "too little", "-", "-")
    rank = "-" if one.rank is None else f"{one.rank} of {one.drawn + 1}"
    logs = (f"{one.log_p / LN10:.1f}", f"{one.log_p_adjusted / LN10:.1f}")
    return (f"{one.mean:.4f}", f"{one.chance:.4f}", *logs, rank)


def _sentences(found: list[Found], alpha: float, strength: float) -> Iterator[str]:
    """What it means, what it does not, and what could have been found."""
    from stillwatch.marks.detecting import POWER, detectable, pairs_needed

    tested = [one for one in found if one.log_p is not None]
    named = [one for one in tested if one.carries(alpha)]
    if not tested:
        most, need = max((one.pairs for one in found), default=0), max(one.need for one in found)
        yield f"Too little text: {most} distinct pairs were scored, and below {need} no number is given."
        return
    if unlike := [one for one in tested if not one.exact]:
        yield (
            f"On this text drawn keys do not score as they should ({unlike[0].drawn_say}): there p is the rank of the "
            "key among them, and cannot be small."
        )
    for one in named:
        yield (
            f"Text of key {one.serving.fingerprint} ({one.serving.scope}) is in it: without it a count like this comes "
            f"in one corpus of 10^{-(one.log_p_adjusted or 0.0) / LN10:.1f}, all keys that were tried allowed for."
        )
    if named:
        yield (
            "It says that answers we served under that key are among these texts. It does not say how they came there, "
            "nor that anything was trained on them."
        )
        return
    best = max(tested, key=lambda one: one.pairs)
    least = detectable(best, len(tested), alpha=alpha)
    yield f"No mark of {'this key' if len(tested) == 1 else f'these {len(tested):,} keys'} was found."
    if least is not None and best.chance is not None:
        yield (
            f"With {best.pairs:,} pairs a mean of about {best.chance + least:.4f} instead of {best.chance:.4f} would "
            f"have been found in {POWER:.0%} of corpora ({best.serving.scheme})."
        )
    if needed := pairs_needed(best, strength, len(tested), alpha=alpha):
        yield f"A mark of strength {strength:g} takes about {needed:,} pairs, all marked; here are {best.pairs:,}."
    yield "That proves nothing: paraphrase, another tokenizer, other keys and cleaning leave no mark."
