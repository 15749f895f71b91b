"""What `lab distill` reads, refuses, and counts: no model is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stillwatch.cli.main import add_nouns, app
from stillwatch.errors import FormatError, InputError
from stillwatch.lab.distill import asking, run, settings
from stillwatch.lab.distill.costs import Prices, sheet
from stillwatch.lab.distill.run import Inputs
from stillwatch.lab.distill.settings import Settings
from stillwatch.lab.distill.spending import Spent

add_nouns()


def test_prompts_stand_in_json_lines_or_in_lines_and_count_once(tmp_path: Path) -> None:
    lines, objects = tmp_path / "p.txt", tmp_path / "p.jsonl"
    lines.write_text('one\n\n two \none\n{"prompt": 1}\n')
    objects.write_text('{"prompt": "one"}\n\n{"prompt": "two", "more": 1}\n{"prompt": "one"}\n')
    assert asking.prompts(lines) == (["one", "two", '{"prompt": 1}'], [])
    assert asking.prompts(objects) == (["one", "two"], [])
    train, held_out = asking.prompts(None)
    assert len(train) == 960 and len(held_out) == 144 and not set(train) & set(held_out)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", r"a\.jsonl:2: not JSON"),
        ("[1]", r"a\.jsonl:2: a JSON object"),
        ('{"answer": "x"}', r"a\.jsonl:2: prompt is a text"),
        ('{"prompt": " ", "answer": "x"}', r"a\.jsonl:2: prompt is a text"),
        ('{"prompt": "p"}', r"a\.jsonl:2: answer is a text, found None"),
        ('{"prompt": "p", "answer": 3}', r"a\.jsonl:2: answer is a text, found 3"),
        ('{"prompt": "p", "answer": "", "ended": false}', r"a\.jsonl:2: answer is a text"),
        ('{"prompt": "p", "answer": "x", "ended": 1}', r"a\.jsonl:2: ended is true or false"),
    ],
)
def test_a_bad_line_of_answers_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "answer": "x"}\n' + line + "\n")
    with pytest.raises(FormatError, match=says):
        asking.answers(path)


def test_files_that_are_not_there_or_empty_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FormatError, match=r"empty\.txt: holds no prompt"):
        asking.prompts(tmp_path / "empty.txt")
    with pytest.raises(FormatError, match=r"empty\.jsonl: holds no answer"):
        asking.answers(tmp_path / "empty.jsonl")
    for name in ("bytes.txt", "gone.txt"):
        with pytest.raises(InputError, match=name):
            asking.prompts(tmp_path / name)
    with pytest.raises(InputError, match="nothing-there"):
        settings.of_model(tmp_path / "nothing-there")


def test_held_out_prompts_are_drawn_and_never_trained_on() -> None:
    texts = [f"p{i % 30}" for i in range(60)]
    train, held_out = asking.apart(texts, 10, seed=1)
    assert len(held_out) == 10 and len(train) == 20 and not set(train) & set(held_out)
    assert asking.apart(texts, 10, seed=1) == (train, held_out) != asking.apart(texts, 10, seed=2)
    with pytest.raises(InputError, match="30 prompts, of which 30 are held out"):
        asking.apart(texts, 30, seed=1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"level": "tokens"}, "sequence or logits"),
        ({"divergence": "forward"}, "belongs to the level of logits"),
        ({"level": "logits", "divergence": "both"}, "forward or reverse"),
        ({"on_policy": 0.5}, "on-policy needs the level logits"),
        ({"level": "logits", "divergence": "forward", "on_policy": 1.5}, "0 to 1"),
        ({"held_out": 4}, "at least 5 held-out"),
        ({"temperature": 0.0}, "above 0"),
        ({"rate": -1.0}, "above 0"),
        ({"dtype": "float16"}, "bfloat16 or float32"),
        ({"hidden": 30}, "multiple of twice its heads"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], says: str) -> None:
    Settings().check()
    with pytest.raises(InputError, match=says):
        replace(Settings(), **wrong).check()  # type: ignore[arg-type]


def test_inputs_that_do_not_go_together_are_refused() -> None:
    some = Path("x")
    for wrong, told, says in [
        (Inputs(None, some), Settings(), "from a teacher or from a file"),
        (Inputs(some, some, some, some), Settings(), "leave out one"),
        (
            Inputs(None, some, None, some),
            Settings(level="logits", divergence="forward"),
            "the teacher itself",
        ),
        (Inputs(None, None, None, some), Settings(), "the tokenizer of a teacher"),
        (Inputs(some, None), Settings(lora=4), "from scratch there are none"),
    ]:
        with pytest.raises(InputError, match=says):
            wrong.check(told)


@pytest.mark.parametrize(("limit", "held_out"), [(961, 32), (0, 145), (961, 145)])
def test_more_prompts_than_there_are_cannot_be_asked_for(tmp_path: Path, limit: int, held_out: int) -> None:
    told = replace(Settings(), limit=limit, held_out=held_out)
    with pytest.raises(InputError, match=f"960 prompts for training and 144 .* {limit} and {held_out} were"):
        run._asked(Inputs(tmp_path, None), told)
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": f"p{n % 12}", "answer": str(n)} for n in range(24)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"there are 7 prompts .* 8 and 5 were"):
        run._asked(Inputs(None, tmp_path, None, path), replace(told, limit=8, held_out=5))
    train, held = run._asked(Inputs(None, tmp_path, None, path), replace(told, limit=6, held_out=5))
    assert len(train) == 12 and len(held) == 5 and not {a.prompt for a in train} & {a.prompt for a in held}
    assert all(int(one.text) < 12 for one in held)


def test_a_folder_is_one_runs(tmp_path: Path) -> None:
    told, digests, place = Settings(), {"teacher": "ab"}, tmp_path / "run"
    ours = settings.claim(place, told, digests)
    assert not place.exists()  # a run that is refused takes nothing
    settings.write(place / "settings.json", ours)
    assert settings.claim(place, told, digests) == ours
    with pytest.raises(InputError, match="epochs is 1 there and 2 now"):
        settings.claim(place, replace(told, epochs=2), digests)
    with pytest.raises(InputError, match="digest of the teacher is 'ab' there and 'cd' now"):
        settings.claim(place, told, {"teacher": "cd"})
    (place / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json: cannot be read"):
        settings.claim(place, told, digests)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no run"):
        settings.claim(tmp_path / "full", told, digests)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "answers.jsonl").write_text("")
    assert settings.claim(tmp_path / "answers", told, digests) == ours


def test_a_model_is_known_by_its_files_and_not_by_its_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert settings.of_model(tmp_path / "a") == settings.of_model(tmp_path / "b")
    (tmp_path / "b" / "costs.json").write_text("{}")  # of the run that made it
    assert settings.of_model(tmp_path / "a") == settings.of_model(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("{ }")
    assert settings.of_model(tmp_path / "a") != settings.of_model(tmp_path / "b")


def test_what_was_spent_is_kept_and_what_broke_is_not_counted(tmp_path: Path) -> None:
    spent = Spent(tmp_path / "spent.json")
    with spent.clock("answers") as amounts:
        amounts["answer_tokens"] = 5
    with pytest.raises(RuntimeError), spent.clock("answers") as amounts:
        amounts["answer_tokens"] = 100
        raise RuntimeError
    again = Spent(tmp_path / "spent.json", gpu=True)
    again.add("answers", {"answer_tokens": 2})
    assert again.stages["answers"]["answer_tokens"] == 7
    with again.clock("training"):
        pass
    assert again.stages["training"]["gpu_seconds"] == again.stages["training"]["wall_seconds"]
    assert "gpu_seconds" not in again.stages["answers"]


def test_money_and_energy_come_from_stated_prices_alone() -> None:
    stages = {
        "answers": {"prompt_tokens": 2_000_000, "answer_tokens": 500_000, "wall_seconds": 1800.0},
        "training": {"trained_tokens": 9, "wall_seconds": 5400.0},
    }
    nothing = sheet(stages, Prices(), device="cpu")
    assert nothing["machine"] is nothing["teacher"] is nothing["kilowatt_hours"] is None
    assert nothing["stages"]["training"]["machine"] is None
    found = sheet(stages, Prices(input=3.0, output=10.0, hour=0.5, watts=200.0), device="cpu")
    assert found["teacher"] == pytest.approx(2 * 3.0 + 0.5 * 10.0)
    assert found["machine"] == pytest.approx(2 * 0.5) and found["kilowatt_hours"] == pytest.approx(0.4)
    assert found["stages"]["training"]["machine"] == pytest.approx(0.75)
    assert sheet(stages, Prices(input=3.0), device="cpu")["teacher"] is None
    assert sheet({"training": stages["training"]}, Prices(3.0, 10.0), device="cpu")["teacher"] is None
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="0 or more"):
            Prices(hour=wrong).check()
    json.dumps(found, allow_nan=False)


def test_the_command_names_what_is_wrong_before_any_model_is_loaded(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs stillwatch[models]")
    given = ["--student", "scratch", "--teacher", str(tmp_path), "--out", str(tmp_path / "out")]
    for more, says in [
        (["--on-policy", "0.5"], "on-policy needs the level logits"),
        (["--lora", "4"], "from scratch there are none"),
        (["--price-hour", "-1"], "0 or more"),
        ([], "neither a GGUF file nor a folder"),
        (["--prompts", str(tmp_path / "gone.txt")], "neither a GGUF file nor a folder"),
    ]:
        found = CliRunner().invoke(app, ["lab", "distill", *given, *more])
        assert isinstance(found.exception, InputError) and says in str(found.exception)
    assert not (tmp_path / "out").exists()
