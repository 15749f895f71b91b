"""One distillation, from prompts to a student that was judged and paid for; what was broken off goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwatch import __version__
from stillwatch.errors import InputError
from stillwatch.extras import need
from stillwatch.lab.distill import asking, collecting, costs, judging, schooling, settings, speakers
from stillwatch.lab.distill.asking import Answer
from stillwatch.lab.distill.costs import Prices
from stillwatch.lab.distill.settings import COSTS, EVALUATION, Settings
from stillwatch.lab.distill.spending import Spent, Watch

WORK, ADAPTER = "unfinished", "adapter"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where all comes from; None: nothing, or what is built in."""

    teacher: Path | None
    student: Path | None
    """None: from scratch."""
    prompts: Path | None = None
    answers: Path | None = None
    """Answers that are there already; a teacher is then asked for none."""

    def check(self, told: Settings) -> None:
        """
        Raises
        ------
        InputError
            Something is missing, or two things do not go together.
        """
        if self.teacher is None and self.answers is None:
            raise InputError("answers come from a teacher or from a file; name one of both")
        if self.prompts is not None and self.answers is not None:
            raise InputError("a file of answers has its prompts in it; leave out one of both files")
        if self.teacher is None and told.level == "logits":
            raise InputError("at the level of logits the teacher itself is read; name it")
        if self.student is None and self.teacher is None:
            raise InputError("a student from scratch has the tokenizer of a teacher; name one")
        if self.student is None and told.lora:
            raise InputError(
                "adapters are laid around weights that know something; from scratch there are none"
            )

    def digests(self) -> dict[str, str]:
        """Of each that is given."""
        found = {}
        for name in ("teacher", "student"):
            if path := getattr(self, name):
                found[name] = settings.of_model(path)
        for name in ("prompts", "answers"):
            if path := getattr(self, name):
                found[name] = settings.of_file(path)
        return found


