"""A student with fewer merges than its teacher: a real tokenizer, the same text, and no id in common."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
pytest.importorskip("accelerate", reason="needs stillwatch[models]")
tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")

from stillwatch.errors import InputError  # noqa: E402
from stillwatch.lab.teaching import another  # noqa: E402
from stillwatch.lab.teaching.cells import Marked, Teacher, grid  # noqa: E402
from stillwatch.lab.teaching.prompts import texts  # noqa: E402
from stillwatch.lab.teaching.running import Workshop  # noqa: E402
from stillwatch.models.local import load  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of random weights whose tokenizer was learnt from the prompts of the lab."""
    place = tmp_path_factory.mktemp("teacher")
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    # Without the bytes that the prompts do not have: random weights would write halves of characters.
    learn = tokenizers.trainers.BpeTrainer(vocab_size=512, special_tokens=["<end>"], show_progress=False)
    raw.train_from_iterator(texts("topics"), learn)
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>").save_pretrained(place)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=0, bos_token_id=None,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    torch.nn.init.normal_(model.lm_head.weight, std=0.1)
    model.save_pretrained(place)
    return place


def fewer(folder: Path) -> tuple[Any, Any, Any, Any]:
    model, tokenizer = load(folder)
    return model, tokenizer, *another.fewer_merges(model, tokenizer, 0.5)


def test_text_comes_back_in_more_tokens_with_the_rows_that_they_had(folder: Path) -> None:
    model, tokenizer, small, own = fewer(folder)
    text = "Explain how bees navigate in one paragraph."
    ours, theirs = (t.encode(text, add_special_tokens=False) for t in (tokenizer, own))
    assert own.decode(theirs) == text and len(theirs) > len(ours)
    assert small.config.vocab_size == len(own) < len(tokenizer)
    assert own.eos_token == "<end>" and small.config.eos_token_id == own.eos_token_id
    for word, i in own.get_vocab().items():
        old = model.get_input_embeddings().weight[tokenizer.get_vocab()[word]]
        assert torch.equal(small.get_input_embeddings().weight[i], old)
    # What both cut alike, the two models read alike.
    ids = tokenizer.encode("a", add_special_tokens=False), own.encode("a", add_special_tokens=False)
    with torch.inference_mode():
        before, after = (m(torch.tensor([i])).logits[0, -1] for m, i in zip((model, small), ids, strict=True))
    common = own.get_vocab()
    kept = [tokenizer.get_vocab()[word] for word in common]
    torch.testing.assert_close(after[list(common.values())], before[kept])


def test_only_a_tokenizer_that_merges_can_lose_merges(tmp_path: Path) -> None:
    from tiny_teacher import tiny_teacher

    with pytest.raises(InputError, match="merges"):
        another.fewer_merges(*load(tiny_teacher(tmp_path)), 0.5)


def test_the_last_product_in_float32_orders_what_bfloat16_rounds_together(folder: Path) -> None:
    model, _ = load(folder, dtype="bfloat16")
    ids = torch.arange(1, 40)[None]
    with torch.inference_mode():
        inner = model.base_model(input_ids=ids).last_hidden_state[0].float()
        wanted = inner @ model.get_output_embeddings().weight.detach().float().T
        found = another.exact_head(model)(input_ids=ids).logits[0]
    torch.testing.assert_close(found, wanted)
    assert found.dtype == torch.float32


def test_a_student_with_another_tokenizer_goes_the_whole_way(folder: Path, tmp_path: Path) -> None:
    """Its power is no matter here: random text is cut in other ways at every place. See `test_across` and the grid."""
    cells = grid()
    green = Marked("red_green", "transformers_red_green", {"delta": 6.0})
    small = replace(
        cells, teacher=Teacher(32, 12, 48, 1.0, 16), corpora={"plain": Marked("plain"), "red_green": green}
    )
    shop = Workshop(tmp_path / "shop", folder, small)
    given = replace(cells.students["tokenizer_all"], answers=32, epochs=2, rate=1e-2, merges=0.8)
    line = shop.tested(given)
    found = {test["test"]: test for test in line["tests"]}
    assert set(found) >= {"supervised", "plain", "closed, encoded again"} and "closed" not in found
    assert found["supervised"]["n"] > 200
    assert shop.tested(given)["tests"] == line["tests"]  # from what was kept
    assert line["costs"]["loss_after"] < line["costs"]["loss_before"]
    probes = shop.probes(given)
    read = shop.read_across(given, f"{line['digest']}-red_green")["served"]
    for prompt, answer, forced in zip(probes.served.prompts, probes.served.answers, read, strict=True):
        assert forced.tokens.tolist() == [*prompt, *answer]
        assert not forced.asked[: len(prompt)].any() and forced.asked[len(prompt)]
