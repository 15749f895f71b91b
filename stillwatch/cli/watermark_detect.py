"""``stillwatch watermark detect``: read marks of our keys out of texts."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import output
from stillwatch.cli._detect_screen import Single, show, write_all
from stillwatch.cli._new_file import written
from stillwatch.cli._options import HOME, JsonOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyOption

if TYPE_CHECKING:
    from stillwatch.cli._documents import Bad, Batch
    from stillwatch.marks.keys import Master
    from stillwatch.marks.served_keys import Candidate, Unread
    from stillwatch.models.tokenizer import Tokenizer

BLOCK_TOKENS = 1 << 18
"""Tokens that are read at a time."""
BLOCK_CHARACTERS = 1 << 20
"""Characters that are turned into tokens at a time."""

FilesArgument = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Texts or token ids: paths, globs or - for standard input."),
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="tokenizer.json, a folder with one, or a GGUF file; for texts."),
]


def add_to(app: typer.Typer) -> None:
    """Hang the command of this file into ``stillwatch watermark``."""
    app.command("detect")(detect)


def detect(
    files: FilesArgument,
    tokenizer: TokenizerOption = None,
    column: Annotated[
        str, typer.Option("--column", help="Field or column with the text or the token ids.")
    ] = "",
    lines: Annotated[bool, typer.Option("--lines", help="Plain text holds one document a line.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY", help="Fingerprint of a key, or its beginning; repeat it."),
    ] = None,
    scheme: Annotated[
        list[str] | None, typer.Option("--scheme", help="Only keys of this scheme; repeat it.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Of the scheme, where the register lacks it."),
    ] = None,
    cut_outs: Annotated[
        bool, typer.Option("--cut-outs", help="Documents are pieces of answers, not whole ones.")
    ] = False,
    decoys: Annotated[
        int, typer.Option("--decoys", min=0, help="Drawn keys read beside the true ones: 200 or more, or 0.")
    ] = 200,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Chance of naming any key although there is no mark.")
    ] = 0.01,
    strength: Annotated[
        float,
        typer.Option("--strength", help="Of the mark, as `watermark mark` says it: how much text it takes."),
    ] = 0.0,
    per_document: Annotated[
        bool, typer.Option("--per-document", help="Each document by itself too, as JSON lines.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count rows that cannot be read, and go on.")
    ] = False,
    remember: Annotated[
        int, typer.Option("--remember", min=1, help="Most distinct pairs to remember; 32 bytes each at most.")
    ] = 1 << 26,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON lines into this new file; the table stays here.")
    ] = None,
    json: JsonOption = False,
    key: KeyOption = None,
    key_command: CommandOption = "",
    workspace: WorkspaceOption = HOME,
) -> None:
    """Do these texts carry a mark of one of our keys? Tries every key that ever served, and corrects for them all."""
    from stillwatch.cli._documents import Bad, in_pieces, outside
    from stillwatch.errors import InputError
    from stillwatch.logs.sources import expand
    from stillwatch.marks.detecting import Corpus

    if not 0 < alpha < 1:
        raise InputError(f"--alpha lies between 0 and 1, found {alpha:g}")
    sources, bad = expand(files), Bad(skip_bad)
    master, tried, unread = _tried(
        key, key_command, workspace, only or [], scheme or [], param or [], tokenizer, cut_outs
    )
    corpus = Corpus(tried, master, decoys=decoys, limit=remember)
    encode = _encoder(tokenizer)
    single = Single(len(tried))
    with written(out, json or per_document) as write, output.progress("reading") as update:
        size = sum(source.size for source in sources) or 1
        before = 0
        for source in sources:
            used = [0]
            for batch in _encoded(source, used, bad, column, lines, encode):
                outside(batch, corpus.vocabulary)
                for ids, ends, first in in_pieces(batch, BLOCK_TOKENS):
                    corpus.add(ids, ends)
                    if per_document and write:
                        begin = 0
                        for i, end in enumerate(ends.tolist()):
                            write(single(corpus, batch.place(first + i), ids[begin:end]))
                            begin = end
                update((before + used[0]) / size, f"{corpus.documents:,} documents  {corpus.tokens:,} tokens")
            before += source.size
        found = sorted(corpus.found(), key=lambda one: (one.log_p is None, one.log_p or 0.0))
        if write:
            write_all(write, corpus, found, unread, bad, single if per_document else None, alpha)
    if not json and (not per_document or out):
        show(corpus, found, unread, alpha, strength, workspace)
    if per_document:
        output.note(single.words(alpha))
    for text in bad.first:
        output.note(f"passed over: {text}")
    if bad.count > len(bad.first):
        output.note(f"passed over: {bad.count - len(bad.first):,} more")


def _tried(
    key: Path | None,
    command: str,
    workspace: Path,
    only: list[str],
    schemes: list[str],
    param: list[str],
    tokenizer: Path | None,
    cut_outs: bool,
) -> tuple[Master, list[Candidate], list[Unread]]:
    from stillwatch.cli.watermark_keys import _parameters, master_of
    from stillwatch.errors import InputError
    from stillwatch.marks.register import Register
    from stillwatch.marks.served_keys import candidates

    master = master_of(key, command, workspace)
    register = Register(workspace / "marks" / "register.jsonl")
    register.verify([master])
    added = _vocabulary_of(tokenizer) | _parameters(param)
    tried, unread = candidates(
        register.servings(), master, fingerprints=only, schemes=schemes, parameters=added, cut_outs=cut_outs
    )
    if not tried:
        first = unread[0]
        raise InputError(f"no key can be read here; {first.serving.fingerprint}: {first.why}")
    return master, tried, unread


def _vocabulary_of(tokenizer: Path | None) -> dict[str, Any]:
    """The size of the vocabulary that the configuration of a model says, if there is one beside the tokenizer."""
    if tokenizer is None:
        return {}
    beside = (tokenizer if tokenizer.is_dir() else tokenizer.parent) / "config.json"
    try:
        size = json_.loads(beside.read_text("utf-8")).get("vocab_size")
    except (OSError, ValueError, AttributeError):
        return {}
    return {"vocab_size": size} if isinstance(size, int) else {}


def _encoder(path: Path | None) -> Tokenizer | None:
    from stillwatch.models.tokenizer import Tokenizer

    return None if path is None else Tokenizer(path)


def _encoded(
    source: Any, used: list[int], bad: Bad, column: str, lines: bool, encoder: Tokenizer | None
) -> Iterator[Batch]:
    """Batches of token ids; texts are encoded about `BLOCK_CHARACTERS` at a time."""
    import numpy as np

    from stillwatch.cli._documents import Batch, batches
    from stillwatch.errors import InputError

    for batch in batches(source, used, bad, column=column, lines=lines):
        if batch.texts is None:
            yield batch
            continue
        if encoder is None:
            raise InputError(
                f"{batch.place(0) if batch.texts else batch.source}: is text; give --tokenizer with the tokenizer of "
                "the model that served, or give token ids"
            )
        first = 0
        while first < len(batch.texts):
            last, size = first, 0
            while last < len(batch.texts) and (last == first or size < BLOCK_CHARACTERS):
                size += len(batch.texts[last])
                last += 1
            # Half a character, as broken JSON has it, is none that a tokenizer takes.
            ids = encoder.encode([t.encode("utf-8", "replace").decode() for t in batch.texts[first:last]])
            ends = np.cumsum([len(one) for one in ids], dtype=np.int64)
            yield Batch(batch.source, batch.numbers[first:last], ids=np.concatenate(ids), ends=ends)
            first = last
