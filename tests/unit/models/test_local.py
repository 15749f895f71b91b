"""A small model of random weights on this machine: read, sampled, marked, and held against transformers itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")

from stillwatch.errors import InputError  # noqa: E402
from stillwatch.models import _branches, _forced  # noqa: E402
from stillwatch.models.local import Local  # noqa: E402
from stillwatch.models.protocol import Model  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz ."))
    words = {"<end>": 0, **{c: i + 1 for i, c in enumerate(letters)}}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<end>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    raw.decoder = tokenizers.decoders.Fuse()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>").save_pretrained(place)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)  # sharp enough that tokens differ
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def local(folder: Path) -> Local:
    return Local(folder, name="small", batch=3)


def test_it_is_a_model(local: Local) -> None:
    assert isinstance(local, Model)
    assert (local.name, local.vocabulary) == ("small", 29)
    assert local.decode(local.encode(["some words."])) == ["some words."]


def test_reading_is_what_transformers_computes(local: Local, folder: Path) -> None:
    documents = local.encode(["the first one.", "a", "another that is longer than the others", "four"])
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    for document, logs, read in zip(
        documents, local.distributions(documents), local.forced(documents), strict=True
    ):
        with torch.inference_mode():
            logits = plain(torch.from_numpy(document)[None]).logits[0, :-1]
        wanted = torch.log_softmax(logits, -1).numpy()
        np.testing.assert_allclose(logs, wanted, atol=2e-5)
        assert np.isnan(read.log_probability[0]) and read.best[0] == -1
        np.testing.assert_allclose(
            read.log_probability[1:], wanted[np.arange(len(wanted)), document[1:]], atol=2e-5
        )
        np.testing.assert_array_equal(read.best[1:], wanted.argmax(1))


def test_what_follows_many_contexts_is_what_follows_each(
    local: Local, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    trunk = rng.integers(1, 29, 30)
    contexts = [trunk[:n] for n in range(1, 31)]
    contexts += [np.append(trunk[:n], rng.integers(1, 29, m)) for n in range(0, 28, 3) for m in (1, 2)]
    alone = _forced.following(local, contexts)
    np.testing.assert_array_equal(local.following(contexts), alone)
    assert local._branches and len(np.unique(alone)) > 5
    rows = [row for _, row in _branches.rows(contexts, longest=40)]
    assert len(rows) > 1 and max(len(row.ids) for row in rows) <= 40
    whole = [places for places, _ in _branches.rows([trunk[:n] for n in range(1, 31)], longest=8)]
    assert whole == [list(range(30))]  # what costs nothing needs no row of its own
    monkeypatch.setattr(_branches, "LONGEST", 40)
    np.testing.assert_array_equal(local.following(contexts), alone)
    assert len(local.following([])) == 0
    with pytest.raises(InputError, match="one id at least"):
        local.following([np.empty(0, np.int64)])


@pytest.mark.parametrize("how", ["looks back on all", "wants a mask of two dimensions"])
def test_a_model_that_cannot_branch_is_asked_one_by_one(folder: Path, how: str) -> None:
    local = Local(folder)
    causal = local._model.forward

    def forward(attention_mask: object = None, **given: object) -> object:
        if attention_mask is not None and how.startswith("wants"):
            _, _ = attention_mask.shape  # type: ignore[attr-defined]
        return causal(**given)

    local._model.forward = forward
    contexts = [np.array(c) for c in ([1, 2, 3, 4], [1, 2, 9], [1, 5], [1, 2])]
    alone = _forced.following(local, contexts)
    np.testing.assert_array_equal(local.following(contexts), alone)
    assert local._branches is False


def test_an_answer_is_scored_after_its_prompt_and_without_it(local: Local) -> None:
    (scored,) = local.score([("a prompt ", "its answer.")])
    whole = np.concatenate([local.prompted("a prompt "), local.encode(["its answer."])[0]])
    (read,) = local.forced([whole])
    assert len(scored.tokens) == len("its answer.") and scored.asked.all()
    assert scored.total == pytest.approx(read.log_probability[-len(scored.tokens) :].sum(), abs=1e-4)
    (late,) = local.forced([whole], starts=[4])
    assert late.asked.sum() == len(whole) - 4
    with pytest.raises(InputError, match="starts"):
        local.forced([whole], starts=[0])


def test_the_same_seed_gives_the_same_answers_in_their_places(local: Local) -> None:
    prompts = ["a rather long prompt to begin with", "b", "some words"]
    first = local.complete(prompts, max_tokens=12, samples=2, seed=3)
    assert first == local.complete(prompts, max_tokens=12, samples=2, seed=3)
    assert first != local.complete(prompts, max_tokens=12, samples=2, seed=4)
    assert [len(answers) for answers in first] == [2, 2, 2]
    assert all(a.finish_reason in ("stop", "length") and len(a.tokens) <= 12 for row in first for a in row)
    cold = local.complete(prompts, max_tokens=6, temperature=0.0)
    for prompt, (answer,) in zip(prompts, cold, strict=True):
        (read,) = local.forced([np.concatenate([local.prompted(prompt), np.array(answer.tokens, np.int64)])])
        np.testing.assert_array_equal(read.best[-len(answer.tokens) :], answer.tokens)


def test_a_mark_sees_every_token_and_the_context_without_padding(folder: Path) -> None:
    seen: list[list[int]] = []

    def only_even(logits: np.ndarray, context: np.ndarray) -> np.ndarray:
        seen.append(context.tolist())
        return np.where(np.arange(len(logits)) % 2 == 0, logits, -np.inf).astype(np.float32)

    marked = Local(folder, mark=only_even, batch=2)
    answers = marked.complete(["long prompt here", "b"], max_tokens=10, seed=1)
    tokens = [t for (a,) in answers for t in a.tokens]
    assert tokens and all(t % 2 == 0 for t in tokens)
    assert (
        seen[0] == marked.prompted("b").tolist() and seen[1] == marked.prompted("long prompt here").tolist()
    )


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a GGUF file nor a folder"):
        Local(tmp_path)
    with pytest.raises(InputError, match="neither"):
        Local("some/name-on-a-hub")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a model"):
        Local(tmp_path)
