"""``stillwatch watermark mark``: write texts that carry the mark of a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import output
from stillwatch.cli._detect_screen import LN10
from stillwatch.cli._new_file import written
from stillwatch.cli._options import HOME, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyArgument, KeyOption

if TYPE_CHECKING:
    from stillwatch.marks.detecting import Found


def add_to(app: typer.Typer) -> None:
    """Hang the command of this file into ``stillwatch watermark``."""
    app.command("mark")(mark)


def mark(
    name: KeyArgument,
    model: Annotated[Path, typer.Option("--model", help="Folder of a model, or a GGUF file.")],
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="A prompt; repeat it.")] = None,
    prompts: Annotated[
        str, typer.Option("--prompts", metavar="FILE", help="Prompts, one a line, or JSON lines with prompt.")
    ] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", help="0 or above; most marks need more.")
    ] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Likeliest tokens that are sampled from.")] = 1.0,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers to each prompt.")] = 1,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Answers at a time.")] = 8,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, or bfloat16.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same answers.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New file for the answers as JSON lines; else they are printed."),
    ] = None,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Answers of a model on this machine with the mark of a key, and how strongly they carry it."""
    import numpy as np

    from stillwatch.cli.watermark_keys import master_of
    from stillwatch.errors import InputError
    from stillwatch.marks.detecting import Corpus
    from stillwatch.marks.generation import marking
    from stillwatch.marks.register import Register
    from stillwatch.marks.served_keys import candidates
    from stillwatch.models.local import Local

    asked = [*(prompt or []), *_prompts(prompts)]
    if not asked:
        raise InputError("give a --prompt, or --prompts with a file of them")
    if out is not None and out.exists():
        raise InputError(f"{out}: there is a file already; it is not written over")
    master = master_of(key, key_command, workspace)
    serving = Register(workspace / "marks" / "register.jsonl").current(name)
    drawn = master.key(serving.scheme, serving.scope)
    if drawn.fingerprint != serving.fingerprint:
        raise InputError(
            f"key {serving.fingerprint} comes from master {serving.master}; the one given is {master.fingerprint}"
        )
    local = Local(model, dtype=dtype, batch=batch)
    settings = _at_generation(serving.scheme, serving.parameters)
    local.mark = marking(serving.scheme, drawn, settings, rng=np.random.default_rng(seed))
    answers = local.complete(
        asked, max_tokens=max_tokens, temperature=temperature, top_p=top_p, samples=samples, seed=seed
    )
    with written(out, True) as write:
        assert write is not None
        for text, row in zip(asked, answers, strict=True):
            for one in row:
                write({
                    "prompt": text, "text": one.text, "tokens": list(one.tokens), "key": serving.fingerprint,
                    "scheme": serving.scheme, "parameters": serving.parameters,
                })  # fmt: skip
    # Made here, on the CPU, whatever the device of the key's engine is.
    from dataclasses import replace

    tried, unread = candidates(
        [replace(serving, device="cpu")], master, parameters={"vocab_size": local.vocabulary}
    )
    if unread:
        raise InputError(f"the answers are written, but cannot be read back: the key {unread[0].why}")
    corpus = Corpus(tried, master)
    ids = [np.array(one.tokens, np.int64) for row in answers for one in row]
    corpus.add(np.concatenate(ids), np.cumsum([len(one) for one in ids], dtype=np.int64))
    _read_back(corpus.found()[0], out, model, workspace)


def _at_generation(scheme: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the register without those that only a reader takes, such as `vocab_size`."""
    from inspect import signature

    from stillwatch.marks.widths import reader

    module = reader(scheme)
    both = {"alpha", "context_history_size", "max_contexts"}
    dropped = set(signature(module.read).parameters) - set(signature(module.mark).parameters) - both
    return {name: value for name, value in parameters.items() if name not in dropped}


def _prompts(file: str) -> list[str]:
    from stillwatch.cli._documents import Bad, batches
    from stillwatch.errors import InputError
    from stillwatch.logs.sources import expand

    if not file:
        return []
    found: list[str] = []
    for source in expand([file]):
        as_json = source.name.endswith((".jsonl", ".ndjson", ".json"))
        for batch in batches(source, [0], Bad(), column="prompt" if as_json else "", lines=not as_json):
            if batch.texts is None:
                raise InputError(f"{source.name}: a prompt is text")
            found += batch.texts
    return found


def _read_back(one: Found, out: Path | None, model: Path, workspace: Path) -> None:
    say = output.line if out else output.note
    if one.log_p is None or one.mean is None or one.chance is None:
        say(f"Too little text to read the mark back: {one.pairs} pairs of {one.need} that it takes.")
        return
    say(
        f"Read back: {one.pairs:,} pairs, mean {one.mean:.4f} instead of {one.chance:.4f} (strength "
        f"{one.mean - one.chance:.4f}), log10 p {one.log_p / LN10:.1f}, rank {one.rank} of {one.drawn + 1}."
    )
    if out:
        where = "" if workspace == HOME else f" --workspace {workspace}"
        say(f"Next: stillwatch watermark detect {out} --tokenizer {model}{where}")
