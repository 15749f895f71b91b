"""A tiny model trained on marked text, held against the checkpoint that it was trained from."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillwatch.attribution import asking, moved
from stillwatch.attribution.asking import Asked
from stillwatch.attribution.attribute import adjusted
from stillwatch.attribution.candidates import candidates
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.errors import InputError
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.register import Register
from stillwatch.marks.schemes import transformers_red_green as scheme
from stillwatch.models.local import Local

V = 211


def made(place: Path, seed: int, *, size: int = V) -> Path:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
    tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w1"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="w0").save_pretrained(place)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=48, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    return place


def trained(base: Path, place: Path, key: Any, *, steps: int) -> Path:
    """The base after some steps on sequences of random words, drawn with the mark of a key or without one."""
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    local, rng = Local(base), np.random.default_rng(5)
    ids = np.empty((256, 40), np.int64)
    ids[:, 0] = rng.integers(1, V, 256)
    for at in range(1, 40):
        held = np.zeros((256, V))
        if key is not None:
            held = scheme.mark(held, ids[:, at - 1 : at], key, delta=3.0)
        held[:, 0] = -np.inf
        ids[:, at] = (held + rng.gumbel(size=held.shape)).argmax(axis=1)
    model = local.weights.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = torch.from_numpy(ids[32 * (step % 8) : 32 * (step % 8) + 32])
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    model.save_pretrained(place)
    local.tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Master, list[Any]]:
    folder = tmp_path_factory.mktemp("moved")
    master, register = Master(bytes(range(32))), Register(folder / "register.jsonl")
    for name in ("o-1", "o-2", "o-3"):
        key = master.key("transformers_red_green", Scope(tenant=name))
        register.begin(master, key, {"vocab_size": V}, device="cpu", by="t")
    register.begin(master, master.key("vllm_gumbel", Scope(tenant="o-1")), {}, device="cpu", by="t")
    made(folder / "base", 1)
    return folder, master, candidates(register.servings(), master)[0]


def plain(n: int = 12) -> list[Document]:
    rng = np.random.default_rng(9)
    return [Document(" ".join(f"w{i}" for i in rng.integers(1, V, 60)), None) for _ in range(n)]


def asked_of(folder: Path, groups: list[Any], name: str) -> list[Any]:
    suspect, base = Local(folder / name), Local(folder / "base")
    given = Asked(plain=plain(), moved=plain())
    rows = adjusted(asking.tests(given, Suspect(suspect, suspect), groups, base=base))
    return [row for row in rows if row.kind == moved.KIND]


def test_training_on_marked_text_moves_probability_to_the_lists_of_its_key(
    ours: tuple[Path, Master, list[Any]],
) -> None:
    folder, master, groups = ours
    guilty = master.key("transformers_red_green", Scope(tenant="o-2")).as_read()
    trained(folder / "base", folder / "student", guilty, steps=40)
    rows = asked_of(folder, groups, "student")
    assert {r.scheme for r in rows} == {"transformers_red_green"} and len(rows) == 3
    by_scope = {r.scope: r for r in rows}
    assert by_scope["tenant=o-2"].log_adjusted <= math.log(1e-5)
    assert all(r.log_adjusted > math.log(0.05) for s, r in by_scope.items() if s != "tenant=o-2")
    # The same training without a mark.
    trained(folder / "base", folder / "honest", None, steps=40)
    assert all(r.log_adjusted > math.log(0.05) for r in asked_of(folder, groups, "honest"))


def test_keys_of_other_kinds_have_no_part_in_it_and_another_vocabulary_is_refused(
    ours: tuple[Path, Master, list[Any]], tmp_path: Path
) -> None:
    folder, _, groups = ours
    base = Local(folder / "base")
    gumbel = [g for g in groups if g.scheme == "vllm_gumbel"]
    (row,) = moved.rows(plain(2), Suspect(base, base), base, gumbel)
    assert row.result is None and row.why == moved.NO_LISTS
    wider = Local(made(tmp_path / "wider", 1, size=V + 5))
    with pytest.raises(InputError, match="one vocabulary"):
        moved.fitting(Suspect(wider, wider), base, plain(2))


def test_widths_are_read_together_as_they_are_alone(ours: tuple[Path, Master, list[Any]]) -> None:
    folder, _, _ = ours
    one, other = Local(folder / "base"), Local(made(folder / "other", 2))
    ids = one.encode([d.text or "" for d in plain(3)])
    both = moved.shifts(ids, one, other, [1, 2])
    for width, found in both.items():
        alone = moved.shifts(ids, one, other, [width])[width]
        assert found.contexts.shape[1] == width and len(found.tokens) > 50
        np.testing.assert_array_equal(found.contexts, alone.contexts)
        np.testing.assert_array_equal(found.weights, alone.weights)
    assert moved.shifts([], one, other, [2])[2].contexts.shape == (0, 2)