def distill(
    out: Path,
    inputs: Inputs,
    told: Settings,
    prices: Prices,
    *,
    save_every: int = 50,
    stop_after: int = 0,
    on_stage: Callable[[str], None] = lambda words: None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any] | None:
    """Collect answers, train, judge and count; what the folder has of it is not done again.

    Parameters
    ----------
    out
        For the student in Hugging Face's format with its tokenizer, ``settings.json``, ``answers.jsonl``,
        ``evaluation.json``, ``costs.json``, and with adapters ``adapter/``, which the weights beside it hold already.
        ``unfinished/`` stands there until all is done.
    prices
        They change no student: another run with others only counts anew.
    save_every
        Training steps between two checkpoints.
    stop_after
        Stop after so many training steps, as a broken run would; 0: never.

    Returns
    -------
    ``evaluation`` and ``costs`` as in the files. None: it was stopped.

    Raises
    ------
    InputError
        Files, models or settings that cannot be used, or a folder that holds something else.
    MissingExtra
        torch, transformers, or for adapters peft, are not installed.
    """
    told.check()
    prices.check()
    inputs.check(told)
    for module in ("torch", "transformers", "accelerate", *(["peft"] if told.lora else [])):
        need(module)
    ours = settings.claim(out, told, inputs.digests())
    if (out / EVALUATION).is_file():
        return _found(out, prices)
    asked, held_out = _asked(inputs, told)

    on_stage("loading models")
    device = speakers.device()
    watch = Watch(gpu=device.type != "cpu")
    teacher = speakers.teacher(inputs.teacher, told.dtype) if inputs.teacher else None
    student = speakers.student(inputs.student, told, teacher)
    odd = speakers.difference(student, teacher) if teacher else "no teacher"
    if told.level == "logits" and odd:
        raise InputError(
            f"probabilities of two vocabularies cannot be held together: {odd}; train on answers, at the level sequence"
        )
    # From here on the folder is this run's: what could be refused was.
    settings.write(out / settings.FILE, ours)
    work = out / WORK
    work.mkdir(exist_ok=True)
    spent = Spent(work / "spent.json", gpu=watch.gpu)
    spent.add("loading", watch.lap())
    if teacher is not None and inputs.answers is None:
        on_stage("collecting answers")
        asked, held_out = (
            collecting.collect(
                teacher,
                [one.prompt for one in part],
                out / settings.ANSWERS,
                length=told.length,
                temperature=told.temperature,
                seed=told.seed,
                spent=spent,
                on_progress=on_progress,
            )
            for part in (asked, held_out)
        )
    # At the level of logits both read the same ids, so the prompt stands in the teacher's form.
    form = teacher if teacher is not None and told.level == "logits" else student
    lessons, cut = speakers.lessons(asked, form, length=told.length, sampled=not odd)
    probes, cut_too = speakers.lessons(held_out, form, length=told.length, sampled=not odd)
    # A teacher that is asked in another form of prompt than the student is not judged in the student's.
    fits = teacher is not None and not odd and speakers.asked_alike(teacher, form, held_out)
    judge = teacher.weights if teacher is not None and fits else None

    on_stage("judging the student before")
    if not (work / "before.json").is_file():
        with spent.clock("judging before"):
            read = judging.read(student.weights, judge, probes, told.dtype)
        settings.write(work / "before.json", read)
    before = settings.read(work / "before.json")

    on_stage("training")
    weights = speakers.adapted(student.weights, told) if told.lora else student.weights
    whole = schooling.train(
        weights,
        lessons,
        work,
        told,
        ends=form.ends,
        teacher=teacher if told.level == "logits" else None,
        spent=spent,
        save_every=save_every,
        stop_after=stop_after,
        on_progress=on_progress,
    )
    if not whole:
        return None

    on_stage("judging the student after")
    if told.lora:
        weights.save_pretrained(out / ADAPTER, save_embedding_layers=False)
        (out / ADAPTER / "README.md").unlink(missing_ok=True)  # an empty form
        weights = weights.merge_and_unload()
    weights = weights.to(getattr(need("torch"), told.dtype)).eval()
    with spent.clock("judging after"):
        after = judging.read(weights, judge, probes, told.dtype)
    weights.save_pretrained(out)
    form.tokenizer.save_pretrained(out)
    evaluation = {
        **judging.held_together(before, after, seed=told.seed),
        "trained on": len(lessons),
        "answers cut": cut + cut_too,
        "parameters": sum(p.numel() for p in weights.parameters()),
        "made with": {
            "stillwatch": __version__,
            **{n: need(n).__version__ for n in ("torch", "transformers")},
        },
    }
    name = need("torch").cuda.get_device_name() if spent.gpu else "cpu"
    settings.write(out / COSTS, costs.sheet(spent.stages, prices, device=name))
    settings.write(out / EVALUATION, evaluation)
    shutil.rmtree(work)
    return _found(out, prices)


def _asked(inputs: Inputs, told: Settings) -> tuple[list[Answer], list[Answer]]:
    """What is trained on and what is held out: collected answers, or prompts whose answers are still missing."""
    given = asking.answers(inputs.answers) if inputs.answers is not None else []
    train, held = ([one.prompt for one in given], []) if given else asking.prompts(inputs.prompts)
    if not held:
        train, held = asking.apart(train, told.held_out, told.seed)
    if len(held) < told.held_out or len(train) < told.limit:
        raise InputError(
            f"there are {len(train)} prompts for training and {len(held)} held-out ones; {told.limit} and "
            f"{told.held_out} were asked for"
        )
    train, held = train[: told.limit or None], held[: told.held_out]
    if not given:
        return [Answer(prompt, "") for prompt in train], [Answer(prompt, "") for prompt in held]
    taken = set(train)
    # Prompts are the units of every interval, so one answer to each is judged by.
    first = {one.prompt: one for one in reversed(given)}
    return [one for one in given if one.prompt in taken], [first[prompt] for prompt in held]


def _found(out: Path, prices: Prices) -> dict[str, Any]:
    """A finished run; its sheet for these prices."""
    shutil.rmtree(out / WORK, ignore_errors=True)
    kept = settings.read(out / COSTS)
    stages = {
        name: {k: v for k, v in amounts.items() if k not in ("machine", "kilowatt_hours")}
        for name, amounts in kept["stages"].items()
    }
    sheet = costs.sheet(stages, prices, device=kept["device"])
    if sheet != kept:
        settings.write(out / COSTS, sheet)
    return {"evaluation": settings.read(out / EVALUATION), "costs": sheet}
