"""A tiny teacher of random weights: its answers carry their mark; a student of it is trained, broken off and tested."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_teacher import VOCABULARY, tiny_teacher

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="needs stillwatch[models]")
pytest.importorskip("transformers", reason="needs stillwatch[models]")
pytest.importorskip("accelerate", reason="needs stillwatch[models]")
pytest.importorskip("tokenizers", reason="needs stillwatch[models]")

from stillwatch.attribution.randomized import radioactivity  # noqa: E402
from stillwatch.errors import AssumptionViolated, InputError  # noqa: E402
from stillwatch.lab.teaching import corpus, harvests, llama, probing, prompts, training  # noqa: E402
from stillwatch.lab.teaching.cells import FILE as cells_file  # noqa: E402
from stillwatch.lab.teaching.cells import Marked, Teacher, grid  # noqa: E402
from stillwatch.lab.teaching.corpus import Corpus  # noqa: E402
from stillwatch.lab.teaching.marking import TeacherMark  # noqa: E402
from stillwatch.lab.teaching.running import Workshop, marked_places  # noqa: E402
from stillwatch.lab.teaching.sampling import sample  # noqa: E402
from stillwatch.marks.keys import Master, Scope  # noqa: E402
from stillwatch.models.local import load  # noqa: E402

MASTER = Master(bytes(range(32)))
GREEN = TeacherMark(MASTER.key("transformers_red_green", Scope()), {"delta": 4.0})
GUMBEL = TeacherMark(MASTER.key("vllm_gumbel", Scope()), {"context_width": 2}, {"context_width": 2})
pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and torch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("teacher"), spread=0.1)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(folder)[0]


def some_prompts(number: int, *lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, VOCABULARY, lengths[i % len(lengths)]) for i in range(number)]


def test_the_lean_loop_computes_what_transformers_does(model: Any) -> None:
    ids = torch.from_numpy(np.stack(some_prompts(3, 12)))
    lean = llama.Llama(model)
    with torch.inference_mode():
        logits, memory = lean.start(ids[:, :6], 12)
        for at in range(6, 13):
            wanted = model(ids[:, :at]).logits[:, -1]
            assert float((logits - wanted).abs().max()) < 1e-4
            if at < 12:
                logits = lean.step(ids[:, at : at + 1], memory, at)


@pytest.mark.parametrize("mark", [None, GREEN, GUMBEL], ids=["plain", "green", "gumbel"])
def test_both_ways_give_the_same_answers_and_a_seed_decides_them(
    model: Any, mark: TeacherMark | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = some_prompts(7, 5, 9)
    how = {"length": 12, "temperature": 0.9, "barred": [0], "mark": mark, "batch": 3}
    lean = sample(model, asked, seed=3, **how)
    assert (lean > 0).all() and lean.shape == (7, 12)
    np.testing.assert_array_equal(lean, sample(model, asked, seed=3, **how))
    assert (lean != sample(model, asked, seed=4, **how)).any()
    monkeypatch.setattr(llama, "fits", lambda model: False)
    np.testing.assert_array_equal(lean, sample(model, asked, seed=3, **how))


@pytest.mark.parametrize("mark", [GREEN, GUMBEL], ids=["green", "gumbel"])
def test_a_marked_corpus_shows_its_mark_and_is_made_once(
    model: Any, mark: TeacherMark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = some_prompts(16, 6)
    made = corpus.make(tmp_path, model, asked, length=40, temperature=1.0, barred=[0], mark=mark)
    monkeypatch.setattr(corpus, "sample", lambda *given, **named: pytest.fail("was made again"))
    again = corpus.make(tmp_path, model, asked, length=40, temperature=1.0, barred=[0], mark=mark)
    np.testing.assert_array_equal(made.answers, again.answers)
    (file,) = tmp_path.iterdir()
    for number in mark.key.reveal():
        assert str(number).encode() not in file.read_bytes() and str(number) not in file.name
    assert [len(d) for d in made.documents()] == [46] * 16


def test_an_unmarked_corpus_is_refused_with_figures_and_not_kept(model: Any, tmp_path: Path) -> None:
    nothing = TeacherMark(GREEN.key, {"delta": 0.0})
    with pytest.raises(AssumptionViolated, match=r"pairs, mean score 0\.\d+, log10 p -?\d"):
        corpus.make(tmp_path, model, some_prompts(16, 6), length=40, temperature=1.0, mark=nothing)
    assert not list(tmp_path.iterdir())


def test_a_context_that_comes_again_is_left_unmarked_where_the_engine_does(model: Any) -> None:
    """With width 1 and every repeat marked, an answer would run in a circle."""
    mark = TeacherMark(GUMBEL.key, {"context_width": 1}, {"context_width": 1})
    answers = sample(model, some_prompts(8, 6), length=120, barred=[0], mark=mark, seed=1)
    followers = {
        (row, a): set(answers[row, 1:][answers[row, :-1] == a])
        for row in range(8)
        for a in set(answers[row, :-1])
    }
    often = [f for (row, a), f in followers.items() if (answers[row, :-1] == a).sum() >= 4]
    assert often and np.mean([len(f) > 1 for f in often]) > 0.5


def test_sampling_refuses_what_it_cannot_do(model: Any) -> None:
    for wrong in ({"prompts": []}, {"temperature": 0.0}, {"length": 0}):
        with pytest.raises(InputError, match="1 id or more"):
            sample(model, **{"prompts": some_prompts(1, 3), "length": 2, "temperature": 1.0, **wrong})


def lessons(number: int = 24) -> Corpus:
    rng = np.random.default_rng(5)
    return Corpus(tuple(some_prompts(number, 4, 6)), rng.integers(1, 40, (number, 10)))


def weights(model: Any) -> np.ndarray:
    return np.concatenate([w.detach().float().numpy().ravel() for w in model.state_dict().values()])


def test_training_lowers_the_loss_and_a_seed_decides_it(folder: Path, tmp_path: Path) -> None:
    found = []
    for number in range(2):
        student = load(folder)[0]
        costs = training.train(
            student, lessons(), tmp_path / str(number), held_out=lessons(), epochs=4, rate=1e-2, seed=1
        )
        assert costs.loss_after < costs.loss_before - 0.3
        assert costs.answer_tokens == 4 * 24 * 10 and costs.read_tokens == 4 * 24 * 15
        assert costs.cpu_seconds > 0
        found.append(weights(student))
    np.testing.assert_array_equal(found[0], found[1])


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{here!r}]
import test_teaching as t
t.torch.set_num_threads(1)
t.training.train(t.load(Path({folder!r}))[0], t.lessons(80), Path({place!r}), held_out=t.lessons(), epochs=40,
    rate=1e-3, seed=2, save_every=20)
"""


