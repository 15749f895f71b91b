"""A tiny teacher of random weights, and students of it: what each level learns, broken off and gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_teacher import tiny_teacher
from typer.testing import CliRunner

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
transformers = pytest.importorskip("transformers", reason="needs stillwatch[models]")
accelerate = pytest.importorskip("accelerate", reason="needs stillwatch[models]")
pytest.importorskip("tokenizers", reason="needs stillwatch[models]")

from stillwatch.cli.main import add_nouns, app  # noqa: E402
from stillwatch.errors import InputError  # noqa: E402
from stillwatch.lab.distill import asking, collecting, judging, places, schooling, speakers  # noqa: E402
from stillwatch.lab.distill.costs import Prices  # noqa: E402
from stillwatch.lab.distill.divergence import divergence  # noqa: E402
from stillwatch.lab.distill.places import Lesson  # noqa: E402
from stillwatch.lab.distill.run import Inputs, distill  # noqa: E402
from stillwatch.lab.distill.settings import Settings, of_model  # noqa: E402
from stillwatch.lab.distill.spending import Spent  # noqa: E402
from stillwatch.lab.teaching.corpus import weights_digest  # noqa: E402
from stillwatch.models.local import load  # noqa: E402

VOCABULARY = 24  # few words: what follows each can be learnt from few answers
pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and torch
add_nouns()
SMALL = Settings(
    length=10,
    held_out=12,
    epochs=3,
    batch=4,
    rate=1e-2,
    warmup=2,
    hidden=32,
    layers=2,
    heads=4,
    dtype="float32",
)
FORWARD = replace(SMALL, level="logits", divergence="forward")
REVERSE = replace(SMALL, level="logits", divergence="reverse")
needs_peft = pytest.mark.usefixtures("peft")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def peft() -> Any:
    return pytest.importorskip("peft", reason="needs stillwatch[models]")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("teacher"), spread=0.5, words=VOCABULARY, tied=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("other"), seed=2, spread=0.2, words=VOCABULARY, tied=False)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asked") / "prompts.txt"
    rng = np.random.default_rng(0)
    lines = [" ".join(f"w{i}" for i in rng.integers(1, VOCABULARY, 2 + n % 3)) for n in range(52)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def ran(teacher: Path, asked: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def go(told: Settings, name: str = "out", student: Path | None = None, **more: Any) -> Any:
        prices = more.pop("prices", Prices())
        return distill(tmp_path / name, Inputs(teacher, student, asked), told, prices, **more)

    return go


def change(found: dict[str, Any], measure: str) -> tuple[float, float]:
    """The interval of what changed."""
    between = found["evaluation"]["measures"][measure]["change"]
    return between["low"], between["high"]


def digest(place: Path) -> str:
    return weights_digest(load(place)[0])


def plain_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    p, q = (np.exp(x - x.max(1, keepdims=True)) for x in (p, q))
    p, q = (x / x.sum(1, keepdims=True) for x in (p, q))
    return (p * np.log(p / q)).sum(1)


def test_the_divergence_is_what_the_formula_gives() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0, 3, (2, 7, 50))
    given = torch.from_numpy(ours), torch.from_numpy(theirs)
    np.testing.assert_allclose(divergence(*given, "forward"), plain_kl(theirs, ours), rtol=1e-4)
    np.testing.assert_allclose(divergence(*given, "reverse"), plain_kl(ours, theirs), rtol=1e-4)
    assert float(divergence(given[0], given[0], "forward").abs().max()) < 1e-6


def lessons(number: int = 9) -> list[Lesson]:
    rng = np.random.default_rng(3)
    return [
        Lesson(rng.integers(1, VOCABULARY, 2 + n % 4), rng.integers(1, VOCABULARY, 3 + n % 5))
        for n in range(number)
    ]


@pytest.mark.parametrize("keeps", [True, False])
def test_only_places_of_answers_count_and_padding_changes_nothing(
    teacher: Path, other: Path, keeps: bool
) -> None:
    model, second = load(teacher)[0], load(other)[0]
    given = places.padded(lessons())
    with torch.no_grad():
        ours, theirs = (places.logits(m, given, keeps=keeps).numpy() for m in (model, second))
        alone = [
            [
                m(torch.from_numpy(np.concatenate([one.prompt, one.answer]))[None]).logits[
                    0, len(one.prompt) - 1 : -1
                ]
                for one in lessons()
            ]
            for m in (model, second)
        ]
    np.testing.assert_allclose(ours, torch.cat(alone[0]).numpy(), atol=1e-4)
    wanted = np.concatenate([one.answer for one in lessons()])
    np.testing.assert_array_equal(places.targets(given), wanted)
    # The same by hand, measure by measure.
    read = judging.read(model, second, lessons(), "float32")
    logs = ours - np.log(np.exp(ours).sum(1, keepdims=True))
    ends = np.cumsum([len(one.answer) for one in lessons()])[:-1]
    by_hand = {
        "loss": -logs[np.arange(len(wanted)), wanted],
        "forward": plain_kl(theirs, ours),
        "reverse": plain_kl(ours, theirs),
        "agreement": ours.argmax(1) == theirs.argmax(1),
    }
    for name, values in by_hand.items():
        np.testing.assert_allclose(
            read[name], [part.sum() for part in np.split(values, ends)], rtol=1e-3, atol=1e-3
        )
    assert read["tokens"] == [len(one.answer) for one in lessons()]


def test_the_last_product_is_made_in_float32_and_only_then(teacher: Path) -> None:
    model = load(teacher, dtype="bfloat16")[0]
    given = places.padded(lessons())
    with torch.no_grad():
        rough = places.logits(model, given, keeps=True)
    with places.reading(model, "bfloat16"):
        fine = places.logits(model, given, keeps=True)
    assert rough.dtype == torch.bfloat16 and fine.dtype == torch.float32
    assert 0 < float((rough.float() - fine).abs().max()) < 0.2
    assert "forward" not in vars(model.get_output_embeddings())


def test_sequence_level_lowers_the_loss_on_answers_to_other_prompts(ran: Any, tmp_path: Path) -> None:
    found = ran(SMALL)
    assert change(found, "loss")[1] < -0.2
    assert (
        found["evaluation"]["measures"]["loss"]["after"]["value"]
        > found["evaluation"]["loss of the teacher"]["value"]
    )
    stages = found["costs"]["stages"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert (
        len(rows) == 52 and found["evaluation"]["trained on"] == 40 and found["evaluation"]["prompts"] == 12
    )
    assert stages["answers"]["answer_tokens"] == sum(len(row["ids"]) for row in rows)
    held_out = found["evaluation"]["tokens"]
    assert stages["training"]["trained_tokens"] == 3 * (stages["answers"]["answer_tokens"] - held_out)
    assert not (tmp_path / "out" / "unfinished").exists()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["eos_token_id"] == [0] and config["hidden_size"] == 32


@pytest.mark.parametrize(
    "told", [FORWARD, REVERSE, replace(FORWARD, on_policy=0.5)], ids=["forward", "reverse", "own"]
)
def test_logits_level_lowers_the_divergence(ran: Any, told: Settings) -> None:
    found = ran(told)
    assert change(found, told.divergence)[1] < -0.1
    training = found["costs"]["stages"]["training"]
    assert training["teacher_read_tokens"] == training["read_tokens"] > training["trained_tokens"]
    assert ("student_sampled_tokens" in training) == (told.on_policy > 0)


@pytest.mark.parametrize(
    "told",
    [SMALL, replace(FORWARD, on_policy=0.5), replace(SMALL, dtype="bfloat16")],
    ids=["sequence", "own answers", "bfloat16"],
)
def test_a_seed_decides_the_weights_and_a_broken_run_ends_where_the_whole_one_does(
    ran: Any, tmp_path: Path, told: Settings
) -> None:
    whole = ran(told, "whole")
    assert ran(told, "broken", save_every=4, stop_after=7) is None
    assert (tmp_path / "broken" / "unfinished" / "checkpoint-7").is_dir()
    # Killed while it saved: a checkpoint that is not whole is passed over.
    (tmp_path / "broken" / "unfinished" / "checkpoint-9").mkdir()
    assert ran(told, "broken", save_every=4, stop_after=12) is None
    gone_on = ran(told, "broken")
    assert digest(tmp_path / "whole") == digest(tmp_path / "broken")
    assert gone_on["evaluation"] == whole["evaluation"]
    counted = [
        {k: v for k, v in found["costs"]["stages"]["training"].items() if k.endswith("tokens")}
        for found in (whole, gone_on)
    ]
    assert counted[0] == counted[1]
    ran(replace(told, seed=1), "another")
    assert digest(tmp_path / "another") != digest(tmp_path / "whole")


def test_what_is_done_is_not_done_again_and_other_prices_count_anew(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ran(SMALL)
    monkeypatch.setattr(speakers, "teacher", lambda *given: pytest.fail("was loaded again"))
    assert ran(SMALL) == first
    told = ran(SMALL, prices=Prices(input=1.0, output=2.0, hour=3.0, watts=50.0))
    answers = first["costs"]["stages"]["answers"]
    assert told["costs"]["teacher"] == pytest.approx(
        (answers["prompt_tokens"] + 2 * answers["answer_tokens"]) / 1e6
    )
    assert json.loads((tmp_path / "out" / "costs.json").read_text()) == told["costs"]
    assert told["evaluation"] == first["evaluation"]
    with pytest.raises(InputError, match=r"rate is 0\.01 there and 0\.02 now"):
        ran(replace(SMALL, rate=0.02))


def test_answers_are_asked_once_and_half_a_batch_is_asked_again(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "BATCH", 4)
    model = speakers.teacher(teacher, "float32")
    texts = [f"w{n} w{n + 1}" for n in range(1, 11)]
    path, spent = tmp_path / "answers.jsonl", Spent(tmp_path / "spent.json")
    how: dict[str, Any] = {"length": 20, "temperature": 1.0, "seed": 4, "spent": spent}
    first = collecting.collect(model, texts, path, **how)
    assert [one.prompt for one in first] == texts
    assert any(one.ended for one in first) or all(len(one.ids) == 20 for one in first)
    for one in first:
        assert 0 not in one.ids[:-1] and one.ended == (one.ids[-1] == 0)
    whole, once = path.read_text(), spent.stages["answers"]["answer_tokens"]
    path.write_text(whole[: len(whole) - 30])
    assert collecting.collect(model, texts, path, **how) == first
    assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())
    assert spent.stages["answers"]["answer_tokens"] > once
    monkeypatch.setattr(collecting, "sample", lambda *given, **named: pytest.fail("was asked again"))
    assert collecting.collect(model, texts, path, **how) == first
    # The file of one run is a file of collected answers for another.
    assert [one.prompt for one in asking.answers(path)] == [
        json.loads(x)["prompt"] for x in path.read_text().splitlines()
    ]


def test_collected_answers_need_no_teacher(other: Path, teacher: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"prompt": f"w{n % 20 + 1} w{n // 20 + 1}", "answer": f"w{n % 5 + 1} w7 w8"} for n in range(1, 41)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n" + json.dumps({**rows[0], "answer": "w9"}))
    found = distill(tmp_path / "out", Inputs(None, other, None, path), SMALL, Prices())
    assert found is not None and change(found, "loss")[1] < -0.5
    assert set(found["evaluation"]["measures"]) == {"loss"} and "answers" not in found["costs"]["stages"]
    assert found["evaluation"]["trained on"] in (28, 29)
    # With a teacher beside it, how far the student lies from it is told too.
    told = distill(tmp_path / "both", Inputs(teacher, other, None, path), replace(SMALL, length=2), Prices())
    assert (
        told is not None
        and "forward" in told["evaluation"]["measures"]
        and told["evaluation"]["answers cut"] > 35
    )


def test_another_vocabulary_learns_from_answers_and_not_from_logits(ran: Any, tmp_path: Path) -> None:
    student = tiny_teacher(tmp_path / "student", words=700, tied=False)
    with pytest.raises(
        InputError, match=r"0 of the teacher's 24 tokens .* the student's 700; train on answers"
    ):
        ran(FORWARD, student=student)
    found = ran(SMALL, student=student)  # in the same folder: what was refused took nothing
    assert change(found, "loss")[1] < -0.2 and set(found["evaluation"]["measures"]) == {"loss"}


def test_a_prompt_that_leaves_no_room_is_refused_with_its_text(ran: Any) -> None:
    with pytest.raises(InputError, match=r"do not fit into the teacher's 256"):
        ran(replace(SMALL, length=254))


@needs_peft
def test_adapters_change_nothing_else_and_are_merged_and_kept(
    ran: Any, other: Path, tmp_path: Path, peft: Any
) -> None:
    base = load(other)[0]
    before, files = {n: w.clone() for n, w in base.state_dict().items()}, of_model(other)
    wrapped = speakers.adapted(base, replace(FORWARD, lora=4))
    trainable = {n for n, w in wrapped.named_parameters() if w.requires_grad}
    assert trainable and all("lora_" in name for name in trainable)
    found = ran(replace(FORWARD, lora=4), student=other)
    assert change(found, "forward")[1] < 0
    assert of_model(other) == files
    out = tmp_path / "out"
    assert {p.name for p in (out / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    merged = load(out)[0].state_dict()
    assert merged.keys() == before.keys()
    assert torch.equal(merged["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    assert torch.equal(merged["lm_head.weight"], before["lm_head.weight"])
    assert not torch.equal(
        merged["model.layers.0.self_attn.q_proj.weight"], before["model.layers.0.self_attn.q_proj.weight"]
    )
    again = peft.PeftModel.from_pretrained(load(other)[0], out / "adapter").merge_and_unload().state_dict()
    for name, weight in merged.items():
        torch.testing.assert_close(again[name], weight)


@needs_peft
def test_a_broken_run_with_adapters_ends_where_the_whole_one_does(
    ran: Any, other: Path, tmp_path: Path
) -> None:
    told = replace(REVERSE, lora=4, on_policy=0.5, dtype="bfloat16")
    whole = ran(told, "whole", student=other)
    assert ran(told, "broken", student=other, save_every=4, stop_after=7) is None
    assert ran(told, "broken", student=other)["evaluation"] == whole["evaluation"]
    assert digest(tmp_path / "whole") == digest(tmp_path / "broken")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("training", [False, True])
def test_a_students_own_answers_are_of_the_weights_it_has_now(
    teacher: Path, other: Path, dtype: str, training: bool
) -> None:
    model = load(teacher)[0]
    if (
        training
    ):  # as Trainer lays autocast around it; what is written by a copy must not be written by the first
        accelerate.state.AcceleratorState._reset_state()
        precision = "bf16" if dtype == "bfloat16" else "no"
        model = accelerate.Accelerator(mixed_precision=precision, cpu=True).prepare_model(model)
    prompts = [one.prompt for one in lessons(5)]
    how: dict[str, Any] = {"length": 8, "temperature": 1.0, "ends": [0], "dtype": dtype}
    state = torch.random.get_rng_state()
    first = schooling.write(model, prompts, seed=1, **how)
    assert torch.equal(state, torch.random.get_rng_state())
    again, unlike = (schooling.write(model, prompts, seed=s, **how) for s in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, unlike, strict=True))
    model.load_state_dict(load(other)[0].state_dict())
    changed = schooling.write(model, prompts, seed=1, **how)
    wanted = schooling.write(load(other)[0], prompts, seed=1, **how)
    assert all(np.array_equal(a, b) for a, b in zip(changed, wanted, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(changed, first, strict=True))


def typing(teacher: Path, asked: Path, out: Path) -> list[str]:
    return [
        *("lab", "distill", "--teacher", str(teacher), "--student", "scratch", "--prompts", str(asked)),
        *("--out", str(out), "--length", "10", "--held-out", "12", "--hidden", "32", "--layers", "2"),
        *("--level", "logits", "--rate", "0.01"),
    ]


def test_an_interrupt_leaves_a_folder_that_the_same_command_goes_on_with(
    teacher: Path, asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(where: Any, name: str, after: int) -> None:
        whole, calls = getattr(where, name), iter(range(after))

        def breaks(*given: Any, **named: Any) -> Any:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return whole(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(where, name, breaks)
            found = CliRunner().invoke(app, [*typing(teacher, asked, tmp_path / "out"), "--save-every", "2"])
        assert found.exit_code == 130

    kept = tmp_path / "out" / "answers.jsonl"
    interrupted(collecting, "sample", 2)
    first = kept.read_text()
    assert first
    interrupted(schooling, "divergence", 4)
    assert kept.read_text().startswith(first)
    assert (tmp_path / "out" / "unfinished" / "checkpoint-4").is_dir()
    for place in ("out", "whole"):
        assert CliRunner().invoke(app, typing(teacher, asked, tmp_path / place)).exit_code == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_the_command_prints_what_changed_and_what_it_took(teacher: Path, asked: Path, tmp_path: Path) -> None:
    typed = typing(teacher, asked, tmp_path / "out")
    found = CliRunner().invoke(app, [*typed, "--watts", "50"])
    assert found.exit_code == 0, found.exception
    for words in (
        "KL(teacher, student)",
        "same likeliest token",
        "trained",
        "not stated (--price-input",
        "kWh at 50 W",
    ):
        assert words in found.stdout
    lines = [line for line in found.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 100 and "train_runtime" not in found.output
    rows = CliRunner().invoke(app, [*typed, "--json", "--price-hour", "2"])
    told = json.loads(rows.stdout)
    assert told["costs"]["machine"] > 0 and told["costs"]["kilowatt_hours"] is None
    other_folder = CliRunner().invoke(app, [*typed, "--divergence", "reverse"])
    assert isinstance(other_folder.exception, InputError) and "holds another run" in str(
        other_folder.exception
    )
