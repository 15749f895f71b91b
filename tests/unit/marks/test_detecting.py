"""Which key is in a corpus: found where it is, nobody named where it is not, and the same read in pieces."""

from __future__ import annotations

import math
import os
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillwatch.errors import InputError
from stillwatch.marks import detecting, simulated
from stillwatch.marks.detecting import Corpus
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.register import Serving
from stillwatch.marks.schemes import vllm_gumbel
from stillwatch.marks.served_keys import Candidate, candidates

MASTER = Master(bytes(range(32)))
VOCABULARY = {"transformers_red_green", "markllm_kgw", "markllm_exp"}
SCHEMES = (
    "transformers_red_green", "markllm_kgw", "markllm_exp", "synthid_table", "synthid_hash", "synthid_philox",
    "vllm_gumbel", "vllm_dual_gumbel", "vllm_sbw", "sglang_gumbel", "sglang_dual_gumbel", "textseal_gumbel",
)  # fmt: skip


def serving(scheme: str, tenant: str, *, device: str = "cpu", **parameters: Any) -> Serving:
    if scheme in VOCABULARY:
        parameters |= {"vocab_size": simulated.VOCABULARY}
    scope = Scope(tenant=tenant)
    name = MASTER.key(scheme, scope).fingerprint
    return Serving(
        name, scheme, scope, parameters, device, "", MASTER.fingerprint, "2026-12-01T00:00:00+00:00"
    )


def tried(*servings: Serving) -> list[Candidate]:
    found, unread = candidates(servings, MASTER)
    assert not unread
    return found


