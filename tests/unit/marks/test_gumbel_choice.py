"""The token that the Gumbel mark of vLLM chooses: only a few logarithms are taken, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from stillwatch.marks.schemes import vllm_gumbel


@pytest.mark.parametrize("width", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("size", [5, 1023, 4096])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0, 9.0])
def test_it_is_the_largest_sum_over_the_whole_vocabulary(width: int, size: int, spread: float) -> None:
    rng = np.random.default_rng([width, size, int(spread)])
    logits = rng.normal(0.0, spread, (12, size)).astype(np.float32)
    logits[:, 3] = -np.inf
    context = rng.integers(0, size, (12, int(rng.integers(0, 12))))
    key = int(rng.integers(0, 2**63)) * 2 + 1
    u = vllm_gumbel.uniforms(context, key, size, width).astype(np.float64)
    wanted = np.argmax(logits - np.log(-np.log(u)), axis=1)
    np.testing.assert_array_equal(vllm_gumbel.mark(logits, context, key, context_width=width), wanted)
    np.testing.assert_array_equal(
        vllm_gumbel.mark(logits.astype(np.float64), context, key, context_width=width), wanted
    )


def test_one_row_gives_one_token() -> None:
    chosen = vllm_gumbel.mark(np.zeros(50, np.float32), [7], 3, context_width=1)
    assert chosen.shape == () and 0 <= int(chosen) < 50
