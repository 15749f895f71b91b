"""``stillwatch model``: questions about a model that somebody else trained."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import _asked, _filing, _model_screen, output
from stillwatch.cli._options import HOME, ByOption, JsonOption, StoreOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption, master_of

if TYPE_CHECKING:
    from stillwatch.attribution.asking import Asked
    from stillwatch.attribution.plan import Plan
    from stillwatch.attribution.suspect import Suspect
    from stillwatch.models.protocol import Model
    from stillwatch.records import Finding, Run

app = typer.Typer(help="Questions about a model that somebody else trained.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Questions about a model that somebody else trained."""


@app.command("attribute")
def attribute(
    suspect: Annotated[
        Path,
        typer.Option("--suspect", help="A Hugging Face folder, a GGUF file, or recorded answers (.jsonl)."),
    ],
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", help="What we served.", show_default="marks/ledger in the workspace"),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option("--probe", help="Texts nobody was served: JSON lines, text or tokens; key if marked."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="Text that the suspect wrote: JSON lines, text or tokens.")
    ] = None,
    ask: Annotated[
        Path | None, typer.Option("--ask", help="Prompts that the suspect answers now: JSON lines.")
    ] = None,
    canaries: Annotated[
        Path | None, typer.Option("--canaries", help="Probe set of: stillwatch watermark canaries.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="Prompts of served twins: JSON lines, exchange_id and prompt."),
    ] = None,
    twins_published: Annotated[
        Path | None,
        typer.Option(
            "--twins-published", help="What was published of days of twins: commitments and tallies."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="A model that saw none of our answers, such as the base."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", help="What it was trained from, they say: weights on hand, one vocabulary, --probe."
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Tokenizer of the model that served, if it is another.")
    ] = None,
    suspect_tokenizer: Annotated[
        Path | None,
        typer.Option("--suspect-tokenizer", help="With recorded answers: the suspect's tokenizer."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY", help="Fingerprint of a key to test; else all."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Served answers for each key.")] = 400,
    decoys: Annotated[int, typer.Option("--decoys", help="Drawn keys of the null, 200 or more.")] = 200,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Supported below it, after all corrections.")
    ] = 1e-5,
    seed: Annotated[
        int, typer.Option("--seed", help="Of what is picked from the ledger and of sampling.")
    ] = 0,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Keep the suspect's answers here; what is there is not asked."),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or bfloat16.")] = "float32",
    case: Annotated[str, typer.Option("--case", help="File plan and finding here: C-1, or new.")] = "",
    head: Annotated[
        str, typer.Option("--head", help="Digest of an entry of the register that was noted elsewhere.")
    ] = "",
    key: KeyOption = None,
    key_command: CommandOption = "",
    by: ByOption = "",
    json: JsonOption = False,
    workspace: WorkspaceOption = HOME,
    store: StoreOption = "",
) -> None:
    """Was this model trained on what we served? Tests that rest on randomness of ours: marks, twins, canaries."""
    from stillwatch.attribution.asking import tests
    from stillwatch.attribution.attribute import adjusted, finding
    from stillwatch.attribution.plan import Plan, digest_of_model, keys_of
    from stillwatch.errors import InputError

    if not 0 < alpha <= 0.05:
        raise InputError(f"--alpha lies above 0 and not above 0.05, found {alpha:g}")
    if limit < 1:
        raise InputError(f"--limit is 1 or more, found {limit}")
    given = _asked.Given(
        workspace,
        ledger,
        probe,
        texts,
        ask,
        canaries,
        prompts,
        twins_published,
        keys or [],
        decoys,
        limit,
        seed,
        head,
    )
    asked, groups, left_out, notes = _asked.materials(given, lambda: master_of(key, key_command, workspace))
    digest = digest_of_model(suspect) if suspect.exists() else ""
    ready = _suspect(suspect, digest, tokenizer, suspect_tokenizer, record, dtype)
    held = _model(reference, dtype) if reference else None
    before = held if base == reference else _model(base, dtype) if base else None
    if before is not None and base:
        _asked.for_base(asked, ready, before)
    settings = _settings(ready, reference, base, tokenizer, suspect_tokenizer, dtype, given, len(left_out))
    plan = Plan(
        {"name": suspect.stem, "sha256": digest}, alpha, keys_of(groups), asked.probes(), settings, seed
    )
    notes = [*left_out, *notes, *_caveats(asked, ready, settings, bool(tokenizer))]
    opened, filed = _commit(plan, case, by, workspace, store)
    with output.progress("asking") as update:
        rows = adjusted(
            tests(
                asked, ready, groups, reference=held, base=before, seed=seed,
                on_asked=lambda done, total: update(done / max(total, 1), f"{done:,} of {total:,} documents"),
            )
        )  # fmt: skip
    run = _run(plan, seed)
    found = finding(rows, plan, run=run.id, notes=notes, evidence=filed)
    if opened:
        _file(opened, run, found, by, workspace, store)
    if json:
        output.json_lines([{"run": asdict(run), "finding": asdict(found)}])
    else:
        _model_screen.attribution(found, rows, opened)


