"""Windows of the width that is said are read as the text is, by every scheme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stillwatch import plugins
from stillwatch.errors import InputError
from stillwatch.marks.key_shapes import shape_of
from stillwatch.marks.widths import for_windows, own_draws, reader, width_of

V = 5_000
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "transformers_red_green": [
        {"vocab_size": V},
        {"vocab_size": V, "context_width": 4},
        {"vocab_size": V, "scheme": "selfhash", "context_width": 4},
    ],
    "markllm_kgw": [{"vocab_size": V}, {"vocab_size": V, "prefix_length": 3}],
    "markllm_exp": [{"vocab_size": V, "prefix_length": 2}],
    "vllm_sbw": [{}, {"scheme": "lefthash"}, {"scheme": "selfhash", "context_width": 2}],
    "vllm_gumbel": [{}, {"context_width": 1}, {"context_width": 6}],
    "sglang_gumbel": [{}, {"context_window": 2}],
    "synthid_table": [{}, {"ngram_len": 2}],
}


@pytest.mark.parametrize("name", sorted(plugins.find("marks.schemes")))
def test_windows_are_read_as_the_text_is(name: str) -> None:
    rng = np.random.default_rng(5)
    text = rng.permutation(V)[:300].astype(np.int64)
    shape = shape_of(name)
    drawn = [tuple(int(x) | 1 for x in rng.integers(1, 2**31, shape.count)) for _ in range(3)]
    keys = [k[0] if shape.count == 1 else k for k in drawn]
    for parameters in SETTINGS.get(name, [{}]):
        width = width_of(name, parameters)
        cut = np.lib.stride_tricks.sliding_window_view(text, width + 1)
        ends = np.arange(1, len(cut) + 1) * (width + 1)
        how = for_windows(name, parameters)
        whole = reader(name).read(text, keys, **how)
        pieces = reader(name).read(cut.ravel().copy(), keys, ends=ends, **how)
        assert pieces.scored.tolist() == whole.scored.tolist() and whole.scored[0] > 250
        np.testing.assert_allclose(pieces.statistic, whole.statistic)
        # A narrower window holds less than the draw depends on: fewer pairs, or none.
        if width > 1:
            short = np.ascontiguousarray(cut[:, 1:]).ravel()
            less = reader(name).read(short, keys, ends=np.arange(1, len(cut) + 1) * width, **how)
            assert less.scored[0] == 0


def test_a_draw_without_a_context_and_an_unknown_scheme_are_refused() -> None:
    with pytest.raises(InputError, match="token alone"):
        width_of("transformers_red_green", {"vocab_size": V, "scheme": "selfhash", "context_width": 1})
    with pytest.raises(InputError, match="vllm_gumbel"):
        reader("nothing")


def test_schemes_whose_contexts_share_draws_are_known() -> None:
    assert own_draws("transformers_red_green", {"vocab_size": V}) and own_draws("vllm_gumbel", {})
    assert own_draws("markllm_kgw", {"vocab_size": V}) and own_draws("vllm_sbw", {"scheme": "lefthash"})
    assert not own_draws("transformers_red_green", {"scheme": "selfhash", "context_width": 4})
    assert not own_draws("vllm_sbw", {})
    assert not own_draws("vllm_sbw", {"scheme": "lefthash", "context_width": 2})
    assert not own_draws("markllm_kgw", {"prefix_length": 2}) and not own_draws("markllm_exp", {})
    assert not own_draws("textseal_gumbel", {"ngram": 2})
    # A key that shares a divisor with the vocabulary reaches a part of the lists.
    assert not own_draws("markllm_kgw", {"vocab_size": 32_000}, 125) and own_draws(
        "markllm_kgw", {"vocab_size": 32_000}, 7
    )
