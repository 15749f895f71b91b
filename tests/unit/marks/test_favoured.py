"""What a key favours after given contexts, held against the mark itself."""

from __future__ import annotations

import numpy as np
import pytest

from stillwatch.errors import InputError
from stillwatch.marks.favoured import favoured
from stillwatch.marks.widths import reader, width_of

SIZE = 300


@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [
        ("transformers_red_green", {"vocab_size": SIZE}),
        ("transformers_red_green", {"vocab_size": SIZE, "gamma": 0.5}),
        ("markllm_kgw", {"vocab_size": SIZE}),
        ("vllm_sbw", {"scheme": "lefthash"}),
    ],
)
def test_it_is_what_the_mark_adds_to(scheme: str, parameters: dict[str, object]) -> None:
    rng = np.random.default_rng(1)
    contexts = rng.permutation(np.arange(1, SIZE))[:90, None]
    assert width_of(scheme, parameters) == 1
    tokens = [np.sort(rng.permutation(SIZE)[: rng.integers(1, 60)]) for _ in contexts]
    first = np.concatenate([[0], np.cumsum([len(t) for t in tokens])])
    made = {k: v for k, v in parameters.items() if k != "vocab_size"}
    marked = reader(scheme).mark(np.zeros((90, SIZE), np.float32), contexts, 12345, **made) > 0
    wanted = np.concatenate([marked[i, t] for i, t in enumerate(tokens)])
    found = favoured(scheme, parameters, SIZE)(12345, contexts, first, np.concatenate(tokens))
    np.testing.assert_array_equal(found, wanted)
    assert 0.1 < found.mean() < 0.7


@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [("vllm_gumbel", {}), ("transformers_red_green", {"vocab_size": SIZE, "scheme": "selfhash"})],
)
def test_without_a_list_it_is_refused(scheme: str, parameters: dict[str, object]) -> None:
    with pytest.raises(InputError, match="no list of tokens"):
        favoured(scheme, parameters, SIZE)