def _suspect(
    path: Path, digest: str, tokenizer: Path | None, own: Path | None, record: Path | None, dtype: str
) -> Suspect:
    from stillwatch.attribution.suspect import Suspect
    from stillwatch.models.recorded import Recorded, Recorder
    from stillwatch.models.tokenizer import Tokenizer

    model = _model(path, dtype)
    cutting: Any = Tokenizer(own) if own else None if isinstance(model, Recorded) else model
    if record and not isinstance(model, Recorded):
        model = Recorder(model, record, digest=digest)
    return Suspect(model, cutting, Tokenizer(tokenizer) if tokenizer else None)


def _settings(
    suspect: Suspect,
    reference: Path | None,
    base: Path | None,
    tokenizer: Path | None,
    own: Path | None,
    dtype: str,
    given: _asked.Given,
    left_out: int,
) -> dict[str, Any]:
    """What else decides a result, for the plan: anything that is not here cannot be chosen afterwards."""
    from stillwatch.attribution import asking
    from stillwatch.attribution.plan import digest_of_model
    from stillwatch.models.recorded import Recorded, Recorder

    chain, said = given.workspace / "marks" / "register.jsonl", given.twins_published
    model = suspect.model
    known = model.size if isinstance(model, Recorded) else model.known if isinstance(model, Recorder) else 0
    return {
        "reference_sha256": digest_of_model(reference) if reference else "",
        "base_sha256": digest_of_model(base) if base else "",
        "tokenizer_sha256": digest_of_model(tokenizer) if tokenizer else "",
        "suspect_tokenizer_sha256": digest_of_model(own) if own else "",
        "register_sha256": digest_of_model(chain) if chain.exists() else "",
        "twins_published_sha256": digest_of_model(said) if said else "",
        "register_head": given.head,
        "dtype": dtype,
        "answer_tokens": asking.ANSWER_TOKENS,
        "samples": asking.SAMPLES,
        "keys_left_out": left_out,
        "answers_known_before": known,
        "recording": isinstance(model, Recorded),
    }


def _caveats(asked: Asked, suspect: Suspect, settings: dict[str, Any], told: bool) -> list[str]:
    """What a reader of the finding has to know about how it was come by."""
    found = []
    if known := settings["answers_known_before"]:
        found.append(f"{known:,} answers of the suspect were known before this plan was committed.")
    if settings["recording"]:
        found.append("What was read is a recording; nothing here shows which model gave it.")
    if asked.served and all(d.text is None for d in asked.served) and not told:
        found.append(
            "The suspect's tokenizer was taken for the teacher's: the ledger has no text that would show it."
        )
    if asked.served or asked.written or asked.prompts or asked.plain or asked.fresh:
        found.append(_since_when(str(settings["register_head"])))
    return found


def _since_when(head: str) -> str:
    if head:
        return (
            f"The register goes through the entry {head}, which was noted elsewhere. That this was before the model "
            "existed is for whoever noted it to show."
        )
    return (
        "That these keys served before the model existed is shown by the register's seal alone; --head holds the "
        "register against a digest that was noted elsewhere."
    )


def _model(path: Path, dtype: str) -> Model:
    from stillwatch.errors import InputError
    from stillwatch.models.local import Local
    from stillwatch.models.recorded import Recorded

    if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
        raise InputError(
            "an endpoint cannot be asked yet; record its answers, or give the text that it wrote: --texts"
        )
    return Recorded(path) if path.suffix == ".jsonl" else Local(path, dtype=dtype)


def _commit(plan: Plan, case: str, by: str, workspace: Path, store: str) -> tuple[str, list[str]]:
    """Show the digest of the plan, and file the plan in the case, before anything is asked.

    Returns the case's id, and the sha256 of what was filed.
    """
    commitment, filed = plan.commitment(), []
    if case:
        with _filing.store(workspace, store, create=True) as cases:
            if case == _filing.NEW:
                case = cases.open(
                    f"Was {plan.suspect['name']} trained on our answers?",
                    subjects=[plan.suspect["name"]],
                    by=_filing.whoever(by),
                ).id
            kept = cases.add_evidence(
                case, json_.dumps(asdict(plan), sort_keys=True, indent=1).encode(),
                media_type="application/json", role="plan of an attribution", origin=f"plan {commitment[:12]}",
                by=_filing.whoever(by), personal_data=False,
            )  # fmt: skip
            filed.append(kept.sha256)
    where = f" (filed in {case})" if case else ""
    output.note(f"plan committed before the first question: sha256 {commitment}{where}")
    return case, filed


def _run(plan: Plan, seed: int) -> Run:
    from stillwatch import __version__
    from stillwatch.records import Run

    return Run(
        version=__version__,
        command="model attribute",
        config={
            "alpha": plan.alpha,
            "keys": list(plan.keys),
            "probes": plan.probes,
            "settings": {k: v for k, v in plan.settings.items() if k != "answers_known_before"},
        },
        inputs={"suspect": plan.suspect["sha256"], "plan": plan.commitment()},
        seed=seed,
    )


def _file(case: str, run: Run, found: Finding, by: str, workspace: Path, store: str) -> None:
    with _filing.store(workspace, store) as cases:
        cases.add_many(case, [run, found], by=_filing.whoever(by))
    output.note(f"{case}: 1 finding filed")
