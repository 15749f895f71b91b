"""A tiny GGUF file of random weights, run by llama.cpp: read, sampled, marked, and the marks read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

llama_cpp = pytest.importorskip("llama_cpp", reason="needs stillwatch[llama-cpp]")
gguf = pytest.importorskip("gguf", reason="needs stillwatch[models]")

from stillwatch.errors import InputError  # noqa: E402
from stillwatch.marks.generation import marking  # noqa: E402
from stillwatch.marks.keys import Master, Scope  # noqa: E402
from stillwatch.marks.schemes import markllm_kgw, synthid_table, vllm_gumbel  # noqa: E402
from stillwatch.models.llama_cpp import LlamaCpp  # noqa: E402
from stillwatch.models.marking import Process  # noqa: E402
from stillwatch.models.protocol import Model  # noqa: E402

LETTERS = [chr(97 + i) for i in range(26)] + ["▁"]
SIZE = 3 + 256 + len(LETTERS)
WIDTH, INNER, HEADS, GROUPS, LAYERS = 32, 64, 4, 2, 2
MASTER = Master(bytes(range(32)))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    rng = np.random.default_rng(1)
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(256)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(GROUPS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_vocab_size(SIZE)
    out.add_tokenizer_model("llama")
    out.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *LETTERS])
    out.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(LETTERS))])
    out.add_token_types([2, 3, 3, *[6] * 256, *[1] * len(LETTERS)])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)

    def drawn(name: str, *shape: int, spread: float = 0.2) -> None:
        out.add_tensor(name, rng.normal(0.0, spread, shape).astype(np.float32))

    drawn("token_embd.weight", SIZE, WIDTH, spread=1.0)
    drawn("output.weight", SIZE, WIDTH, spread=0.3)
    out.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        head = WIDTH // HEADS
        drawn(f"blk.{layer}.attn_q.weight", WIDTH, WIDTH)
        drawn(f"blk.{layer}.attn_k.weight", GROUPS * head, WIDTH)
        drawn(f"blk.{layer}.attn_v.weight", GROUPS * head, WIDTH)
        drawn(f"blk.{layer}.attn_output.weight", WIDTH, WIDTH)
        drawn(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH)
        drawn(f"blk.{layer}.ffn_up.weight", INNER, WIDTH)
        drawn(f"blk.{layer}.ffn_down.weight", WIDTH, INNER)
        out.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(WIDTH, np.float32))
        out.add_tensor(f"blk.{layer}.ffn_norm.weight", np.ones(WIDTH, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


@pytest.fixture(scope="module")
def plain(file: Path) -> LlamaCpp:
    return LlamaCpp(file, name="tiny", context=128, threads=1)


def test_it_is_a_model(plain: LlamaCpp) -> None:
    assert isinstance(plain, Model)
    assert (plain.name, plain.vocabulary) == ("tiny", SIZE)
    assert plain.decode(plain.encode(["some words"])) == ["some words"]
    assert plain.prompted("ab").tolist() == [1, 259, 260]


def test_the_same_seed_gives_the_same_answers_whatever_was_asked_before(plain: LlamaCpp) -> None:
    first = plain.complete(["abc", "abd"], max_tokens=12, samples=2, seed=3)
    plain.complete(["abd"], max_tokens=3)
    assert first == plain.complete(["abc", "abd"], max_tokens=12, samples=2, seed=3)
    assert first != plain.complete(["abc", "abd"], max_tokens=12, samples=2, seed=4)
    assert first[0][0] != first[0][1]
    assert all(len(a.tokens) <= 12 and a.finish_reason in ("stop", "length") for row in first for a in row)
    with pytest.raises(InputError, match="context of"):
        plain.complete(["abc"], max_tokens=200)


def test_reading_agrees_with_what_it_says(plain: LlamaCpp) -> None:
    ((cold,),) = plain.complete(["some text"], max_tokens=8, temperature=0.0)
    whole = np.concatenate([plain.prompted("some text"), np.array(cold.tokens, np.int64)])
    (read,) = plain.forced([whole], starts=[len(whole) - len(cold.tokens)])
    assert read.asked.sum() == len(cold.tokens) > 2
    np.testing.assert_array_equal(read.best[-len(cold.tokens) :], cold.tokens)
    (logs,) = plain.distributions([whole])
    assert logs.shape == (len(whole) - 1, SIZE)
    np.testing.assert_allclose(np.exp(logs.astype(float)).sum(axis=1), 1.0, atol=1e-5)
    (scored,) = plain.score([("some ", "answer")])
    assert len(scored.tokens) == 6 and scored.asked.all()


@pytest.mark.parametrize("scheme", ["markllm_kgw", "vllm_gumbel"])
def test_it_chooses_the_tokens_of_the_pure_function(file: Path, plain: LlamaCpp, scheme: str) -> None:
    key = MASTER.key(scheme, Scope()).as_read()
    greedy = scheme == "markllm_kgw"
    given: dict[str, Any] = {"delta": 3.0} if greedy else {"context_width": 6}
    marked = LlamaCpp(file, context=128, threads=1, mark=marking(scheme, key, given))
    prompts = ["abc", "defgh"]
    temperature = 0.0 if greedy else 0.9
    tokens = 0
    for prompt, (answer,) in zip(
        prompts, marked.complete(prompts, max_tokens=20, temperature=temperature), strict=True
    ):
        before = plain.prompted(prompt)
        whole = np.concatenate([before, np.array(answer.tokens, np.int64)])
        (logs,) = plain.distributions([whole])
        for at in range(len(before), len(whole)):
            if greedy:
                found = np.argmax(markllm_kgw.mark(logs[at - 1], whole[:at], key, **given))
            else:
                found = vllm_gumbel.mark(
                    logs[at - 1] / np.float32(0.9), whole[len(before) : at], key, **given
                )
            assert found == whole[at]
            tokens += 1
    assert tokens > 10


def test_a_process_is_a_processor_of_the_library_itself(file: Path) -> None:
    key = MASTER.key("vllm_gumbel", Scope()).as_read()
    how = marking("vllm_gumbel", key, {"context_width": 6})
    wanted = LlamaCpp(file, context=128, threads=1, mark=how).complete(
        ["abc"], max_tokens=15, temperature=0.9
    )
    llama = llama_cpp.Llama(str(file), n_ctx=128, n_threads=1, verbose=False)
    found = llama.create_completion(
        "abc", max_tokens=15, temperature=1.0, top_p=1.0, top_k=0, min_p=0.0,
        logits_processor=llama_cpp.LogitsProcessorList([Process(how, temperature=0.9)]),
    )  # fmt: skip
    # Random bytes are no text: the library drops what is not UTF-8, and goes on where a character is not whole.
    text = wanted[0][0].text.replace("\ufffd", "")
    assert len(text) > 5 and found["choices"][0]["text"].startswith(text)


def test_marks_are_read_back(file: Path) -> None:
    key = MASTER.key("synthid_table", Scope()).as_read()
    marked = LlamaCpp(file, context=128, threads=1, mark=marking("synthid_table", key))
    answers = [
        np.array(a.tokens, np.int64) for (a,) in marked.complete(list("abcdefghij"), max_tokens=60, seed=1)
    ]
    ids, ends = np.concatenate(answers), np.cumsum([len(a) for a in answers])
    other = MASTER.key("synthid_table", Scope(epoch="x")).as_read()
    assert synthid_table.test(ids, key, ends=ends).log_pvalue < -20.0
    assert synthid_table.test(ids, other, ends=ends).log_pvalue > -8.0


def test_an_error_inside_the_mark_is_not_lost(file: Path) -> None:
    # The library calls processors from C, which prints an exception and goes on without the mark.
    wrong = marking("vllm_gumbel", 1, {"context_width": 1})
    object.__setattr__(wrong, "draw", lambda logits, contexts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LlamaCpp(file, context=64, threads=1, mark=wrong).complete(["a"], max_tokens=3)


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a GGUF file"):
        LlamaCpp(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a model"):
        LlamaCpp(tmp_path / "x.gguf")
