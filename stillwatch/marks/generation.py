"""Which places of an answer each engine marks, and when: a scheme and a key become a `models.marking.Marking`.

The rule: contexts are ids of the answer, marks come after temperature and truncation, and nothing is marked at
temperature 0. `EXCEPTIONS` has what differs, each with the reason. A scheme that is not in it follows the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.errors import InputError
from stillwatch.marks.keys import MarkKey
from stillwatch.marks.widths import reader, width_of
from stillwatch.models.marking import Marking


@dataclass(frozen=True, slots=True)
class Habit:
    """What an engine does beyond the rule; the fields are those of `Marking`."""

    prompt: bool = False
    whole: bool = False
    """A context must have all of its ids."""
    history: int = 0
    limit: int = 0
    missing: int = -1
    early: bool = False
    greedy: bool = False


_VLLM = Habit(history=8192)  # deduplicate_contexts: single_turn, with its max_history
_SGLANG = Habit(prompt=True, history=1 << 62, limit=4096)  # each context once, 4,096 of them
_SYNTHID = Habit(history=1024, missing=0)  # a state of zeros before the answer, and its context history
EXCEPTIONS: dict[str, Habit] = {
    # `watermarking_config` stands behind the warpers of generate and sees the whole of input_ids.
    "transformers_red_green": Habit(prompt=True, whole=True, greedy=True),
    "synthid_table": _SYNTHID,
    "synthid_hash": _SYNTHID,
    # A logits processor that MarkLLM hands to generate, which applies it before temperature.
    "markllm_kgw": Habit(prompt=True, whole=True, early=True, greedy=True),
    # Loops of their own over prompt and answer.
    "markllm_exp": Habit(prompt=True, whole=True),
    "textseal_gumbel": Habit(prompt=True, whole=True),
    "vllm_gumbel": _VLLM,
    "vllm_dual_gumbel": _VLLM,
    "synthid_philox": _VLLM,
    # A bias on raw logits, greedy answers too.
    "vllm_sbw": Habit(history=8192, early=True, greedy=True),
    "sglang_gumbel": _SGLANG,
    "sglang_dual_gumbel": _SGLANG,
}
ALPHA = 0.1
"""How often vLLM's dual key takes key B."""


def marking(
    scheme: str,
    key: MarkKey | int | Sequence[int],
    parameters: Mapping[str, Any] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> Marking:
    """The mark of one scheme under one key, as its engine makes it.

    Parameters
    ----------
    scheme
        Name of a module of `stillwatch.marks.schemes`.
    key
        As its `mark` takes it, or a `MarkKey` of the scheme.
    parameters
        Of its `mark`, under the names of the register; what is not given is as in the engine. Beyond those
        ``deduplicate_contexts`` (none or single_turn), ``deduplicate_contexts_max_history``, ``context_history_size``,
        ``skip_first_ngram_calls``, ``max_contexts`` and ``alpha``, each where the engine has it.
    rng
        Says which key marks in vllm_dual_gumbel, which the engine draws without a key; no other scheme takes one.

    Raises
    ------
    InputError
        No such scheme, a key of another, or a parameter that it does not have.
    """
    module, habit = reader(scheme), EXCEPTIONS.get(scheme, Habit())
    if isinstance(key, MarkKey):
        if key.scheme != scheme:
            raise InputError(f"the key is one of {key.scheme}, not of {scheme}")
        key = key.as_read()
    given = dict(parameters or {})
    history, limit, first = _left_out(scheme, habit, given)
    alpha = float(given.pop("alpha", ALPHA)) if scheme == "vllm_dual_gumbel" else 0.0
    taken = [
        name
        for name in signature(module.mark).parameters
        if name not in ("logits", "context", "key", "use_b")
    ]
    if unknown := sorted(set(given) - set(taken)):
        raise InputError(f"{scheme} has no parameter {unknown[0]!r} at generation; it has {', '.join(taken)}")
    width = _width(scheme, given)
    random = rng or np.random.default_rng()

    def draw(logits: NDArray[np.float32], contexts: NDArray[np.int64]) -> NDArray[Any]:
        more = {"use_b": random.random(len(logits)) < alpha} if alpha else {}
        found: NDArray[Any] = module.mark(logits, contexts, key, **given, **more)
        return found

    return Marking(
        scheme, width, draw, prompt=habit.prompt, least=width if habit.whole else 0, history=history, limit=limit,
        first=first, missing=habit.missing, early=habit.early, greedy=habit.greedy,
    )  # fmt: skip


def _width(scheme: str, given: Mapping[str, Any]) -> int:
    if (
        scheme == "transformers_red_green"
        and given.get("scheme") == "selfhash"
        and given.get("context_width", 1) < 2
    ):
        return 1  # the list depends on the token alone; the engine asks for one id all the same
    return width_of(scheme, given)


def _left_out(scheme: str, habit: Habit, given: dict[str, Any]) -> tuple[int, int, int]:
    """History, limit and first of a `Marking`; takes their parameters out of `given`."""
    history, limit, first = habit.history, habit.limit, 0
    if habit is _SYNTHID:
        history = int(given.pop("context_history_size", history))
        if given.pop("skip_first_ngram_calls", False):
            first = int(given.get("ngram_len", 5)) - 1
    elif habit is _SGLANG:
        limit = int(given.pop("max_contexts", limit))
    elif habit.history:
        said = given.pop("deduplicate_contexts", "single_turn")
        most = given.pop("deduplicate_contexts_max_history", history)
        history = (1 << 62) if most is None else int(most)
        if said == "none":
            history = 0
        elif said != "single_turn":
            raise InputError(
                f"{scheme}: deduplicate_contexts is none or single_turn here, found {said!r}; with 'all' contexts run "
                "into the prompt, which the reader does not follow"
            )
    if min(history, limit) < 0:
        raise InputError(f"{scheme}: a history or a limit is 0 or above")
    return history, limit, first