def test_a_killed_training_is_taken_up_and_ends_where_it_would_have(folder: Path, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    code = KILLED.format(here=here, folder=str(folder), place=str(tmp_path / "killed"))
    running = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    limit = time.monotonic() + 240
    while not list((tmp_path / "killed").glob("checkpoint-*/trainer_state.json")):
        assert running.poll() is None and time.monotonic() < limit, "it ended before a checkpoint was there"
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    found = []
    for place in ("killed", "whole"):
        student = load(folder)[0]
        training.train(
            student,
            lessons(80),
            tmp_path / place,
            held_out=lessons(),
            epochs=40,
            rate=1e-3,
            seed=2,
            save_every=20,
        )
        found.append(weights(student))
    np.testing.assert_array_equal(found[0], found[1])


def test_the_loss_counts_answers_only(model: Any) -> None:
    given = lessons(5)
    wanted, tokens = 0.0, 0
    with torch.inference_mode():
        for ids, prompt in zip(given.documents(), given.prompts, strict=True):
            logs = torch.log_softmax(model(torch.from_numpy(ids)[None]).logits[0, :-1].float(), -1).numpy()
            own = logs[np.arange(len(ids) - 1), ids[1:]][len(prompt) - 1 :]
            wanted, tokens = wanted - own.sum(), tokens + len(own)
    assert training.loss(model, given) == pytest.approx(wanted / tokens, rel=5e-3)  # bfloat16


def test_the_cells_are_one_centre_and_one_factor_at_a_time() -> None:
    cells = grid()
    assert len({student.digest(cells) for student in cells.students.values()}) == len(cells.students)
    assert cells.students["centre"].share == 0.25
    quarter, half = (replace(cells.students["centre"], share=s) for s in (0.25, 0.5))
    assert len(marked_places(quarter)) == 160 and set(marked_places(quarter)) < set(marked_places(half))


def test_held_out_prompts_have_topics_of_their_own() -> None:
    taught, held_out = prompts.texts("topics"), prompts.texts("held_out")
    assert not set(taught) & set(held_out) and len(taught) == 960 and len(held_out) == 144


def best(line: dict[str, Any]) -> float:
    return min(test.get("log10_p", 0.0) for test in line["tests"])


def test_a_student_from_first_answer_to_last_test(folder: Path, tmp_path: Path) -> None:
    cells = grid()
    small = replace(
        cells,
        teacher=Teacher(answers=32, held_out=12, length=40, temperature=1.0, batch=16),
        corpora={
            "plain": Marked("plain"),
            "red_green": Marked("red_green", "transformers_red_green", {"delta": 5.0}),
            "gumbel": Marked("gumbel", "vllm_gumbel", {"context_width": 1}, {"context_width": 1}),
        },
    )
    shop = Workshop(tmp_path / "shop", folder, small)
    for name in ("red_green", "gumbel"):
        student = replace(cells.students["all"], corpus=name, answers=32, epochs=6, rate=1e-2)
        line = shop.tested(student)
        assert line == json.loads(json.dumps(line)) | {"costs": line["costs"]}
        found = {test["test"]: test for test in line["tests"]}
        assert set(found) >= {
            "supervised",
            "supervised, overlap 0.25",
            "plain",
            "closed",
            "closed, encoded again",
        }
        assert ("green mass" in found) == (name == "red_green")
        assert best(line) < -3, line["tests"]
        number = str(shop.mark(student).key.reveal()[0])
        assert number not in json.dumps(line)
        assert (tmp_path / "shop" / "predictions" / f"{line['digest']}-{name}" / "supervised.npz").exists()
        assert shop.tested(student)["tests"] == line["tests"]
    untrained = shop.tested(student, untrained=True)
    assert best(untrained) > -3


def test_what_a_harvester_does_to_answers(folder: Path, tmp_path: Path) -> None:
    cells = grid()
    parent = replace(
        cells.students["all"], name="all", corpus="red_green", answers=16, epochs=2, rate=1e-2, share=1.0
    )
    small = replace(
        cells,
        teacher=Teacher(answers=32, held_out=12, length=24, temperature=1.0, batch=16),
        corpora={
            "plain": Marked("plain"),
            "red_green": Marked("red_green", "transformers_red_green", {"delta": 5.0}),
        },
        students={"all": parent},
    )
    shop = Workshop(tmp_path / "shop", folder, small)
    marked, plain = shop.corpus("red_green").answers, shop.corpus("plain").answers
    served = shop.probes(parent).served.answers
    assert (shop.lessons(parent).answers == marked[:16]).all() and (served == marked[:12]).all()

    later = replace(parent, begins="all", share=0.0, first=16)
    assert (shop.lessons(later).answers == plain[16:]).all()
    assert (shop.probes(later).served.answers == served).all()
    assert later.digest(small) != replace(parent, share=0.0, first=16).digest(small)
    begun = shop.base(later)[0].state_dict()
    kept = load(shop.trained(parent))[0].state_dict()
    assert all(torch.equal(begun[name], kept[name]) for name in kept)

    kept = shop.lessons(replace(parent, harvest="filtered"))
    rows = {tuple(answer) for answer in marked[:16]}
    assert len(kept) == 8 and all(tuple(answer) in rows for answer in kept.answers)
    likely = [
        training.loss(shop.teacher.weights, part) for part in (kept, shop.corpus("red_green").rows(range(16)))
    ]
    assert likely[0] < likely[1]

    anew = shop.lessons(replace(parent, harvest="paraphrased"))
    assert len(anew) == 16 and (anew.answers != marked[:16]).any(axis=1).all()
    texts = shop.teacher.decode(list(marked[:2]))
    for i, ids in enumerate(harvests.asking_for_paraphrases(list(marked[:2]), texts, shop.teacher.prompted)):
        assert (ids == shop.teacher.prompted(harvests.ASK + texts[i])).all()

    taught = shop.lessons(replace(parent, taught_by="all"))
    assert (taught.answers != marked[:16]).any() and len(taught) == 16
    for wrong in ('begins = "nobody"', 'harvest = "eaten"', "first = 9999", "merges = 0.0"):
        path = tmp_path / "wrong.toml"
        text = cells_file.read_text("utf-8").replace("[student.centre]\n", f"[student.centre]\n{wrong}\n")
        path.write_text(text, "utf-8")
        with pytest.raises(InputError, match="student 'centre'"):
            grid(path)


def test_lists_drawn_once_for_all_texts_give_what_each_reading_gives() -> None:
    rng = np.random.default_rng(2)
    windows = rng.integers(0, VOCABULARY, (300, 2))
    text = rng.integers(0, VOCABULARY, 400)
    given = {
        "windows": probing.Text(windows.ravel(), 2 * np.arange(1, 301), True),
        "text": probing.Text(text, np.array([150, 400]), False),
    }
    decoys = MASTER.decoys("transformers_red_green", Scope(), 200)
    found = probing.tested(given, GREEN, decoys, VOCABULARY)
    for name, one in given.items():
        wanted = radioactivity.test(
            one.tokens, one.ends, GREEN.key.as_read(), decoys=[k.as_read() for k in decoys],
            scheme="transformers_red_green", parameters={"vocab_size": VOCABULARY},
        )  # fmt: skip
        assert found[name] == wanted
