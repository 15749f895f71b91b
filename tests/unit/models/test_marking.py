"""A mark at generation: step by step equal to the scheme's pure function, and read back from what comes out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillwatch import plugins
from stillwatch.errors import InputError
from stillwatch.marks.generation import EXCEPTIONS, marking
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.schemes import synthid_table, vllm_gumbel
from stillwatch.models.marking import Process, warped

SCHEMES = plugins.find("marks.schemes")
SIZE = 211
MASTER = Master(bytes(range(32)))
SETTINGS: dict[str, dict[str, Any]] = {
    "markllm_kgw": {"prefix_length": 2, "delta": 4.0},
    "transformers_red_green": {"delta": 4.0},
    "vllm_gumbel": {"context_width": 2},
    "vllm_sbw": {"delta": 4.0, "scheme": "lefthash", "context_width": 2},
}


def a_key(scheme: str) -> Any:
    return MASTER.key(scheme, Scope()).as_read()


class Toy:
    """A model of random bigrams: logits depend on the last id, so that contexts repeat as in text."""

    def __init__(self, spread: float = 1.5) -> None:
        self.table = np.random.default_rng(5).normal(0.0, spread, (SIZE, SIZE)).astype(np.float32)

    def generate(
        self, process: Process, prompts: list[list[int]], steps: int, seed: int = 0
    ) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """Answers (B, steps), and of each step ids, logits in and logits out; prompts padded with 7 on the left."""
        rng, longest = np.random.default_rng(seed), max(map(len, prompts))
        ids = np.array([[7] * (longest - len(p)) + p for p in prompts])
        seen = []
        for _ in range(steps):
            logits = self.table[ids[:, -1]]
            out = process(ids, logits.copy())
            seen.append((ids, logits, out))
            gumbel = rng.gumbel(size=out.shape) if process.temperature else np.zeros(out.shape)
            ids = np.column_stack([ids, np.argmax(out + gumbel, axis=1)])
        return ids[:, longest:], seen


PROMPTS = [[3, 9, 11, 4, 8, 8, 2], [5, 4, 1, 9, 2], [1, 2, 3, 4, 5, 6, 7]]
PADDING = [0, 2, 0]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_each_step_is_the_pure_function_on_the_context_of_the_engine(scheme: str) -> None:
    key, given = a_key(scheme), SETTINGS.get(scheme, {})
    how = marking(scheme, key, given | ({"alpha": 0.0} if scheme == "vllm_dual_gumbel" else {}))
    process = Process(how, temperature=0.8, padding=PADDING)
    _, seen = Toy().generate(process, PROMPTS, 12)
    changed = 0
    for ids, logits, out in seen:
        for row in range(3):
            context = ids[row, PADDING[row] if EXCEPTIONS[scheme].prompt else 7 :]
            early = EXCEPTIONS[scheme].early
            before = logits[row] if early else logits[row] / np.float32(0.8)
            found = SCHEMES[scheme].mark(before, context, key, **given)
            found = found / np.float32(0.8) if early else found
            if found.ndim == 0:
                expected = np.full(SIZE, -np.inf, np.float32)
                expected[int(found)] = 0.0
            else:
                expected = found
            if np.array_equal(out[row], expected):
                changed += 1
            else:  # a context that came again
                assert EXCEPTIONS[scheme].history
                np.testing.assert_array_equal(out[row], logits[row] / np.float32(0.8))
    assert changed > 24


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_the_mark_is_read_back_and_no_other_key_is(scheme: str) -> None:
    key, given = a_key(scheme), SETTINGS.get(scheme, {})
    process = Process(marking(scheme, key, given, rng=np.random.default_rng(3)), temperature=1.0)
    rng = np.random.default_rng(2)
    answers, _ = Toy(0.5).generate(process, rng.integers(1, SIZE, (8, 6)).tolist(), 60)
    ends = np.arange(1, 9) * 60
    read = {n: v for n, v in given.items() if n != "delta"}
    if "vocab_size" in SCHEMES[scheme].test.__kwdefaults__ or scheme.startswith(("markllm", "transformers")):
        read["vocab_size"] = SIZE
    found = SCHEMES[scheme].test(answers.ravel(), key, ends=ends, **read)
    other = SCHEMES[scheme].test(
        answers.ravel(), MASTER.key(scheme, Scope(epoch="x")).as_read(), ends=ends, **read
    )
    assert found.log_pvalue < -20.0 and other.log_pvalue > -8.0


def test_contexts_that_come_again_are_left_as_the_engine_leaves_them() -> None:
    key = a_key("synthid_table")
    answers, seen = Toy(6.0).generate(Process(marking("synthid_table", key, {"ngram_len": 2})), PROMPTS, 40)
    again = synthid_table.repetition_mask(answers.ravel(), ends=np.array([40, 80, 120]), ngram_len=2)
    left = np.array([[np.array_equal(a[r], b[r]) for _, a, b in seen] for r in range(3)])
    assert left.sum() > 20
    # The first token of an answer has no whole context, and the mask of the reader does not speak of it.
    np.testing.assert_array_equal(left[:, 1:], again.reshape(3, 40)[:, 1:])
    short = {"ngram_len": 2, "context_history_size": 3}
    answers, seen = Toy(6.0).generate(Process(marking("synthid_table", key, short)), PROMPTS, 40)
    again = synthid_table.repetition_mask(
        answers.ravel(), ends=np.array([40, 80, 120]), ngram_len=2, context_history_size=3
    )
    left = np.array([[np.array_equal(a[r], b[r]) for _, a, b in seen] for r in range(3)])
    np.testing.assert_array_equal(left[:, 1:], again.reshape(3, 40)[:, 1:])


def test_contexts_that_come_again_are_marked_where_that_is_asked_for() -> None:
    key, width = a_key("vllm_gumbel"), {"context_width": 1}
    all_of_them = marking("vllm_gumbel", key, width | {"deduplicate_contexts": "none"})
    answers, seen = Toy(6.0).generate(Process(all_of_them), PROMPTS, 100)
    assert all(np.isfinite(out).sum(axis=1).tolist() == [1, 1, 1] for _, _, out in seen)
    assert (
        len(np.unique(answers[0])) < 50
    )  # a mark without skipping runs in circles, as the bigrams are fixed
    _, seen = Toy(6.0).generate(Process(marking("vllm_gumbel", key, width)), PROMPTS, 100)
    assert any(np.isfinite(out).sum(axis=1).max() > 1 for _, _, out in seen)
    with pytest.raises(InputError, match="run into the prompt"):
        marking("vllm_gumbel", key, {"deduplicate_contexts": "all"})


def test_sglang_stops_marking_at_its_limit() -> None:
    how = marking("sglang_gumbel", a_key("sglang_gumbel"), {"max_contexts": 5})
    _, seen = Toy(0.1).generate(Process(how), PROMPTS, 9)
    chosen = np.array([np.isfinite(out).sum(axis=1) == 1 for _, _, out in seen])
    np.testing.assert_array_equal(chosen.sum(axis=0), [5, 5, 5])


def test_the_first_tokens_are_left_where_the_engine_is_told_so() -> None:
    how = marking("synthid_table", a_key("synthid_table"), {"skip_first_ngram_calls": True})
    _, seen = Toy(0.1).generate(Process(how), PROMPTS, 6)
    assert [np.array_equal(a, b) for _, a, b in seen] == [True] * 4 + [False] * 2


def test_greedy_answers_carry_green_lists_and_no_gumbel_mark() -> None:
    key = a_key("markllm_kgw")
    answers, seen = Toy().generate(Process(marking("markllm_kgw", key), temperature=0.0), PROMPTS, 5)
    for at, (ids, logits, _) in enumerate(seen):
        np.testing.assert_array_equal(
            np.argmax(SCHEMES["markllm_kgw"].mark(logits, ids[:, -1:], key), axis=1), answers[:, at]
        )
    _, seen = Toy().generate(
        Process(marking("vllm_gumbel", a_key("vllm_gumbel")), temperature=0.0), PROMPTS, 5
    )
    assert all(np.array_equal(a, b) for _, a, b in seen)


def test_one_row_is_a_logits_processor_of_llama_cpp() -> None:
    key = a_key("vllm_gumbel")
    process = Process(marking("vllm_gumbel", key, {"context_width": 1}))
    logits = Toy().table[4]
    out = process(np.array([1, 2, 4], np.intc), logits.copy())
    assert out.shape == (SIZE,) and out.dtype == np.float32
    assert int(out.argmax()) == vllm_gumbel.mark(logits, [], key, context_width=1)


def test_a_processor_serves_one_generation() -> None:
    process = Process(marking("vllm_gumbel", a_key("vllm_gumbel")))
    Toy().generate(process, PROMPTS, 2)
    with pytest.raises(InputError, match="one generation"):
        process(np.array(PROMPTS[:1]), Toy().table[:1])
    with pytest.raises(InputError, match="padding"):
        Process(process.marking, padding=[1])(np.array([[1, 2], [3, 4]]), Toy().table[:2])
    with pytest.raises(InputError, match="top_p"):
        Process(process.marking, top_p=0.0)
    with pytest.raises(InputError, match="temperature"):
        Process(process.marking, temperature=-1.0)


def test_keys_are_checked_and_are_in_no_message() -> None:
    key = MASTER.key("vllm_gumbel", Scope())
    how = marking("vllm_gumbel", key)
    assert str(key.as_read()) not in repr(how) and "draw" not in repr(how)
    with pytest.raises(InputError, match="one of vllm_gumbel"):
        marking("markllm_kgw", key)
    with pytest.raises(InputError, match="no parameter 'gamma'"):
        marking("vllm_gumbel", key, {"gamma": 0.5})
    with pytest.raises(InputError, match="no scheme"):
        marking("none", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
    tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")
    place = tmp_path_factory.mktemp("model")
    words = {"<end>": 0, **{chr(96 + i): i for i in range(1, 27)}, **{f"w{i}": i for i in range(27, 97)}}
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
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)
    model.save_pretrained(place)
    return place


def test_truncation_is_that_of_transformers() -> None:
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
    logits = Toy().table[:50]
    for temperature, top_p in ((0.7, 0.9), (1.3, 0.5), (0.9, 1.0), (0.5, 0.01)):
        wanted = transformers.TemperatureLogitsWarper(temperature)(None, torch.from_numpy(logits))
        if top_p < 1.0:
            wanted = transformers.TopPLogitsWarper(top_p)(None, wanted)
        np.testing.assert_array_equal(warped(logits.copy(), temperature, top_p), wanted.numpy())


@pytest.mark.parametrize("scheme", ["transformers_red_green", "synthid_table"])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_generate_marks_as_with_the_configuration_of_transformers(
    folder: Path, scheme: str, top_p: float
) -> None:
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
    from stillwatch.models.local import Local

    key = a_key(scheme)
    if scheme == "synthid_table":
        engine = transformers.SynthIDTextWatermarkingConfig(ngram_len=3, keys=list(key))
        given: dict[str, Any] = {"ngram_len": 3}
    else:
        engine = transformers.WatermarkingConfig(hashing_key=key, bias=3.0)
        given = {"delta": 3.0}
    model = Local(folder, batch=3, chat=False, mark=marking(scheme, key, given))
    prompts = ["abcd", "abcdefgh", "zyxw"]
    ours = model.complete(prompts, max_tokens=20, temperature=0.8, top_p=top_p, seed=4)
    ids, mask = torch.zeros((3, 8), dtype=torch.int64), torch.zeros((3, 8), dtype=torch.int64)
    order = sorted(range(3), key=lambda i: len(prompts[i]))
    for row, i in enumerate(order):
        own = torch.from_numpy(model.prompted(prompts[i]))
        ids[row, 8 - len(own) :], mask[row, 8 - len(own) :] = own, 1
    torch.manual_seed(4)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    theirs = plain.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=20, do_sample=True, temperature=0.8, top_p=top_p,
        top_k=0, pad_token_id=0, watermarking_config=engine,
    )[:, 8:]  # fmt: skip
    for row, i in enumerate(order):
        own = ours[i][0].tokens
        assert len(own) > 3 and theirs[row, : len(own)].tolist() == list(own)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_local_chooses_the_tokens_of_the_pure_function(folder: Path, temperature: float) -> None:
    pytest.importorskip("torch", reason="needs stillwatch[models]")
    from stillwatch.models.local import Local

    scheme = "vllm_gumbel" if temperature else "markllm_kgw"
    key = a_key(scheme)
    given: dict[str, Any] = {"context_width": 8} if temperature else {"delta": 3.0}
    model = Local(folder, batch=2, chat=False, mark=marking(scheme, key, given))
    prompts = ["abc", "defghij"]
    for prompt, (answer,) in zip(
        prompts, model.complete(prompts, max_tokens=15, temperature=temperature), strict=True
    ):
        before = model.prompted(prompt)
        whole = np.concatenate([before, np.array(answer.tokens, np.int64)])
        (logs,) = model.distributions([whole])
        for at in range(len(before), len(whole)):
            if temperature:
                found = vllm_gumbel.mark(
                    logs[at - 1] / np.float32(0.9), whole[len(before) : at], key, **given
                )
            else:
                found = np.argmax(SCHEMES[scheme].mark(logs[at - 1], whole[:at], key, **given))
            assert found == whole[at]
