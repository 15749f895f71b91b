"""``stillwatch lab distill``: a run, and what it came to, on a screen."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import output

if TYPE_CHECKING:
    from stillwatch.lab.distill.costs import Prices
    from stillwatch.lab.distill.run import Inputs
    from stillwatch.lab.distill.settings import Settings

RATES = {"full": 1e-4, "adapters": 5e-4, "scratch": 1e-3}
"""Learning rates where none is given: of all weights, of adapters, of a student from scratch."""
STAGES = {"wall_seconds": "SECONDS", "cpu_seconds": "CPU SECONDS", "gpu_seconds": "GPU SECONDS"}


def run(
    out: Path, inputs: Inputs, settings: Settings, prices: Prices, *, save_every: int, as_json: bool
) -> None:
    """Distill, and print what came of it."""
    _quiet()
    from stillwatch.lab.distill.run import distill

    with output.progress("distilling") as update:
        words = ""

        def stage(said: str) -> None:
            nonlocal words
            words = said
            update(0.0, words)

        found = distill(
            out,
            inputs,
            settings,
            prices,
            save_every=save_every,
            on_stage=stage,
            on_progress=lambda done, of: update(done / of, f"{words}, {done:,} of {of:,}"),
        )
    assert found is not None  # nothing stops it but an interrupt
    if as_json:
        output.line(json.dumps({"out": str(out), **found}))
        return
    _judged(found["evaluation"])
    output.line()
    _paid(found["costs"])
    output.line()
    output.line(f"Weights and tokenizer, in Hugging Face's format: {out}")
    if settings.lora:
        output.line("The weights hold the adapters, which stand in adapter/ too.")


def rate(given: float | None, *, scratch: bool, lora: int) -> float:
    """The learning rate: as given, else one for what is trained."""
    return given if given is not None else RATES["scratch" if scratch else "adapters" if lora else "full"]


def _judged(evaluation: dict[str, Any]) -> None:
    from stillwatch.lab.distill.judging import WORDS

    rows = [
        (
            WORDS[name],
            *(_between(parts[part], signed=part == "change") for part in ("before", "after", "change")),
        )
        for name, parts in evaluation["measures"].items()
    ]
    output.table(rows, ["MEASURE", "BEFORE", "AFTER", "CHANGE"])
    own = evaluation.get("loss of the teacher")
    output.line(f"{evaluation['prompts']} held-out answers, {evaluation['tokens']:,} tokens; nats a token.")
    output.line("Intervals are at 95%, over prompts.")
    if own:
        output.line(f"The teacher's own loss on these answers is {own['value']:.3f}.")
    if cut := evaluation["answers cut"]:
        of = evaluation["trained on"] + evaluation["prompts"]
        output.line(
            f"{cut:,} of {of:,} answers do not end by themselves: they were cut, at --length or before."
        )


def _paid(sheet: dict[str, Any]) -> None:
    named = [name for name in STAGES if any(name in amounts for amounts in sheet["stages"].values())]
    rows = [
        (
            stage,
            *(f"{amounts.get(name, 0.0):,.1f}" for name in named),
            _money(amounts["machine"]),
            _tokens(amounts),
        )
        for stage, amounts in sheet["stages"].items()
    ]
    seconds = [STAGES[name] for name in named]
    output.table(rows, ["STAGE", *seconds, "MONEY", "TOKENS"], right=[*seconds, "MONEY"], words=True)
    stated = sheet["stated"]
    output.line(
        f"machine, {sheet['wall_seconds'] / 3600:.3f} h on {sheet['device']}: {_money(sheet['machine'])}"
        + ("" if stated["hour"] is None else f" at {stated['hour']:g} an hour")
    )
    energy = sheet["kilowatt_hours"]
    output.line(
        "energy: not stated (--watts)"
        if energy is None
        else f"energy: {energy:.4g} kWh at {stated['watts']:g} W"
    )
    if "answers" in sheet["stages"]:
        output.line(
            "the same answers at the teacher's price: "
            + (
                "not stated (--price-input, --price-output)"
                if sheet["teacher"] is None
                else f"{sheet['teacher']:.4g} at {stated['input']:g} and {stated['output']:g} a million tokens"
            )
        )


def _tokens(amounts: dict[str, Any]) -> str:
    words = {
        "prompt_tokens": "of prompts",
        "answer_tokens": "answered by the teacher",
        "trained_tokens": "trained",
        "student_sampled_tokens": "sampled by the student",
        "teacher_read_tokens": "read by the teacher",
    }
    return ", ".join(f"{amounts[name]:,} {said}" for name, said in words.items() if name in amounts)


def _between(value: dict[str, float], *, signed: bool) -> str:
    sign = "+" if signed else ""
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def _money(value: float | None) -> str:
    return "not stated" if value is None else f"{value:.4g}"


def _quiet() -> None:
    """The libraries' own bars and warnings stay off the screen, and nothing is looked up in a network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    from stillwatch.extras import need

    logs = need("transformers").utils.logging
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