def answers(tenant: str, share: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers that vLLM's mark chose in part, under the key of a tenant."""
    key = MASTER.key("vllm_gumbel", Scope(tenant=tenant)).as_read()
    drawn = simulated.chosen(
        np.random.default_rng(seed),
        lambda logits, before, _: vllm_gumbel.mark(logits, before, key),
        n=n, width=4, share=share,
    )  # fmt: skip
    return drawn["tokens"], drawn["ends"]


def pieces(tokens: np.ndarray, ends: np.ndarray, cuts: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Documents in pieces that end after so many documents."""
    found, begin, first = [], 0, 0
    for cut in (*cuts, len(ends)):
        found.append((tokens[begin : ends[cut - 1]], ends[first:cut] - begin))
        begin, first = int(ends[cut - 1]), cut
    return found


def test_the_key_that_served_is_found_among_many_of_several_schemes() -> None:
    corpus = Corpus(
        tried(
            *(serving("vllm_gumbel", f"o-{i}", context_width=4) for i in range(8)),
            serving("transformers_red_green", "o-1"),
            serving("synthid_table", "o-1"),
        ),
        MASTER,
    )
    for share, seed in ((0.3, 1), (0.0, 2)):
        corpus.add(*answers("o-5", share, 100, seed))
    found = corpus.found()
    named = [one for one in found if one.carries()]
    assert [(one.serving.scope.tenant, one.serving.scheme) for one in named] == [("o-5", "vllm_gumbel")]
    (one,) = named
    assert one.rank == 1 and one.drawn == 200 and one.exact and one.mean is not None and one.mean > 1.2
    assert len(found) == 10 and corpus.documents == 200 and corpus.tokens == 200 * 20
    assert one.log_p is not None and one.log_p_adjusted == pytest.approx(one.log_p + math.log(10))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_read_in_pieces_is_read_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "LISTS_TOGETHER", 2_500)
    rng = np.random.default_rng(5)
    tokens = rng.zipf(1.3, 6_000).clip(1, 255)
    ends = np.append(np.sort(rng.choice(np.arange(30, 5_990), 60, replace=False)), tokens.size)
    at_once, in_pieces = (Corpus(tried(serving(scheme, "o-1"), serving(scheme, "o-2")), MASTER) for _ in "ab")
    at_once.add(tokens, ends)
    for part in pieces(tokens, ends, (1, 2, 30, 59)):
        in_pieces.add(*part)
    in_pieces.add(*pieces(tokens, ends, (20,))[0])  # what was read already adds nothing
    for one, other in zip(at_once.found(), in_pieces.found(), strict=True):
        assert one.pairs == other.pairs > 20 and one.rank == other.rank
        assert one.mean == pytest.approx(other.mean) and one.log_p == pytest.approx(other.log_p, abs=1e-6)


def test_without_a_mark_nobody_is_named_more_often_than_promised() -> None:
    named = 0
    for seed in range(60):
        corpus = Corpus(tried(*(serving("vllm_gumbel", f"o-{seed}-{i}") for i in range(5))), MASTER, decoys=0)
        corpus.add(*answers("nobody", 0.0, 60, 100 + seed))
        named += any(one.carries(0.2) for one in corpus.found())
    assert named <= 22  # a binomial of 60 at .2 lies above with probability .001


def test_real_text_that_was_never_marked_carries_none() -> None:
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        pytest.skip("STILLWATCH_DATA is not set: no real text")
    import pyarrow.parquet as pq

    rows = pq.read_table(Path(folder) / "text/human_vs_model_pairs.parquet")["text"].to_pylist()[:600]
    words: dict[str, int] = {}
    ids = [np.array([words.setdefault(w, len(words)) for w in row.split()], np.int64) for row in rows]
    size = len(words)
    servings = [
        serving(s, f"o-{i}") for s in ("vllm_gumbel", "synthid_table", "markllm_exp") for i in range(20)
    ]
    known = [replace(s, parameters={"vocab_size": size} if s.scheme in VOCABULARY else {}) for s in servings]
    corpus = Corpus(tried(*known), MASTER)
    corpus.add(np.concatenate(ids), np.cumsum([len(one) for one in ids]))
    found = corpus.found()
    assert corpus.tokens > 20_000 and all(one.exact and one.pairs > 1_000 for one in found)
    assert not any(one.carries() for one in found)


def test_where_drawn_keys_score_too_high_the_rank_is_the_p() -> None:
    ways = Corpus(tried(serving("vllm_gumbel", "o-1")), MASTER)
    ways.add(*answers("nobody", 0.0, 60))
    (way,) = ways._ways
    assert way.sum is not None
    way.sum = replace(way.sum, statistic=way.sum.statistic + 0.2 * way.sum.scored)
    (one,) = ways.found()
    assert not one.exact and one.rank is not None and one.log_p == pytest.approx(math.log(one.rank / 201))
    assert not one.carries()


def test_too_little_text_is_said_and_is_no_error() -> None:
    corpus = Corpus(tried(serving("vllm_gumbel", "o-1")), MASTER)
    assert corpus.found()[0].pairs == 0
    corpus.add(np.zeros(0, np.int64), np.array([0]))
    corpus.add(np.arange(1, 11), np.array([10]))
    (one,) = corpus.found()
    assert (one.pairs, one.need, one.log_p, one.carries()) == (10, 20, None, False)
    assert detecting.detectable(one, 1) is None and corpus.best(np.arange(5)) == (None, 0)


@pytest.mark.parametrize("scheme", ["vllm_gumbel", "synthid_table", "vllm_sbw"])
def test_the_best_key_of_a_document_is_the_one_with_the_smallest_p(scheme: str) -> None:
    corpus = Corpus(tried(*(serving(scheme, f"o-{i}") for i in range(7))), MASTER, decoys=0)
    tokens = np.random.default_rng(2).integers(1, 256, 300)
    best, keys = corpus.best(tokens)
    corpus.add(tokens, np.array([tokens.size]))
    wanted = min(corpus.found(), key=lambda one: one.log_p or 0.0)
    assert keys == 7 and best is not None and best.log_p == pytest.approx(wanted.log_p)
    assert best.serving.fingerprint == wanted.serving.fingerprint


def test_power_is_as_said() -> None:
    """At the strength that `detectable` says, about nine corpora of ten are named."""
    corpus = Corpus(tried(serving("transformers_red_green", "o-1")), MASTER, decoys=0)
    corpus.add(*answers("nobody", 0.0, 100))
    (one,) = corpus.found()
    least = detecting.detectable(one, 4)
    assert least is not None and detecting.pairs_needed(one, least, 4) == pytest.approx(one.pairs, abs=2)
    from scipy.stats import binom

    gamma, n = one.chance, one.pairs
    line = binom.isf(0.01 / 4, n, gamma)
    assert 0.87 < binom.sf(line, n, gamma + least) < 0.93
    assert detecting.pairs_needed(one, 0.0, 4) is None


def test_memory_grows_with_distinct_pairs_and_not_with_text() -> None:
    corpus = Corpus(tried(serving("vllm_gumbel", "o-1")), MASTER)
    documents = answers("o-1", 0.5, 2_000)
    corpus.add(*documents)
    before = corpus.memory
    tracemalloc.start()
    for _ in range(10):
        corpus.add(*documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert corpus.memory == before and corpus.tokens == 11 * 40_000
    assert peak < 20e6


def test_a_full_tape_leaves_out_and_says_how_many() -> None:
    corpus = Corpus(
        tried(serving("vllm_gumbel", "o-1"), serving("synthid_hash", "o-1")), MASTER, decoys=0, limit=200
    )
    corpus.add(*answers("o-1", 0.5, 50))
    assert all(one.pairs == 100 for one in corpus.found()) and corpus.dropped > 500


def test_keys_that_cannot_be_read_are_named_with_the_reason() -> None:
    other = Master(bytes(32))
    strange = replace(serving("vllm_gumbel", "o-1"), master=other.fingerprint)
    gpu = serving("transformers_red_green", "o-1", device="cuda")
    bare = replace(serving("transformers_red_green", "o-2"), parameters={"delta": 2.0})
    fine = serving("vllm_gumbel", "o-2", device="cuda")
    found, unread = candidates([strange, gpu, bare, fine, fine], MASTER)
    assert [one.serving for one in found] == [fine]
    assert [u.why.split()[0] for u in unread] == ["comes", "marked", "the"]
    found, _ = candidates([bare], MASTER, parameters={"vocab_size": 256})
    assert found[0].parameters == {"vocab_size": 256}
    found, _ = candidates([serving("markllm_kgw", "o-1")], MASTER, parameters={"vocab_size": 9, "gamma": 0.3})
    assert found[0].parameters == {"vocab_size": 256, "gamma": 0.3}
    found, _ = candidates([fine], MASTER, cut_outs=True)
    assert found[0].parameters == {"from_start": False}
    with pytest.raises(InputError, match="no key of the register begins with 'zz'"):
        candidates([fine], MASTER, fingerprints=["zz"])
    with pytest.raises(InputError, match="the register has no key of synthid_hash"):
        candidates([fine], MASTER, schemes=["synthid_hash"])
    with pytest.raises(InputError, match="at least 200"):
        Corpus(found, MASTER, decoys=50)


def test_no_key_is_in_what_is_printed() -> None:
    found = tried(serving("vllm_gumbel", "o-1"))
    assert str(found[0].key.reveal()[0]) not in repr(found)
