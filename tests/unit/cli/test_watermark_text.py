"""``watermark detect``: every form of input, one verdict for the corpus, and errors that say where."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from stillwatch.cli.watermark import app
from stillwatch.errors import FormatError, InputError, IntegrityError, SchemaError
from stillwatch.marks import simulated
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.schemes import vllm_gumbel

RUNNER = CliRunner()


def typed(workspace: Path, *words: object, stdin: str | None = None) -> Any:
    where = ("--workspace", str(workspace))
    return RUNNER.invoke(app, [*map(str, words), *where], input=stdin, catch_exceptions=True)


def refused(result: Any, kind: type[Exception] = InputError) -> str:
    assert isinstance(result.exception, kind), (result.exception, result.output)
    return str(result.exception)


def said(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, (result.exception, result.output)
    return [json.loads(line) for line in result.stdout.splitlines()]


def keys_of(result: Any) -> dict[str, dict[str, Any]]:
    return {row["scope"]: row for row in said(result) if row["kind"] == "key"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("workspace")
    assert typed(place, "key", "new").exit_code == 0
    for tenant in ("o-1", "o-2"):
        done = typed(place, "key", "scope", "vllm_gumbel", "--tenant", tenant)
        assert done.exit_code == 0, done.exception
    return place


def documents(workspace: Path, share: float, n: int = 60, seed: int = 1) -> list[list[int]]:
    key = Master.from_file(workspace / "marks" / "key").key("vllm_gumbel", Scope(tenant="o-1")).as_read()
    drawn = simulated.chosen(
        np.random.default_rng(seed),
        lambda logits, before, _: vllm_gumbel.mark(logits, before, key),
        n=n, width=4, share=share,
    )  # fmt: skip
    return [part.tolist() for part in np.split(drawn["tokens"], drawn["ends"][:-1])]


def written(path: Path, rows: list[list[int]]) -> Path:
    path.write_text("".join(json.dumps({"tokens": row}) + "\n" for row in rows))
    return path


def test_a_marked_corpus_names_its_key_and_a_plain_one_none(workspace: Path, tmp_path: Path) -> None:
    marked = written(tmp_path / "marked.jsonl", documents(workspace, 0.5))
    done = typed(workspace, "detect", marked)
    assert done.exit_code == 0, done.exception
    assert "tenant=o-1) is in it" in done.stdout and "1 of 201" in done.stdout
    assert (
        "nor that anything was trained" in done.stdout and "Next: stillwatch watermark ledger" in done.stdout
    )
    plain = written(tmp_path / "plain.jsonl", documents(workspace, 0.0))
    done = typed(workspace, "detect", plain, "--strength", "0.4")
    assert "No mark of these 2 keys was found" in done.stdout
    assert "would have been found in 90% of corpora" in done.stdout and "takes about" in done.stdout
    assert "proves nothing" in done.stdout
    rows = said(typed(workspace, "detect", marked, "--json"))
    assert [row["kind"] for row in rows] == ["key", "key", "summary"]
    assert (
        rows[0]["carries"] and not rows[1]["carries"] and rows[0]["rank"] == 1 and rows[0]["null"] == "exact"
    )
    assert rows[2]["documents"] == 60 and rows[2]["keys_tested"] == 2


def test_ended_keys_are_tried_too_and_some_can_be_picked(workspace: Path, tmp_path: Path) -> None:
    marked = written(tmp_path / "marked.jsonl", documents(workspace, 0.5))
    master = Master.from_file(workspace / "marks" / "key")
    second = master.key("vllm_gumbel", Scope(tenant="o-2")).fingerprint
    only = keys_of(typed(workspace, "detect", marked, "--json", "--only", second[:8]))
    assert list(only) == ["tenant=o-2"] and not only["tenant=o-2"]["carries"]
    assert "no key of the register begins" in refused(typed(workspace, "detect", marked, "--only", "xyz"))
    assert "no key of synthid_hash" in refused(typed(workspace, "detect", marked, "--scheme", "synthid_hash"))
    first = master.key("vllm_gumbel", Scope(tenant="o-1")).fingerprint
    assert typed(workspace, "key", "rotate", first, "--retire").exit_code == 0
    assert keys_of(typed(workspace, "detect", marked, "--json"))["tenant=o-1"]["carries"]


def test_every_form_of_ids_gives_the_same(workspace: Path, tmp_path: Path) -> None:
    rows = documents(workspace, 0.5)
    lines = written(tmp_path / "a.jsonl", rows)
    files: list[tuple[object, ...]] = [(lines,)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    files.append((tmp_path / "a.jsonl.gz",))
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as out:
        out.write(lines.read_bytes())
    files.append((tmp_path / "a.jsonl.zst",))
    pq.write_table(
        pa.table({"id": range(60), "answer_ids": pa.array(rows, pa.list_(pa.int32()))}),
        tmp_path / "a.parquet",
    )
    files.append((tmp_path / "a.parquet", "--column", "answer_ids"))
    pa.csv.write_csv(
        pa.table({"n": range(60), "tokens": [json.dumps(row) for row in rows]}), tmp_path / "a.csv"
    )
    files.append((tmp_path / "a.csv",))
    (tmp_path / "array.json").write_text(json.dumps([{"answer": {"x": 1}, "token_ids": row} for row in rows]))
    files.append((tmp_path / "array.json",))
    halves = [written(tmp_path / "1.jsonl", rows[:20]), written(tmp_path / "2.jsonl", rows[20:])]
    files.append((*halves, lines))  # the same again counts once
    wanted = keys_of(typed(workspace, "detect", lines, "--json"))
    for words in files:
        found = keys_of(typed(workspace, "detect", *words, "--json"))
        assert found["tenant=o-1"]["pairs"] == wanted["tenant=o-1"]["pairs"], words
        assert found["tenant=o-1"]["log10_p"] == pytest.approx(wanted["tenant=o-1"]["log10_p"]), words
    done = typed(workspace, "detect", "-", "--json", stdin=lines.read_text())
    assert keys_of(done)["tenant=o-1"]["pairs"] == wanted["tenant=o-1"]["pairs"]


def test_each_document_by_itself_with_how_many_were_tested(workspace: Path, tmp_path: Path) -> None:
    rows = [
        [token for row in documents(workspace, share, 10, seed) for token in row]
        for share, seed in ((0.6, 1), (0.0, 2), (0.0, 3))
    ]
    file = written(tmp_path / "a.jsonl", [*rows, [1, 2, 3]])
    done = typed(workspace, "detect", file, "--per-document")
    found = [row for row in said_of(done) if row["kind"] == "document"]
    assert [row["document"] for row in found] == [f"{file}:{i}" for i in (1, 2, 3, 4)]
    assert found[0]["scope"] == "tenant=o-1" and found[0]["log10_p"] < -10 and found[3]["too_little_text"]
    assert all(row["keys"] == 2 and row["log10_p_over_keys"] >= row["log10_p"] for row in found[:3])
    assert "3 documents tested by themselves, 1 had too little text" in done.stderr
    assert "no single p decides" in done.stderr and "(Holm, 0.01): 1 document" in done.stderr
    out = tmp_path / "out.jsonl"
    done = typed(workspace, "detect", file, "--per-document", "--out", out)
    assert "MEAN" in done.stdout and len(out.read_text().splitlines()) == 4 + 2 + 1
    assert "not written over" in refused(typed(workspace, "detect", file, "--out", out))


def said_of(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_too_little_text_is_no_error(workspace: Path, tmp_path: Path) -> None:
    done = typed(workspace, "detect", written(tmp_path / "a.jsonl", [[1, 2, 3]]))
    assert done.exit_code == 0 and "Too little text: 3 distinct pairs" in done.stdout
    assert "too little" in done.stdout


def test_bad_rows_are_errors_with_their_place_or_are_counted(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = json.dumps({"tokens": list(range(40))})
    bad = [
        "{",
        "[1]",
        '{"tokens": [1, "2"]}',
        '{"tokens": [1.5]}',
        '{"other": 1}',
        '{"text": 5}',
        '{"tokens": [true]}',
    ]
    for line in bad:
        file.write_text(f"{good}\n\n{line}\n")
        assert f"{file}:3" in refused(typed(workspace, "detect", file), FormatError)
    assert "'other'" in refused_one(workspace, file, '{"other": 1}')
    file.write_text("\n".join([good, *bad, good.replace("39", "40")]))
    done = typed(workspace, "detect", file, "--skip-bad", "--json")
    assert said_of(done)[-1]["passed_over"] == 7
    assert f"passed over: {file}:2: not JSON" in done.stderr and "2 more" in done.stderr


def refused_one(workspace: Path, file: Path, line: str) -> str:
    file.write_text(line + "\n")
    return refused(typed(workspace, "detect", file), FormatError)


def test_ids_files_and_columns_that_are_not_as_they_should_be(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"tokens": [1, 2]}\n{"tokens": [1, -2]}\n')
    assert f"{file}:2: token ids are 0 or above; found -2" in refused(typed(workspace, "detect", file))
    file.write_text("")
    assert "there is no document in it" in refused(typed(workspace, "detect", file), FormatError)
    assert "no such file" in refused(typed(workspace, "detect", tmp_path / "none.jsonl"))
    pq.write_table(pa.table({"id": [1], "reply": ["a"]}), tmp_path / "a.parquet")
    told = refused(typed(workspace, "detect", tmp_path / "a.parquet"), SchemaError)
    assert "columns id, reply" in told
    told = refused(typed(workspace, "detect", tmp_path / "a.parquet", "--column", "id"), SchemaError)
    assert "found int64" in told
    pq.write_table(pa.table({"tokens": [[1, 2], None, [3, None]]}), tmp_path / "n.parquet")
    assert "n.parquet:2: nothing in column" in refused(
        typed(workspace, "detect", tmp_path / "n.parquet"), FormatError
    )
    done = typed(workspace, "detect", tmp_path / "n.parquet", "--skip-bad")
    assert done.exit_code == 0 and "n.parquet:3: a token id is missing" in done.stderr
    whole = (tmp_path / "n.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert "not readable as Parquet" in refused(
        typed(workspace, "detect", tmp_path / "cut.parquet"), FormatError
    )


def test_an_id_outside_the_vocabulary_is_named(workspace: Path, tmp_path: Path) -> None:
    place = tmp_path / "w"
    assert typed(place, "key", "new").exit_code == 0
    assert typed(place, "key", "scope", "transformers_red_green", "--device", "cpu").exit_code == 0
    file = written(tmp_path / "a.jsonl", [[1, 2], [3, 300]])
    told = refused(typed(place, "detect", file))
    assert "no key can be read here" in told and "--param vocab_size=" in told
    told = refused(typed(place, "detect", file, "--param", "vocab_size=256"))
    assert f"{file}:2: token ids are 0 or above and below 256" in told and "found 300" in told
    assert typed(place, "detect", file, "--param", "vocab_size=512").exit_code == 0


def test_text_needs_a_tokenizer(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Some words.\n")
    assert "a.txt: is text; give --tokenizer" in refused(typed(workspace, "detect", file))
    assert "neither a tokenizer.json" in refused(
        typed(workspace, "detect", file, "--tokenizer", tmp_path / "no")
    )


def test_text_is_read_through_the_tokenizer(workspace: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")
    words = {f"w{i}": i for i in range(simulated.VOCABULARY)}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    raw.save(str(tmp_path / "tokenizer.json"))
    rows = documents(workspace, 0.5)
    texts = [" ".join(f"w{i}" for i in row) for row in rows]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    (tmp_path / "one.txt").write_text(texts[0])
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    wanted = keys_of(typed(workspace, "detect", written(tmp_path / "a.jsonl", rows), "--json"))["tenant=o-1"]
    for words_ in (("lines.txt", "--lines"), ("a.parquet",)):
        done = typed(
            workspace, "detect", tmp_path / words_[0], *words_[1:], "--tokenizer", tmp_path, "--json"
        )
        assert keys_of(done)["tenant=o-1"]["log10_p"] == pytest.approx(wanted["log10_p"])
    done = typed(
        workspace, "detect", tmp_path / "one.txt", "--tokenizer", tmp_path / "tokenizer.json", "--json"
    )
    assert said_of(done)[-1]["tokens"] == 20


def test_another_master_and_a_changed_register(workspace: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", [[1, 2, 3]])
    Master.create(tmp_path / "other")
    told = refused(typed(workspace, "detect", file, "--key", tmp_path / "other"))
    assert "no key can be read here" in told and "comes from master" in told
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    register = copy / "marks" / "register.jsonl"
    register.write_text(register.read_text().replace("o-2", "o-3"))
    refused(typed(copy, "detect", file), IntegrityError)
    assert "there is no master key" in refused(typed(tmp_path / "nowhere", "detect", file))


def test_interrupted_it_says_so(workspace: Path, tmp_path: Path) -> None:
    place = [sys.executable, "-c", "from stillwatch.cli.main import run; run()"]
    out = tmp_path / "found.jsonl"
    words = ["watermark", "detect", "-", "--out", str(out), "--per-document", "--workspace", str(workspace)]
    with subprocess.Popen(
        [*place, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdin is not None
        run.stdin.write(b'{"tokens": [1, 2, 3]}\n')
        run.stdin.flush()
        time.sleep(4)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 130 and b"interrupted" in errors and b"Traceback" not in errors
    assert not out.exists()


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError("the disk went away")])
def test_what_was_cut_off_never_has_the_name_that_was_asked_for(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    from stillwatch.marks.detecting import Corpus

    file, out = written(tmp_path / "a.jsonl", [[1, 2, 3]] * 4), tmp_path / "found.jsonl"
    part, best = out.with_name("found.jsonl.part"), Corpus.best
    words = ("detect", file, "--per-document", "--out", out)
    left = [3]

    def ends(corpus: Corpus, ids: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise end
        return best(corpus, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(Corpus, "best", ends)
    done = typed(workspace, *words)
    assert done.exit_code != 0 and not out.exists() and "it is not whole" in done.stderr
    assert len(part.read_text().splitlines()) == 3
    # What it left is not lost to the next run.
    again = typed(workspace, *words)
    assert again.exit_code != 0 and "move it away" in str(again.exception) + again.stderr
    assert len(part.read_text().splitlines()) == 3
    part.unlink()
    left[0] = 0
    assert typed(workspace, *words).exit_code != 0 and not out.exists() and not part.exists()
    left[0] = 9
    assert typed(workspace, *words).exit_code == 0 and not part.exists()
    assert json.loads(out.read_text().splitlines()[-1])["kind"] == "summary"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights that writes 211 words."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
    transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
    tokenizers = pytest.importorskip("tokenizers", reason="needs stillwatch[models]")
    place = tmp_path_factory.mktemp("model")
    words = {f"w{i}": i for i in range(211)}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w1"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="w0").save_pretrained(place)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=211, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    return place


@pytest.mark.parametrize(
    "scheme", ["vllm_gumbel", "transformers_red_green", "synthid_table", "sglang_gumbel", "markllm_kgw"]
)
def test_marked_answers_are_read_back_and_detected(model: Path, tmp_path: Path, scheme: str) -> None:
    secret = (
        "--key-command",
        f"echo {'5a' * 32}",
    )  # one key for all runs: how strong a mark is depends on it
    assert typed(tmp_path, "key", "new", *secret).exit_code == 0
    more = ("--param", "vocab_size=211") if scheme == "markllm_kgw" else ()
    assert (
        typed(
            tmp_path, "key", "scope", scheme, "--tenant", "o-1", "--device", "cpu", *more, *secret
        ).exit_code
        == 0
    )
    fingerprint = Master.from_command(secret[1]).key(scheme, Scope(tenant="o-1")).fingerprint
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"w{i} w{i + 1} w7"}) + "\n" for i in range(2, 12)))
    out = tmp_path / "out.jsonl"
    words = ("mark", fingerprint[:8], "--model", model, "--prompts", prompts, "--samples", 2, *secret)
    done = typed(tmp_path, *words, "--max-tokens", 80, "--out", out)
    assert done.exit_code == 0, (done.exception, done.output)
    assert "Read back:" in done.stdout and "rank 1 of " in done.stdout
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(answers) == 20 and {a["key"] for a in answers} == {fingerprint}
    assert all(a["scheme"] == scheme and a["tokens"] and a["text"] and a["prompt"] for a in answers)
    done = typed(tmp_path, "detect", out, "--tokenizer", model, "--json", *secret)
    (row,) = [row for row in said(done) if row["kind"] == "key"]
    if (
        scheme == "markllm_kgw"
    ):  # it has 211 seeds here: keys share lists, and p can be the rank among drawn ones
        assert row["rank"] == 1 and row["drawn"] > 150 and row["mean"] > row["chance"] + 0.2
    else:
        assert row["carries"] and row["log10_p"] < -5 and (row["rank"], row["drawn"]) == (1, 200)
    assert "not written over" in refused(typed(tmp_path, *words, "--out", out))


def test_what_mark_needs(model: Path, workspace: Path) -> None:
    second = Master.from_file(workspace / "marks" / "key").key("vllm_gumbel", Scope(tenant="o-2")).fingerprint
    assert "give a --prompt" in refused(typed(workspace, "mark", second, "--model", model))
    told = refused(typed(workspace, "mark", "zz", "--model", model, "--prompt", "w1"))
    assert "0 keys in use" in told
    done = typed(workspace, "mark", second, "--model", model, "--prompt", "w3", "--max-tokens", 8)
    assert len(said_of(done)) == 1 and "Too little text to read the mark back" in done.stderr
