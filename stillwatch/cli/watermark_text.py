"""``stillwatch watermark detect`` and ``mark``: read marks of our keys out of texts, and write texts that carry one."""

from __future__ import annotations

import json as json_
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillwatch.cli import output
from stillwatch.cli._options import HOME, JsonOption, WorkspaceOption
from stillwatch.cli.watermark_keys import CommandOption, KeyArgument, KeyOption

if TYPE_CHECKING:
    from stillwatch.cli._documents import Bad, Batch
    from stillwatch.marks.detecting import Corpus, Found
    from stillwatch.marks.keys import Master
    from stillwatch.marks.served_keys import Candidate, Unread
    from stillwatch.models.tokenizer import Tokenizer

BLOCK_TOKENS = 1 << 18
"""Tokens that are read at a time."""
BLOCK_CHARACTERS = 1 << 20
"""Characters that are turned into tokens at a time."""
SHOWN = 20
"""Keys in the table; all of them with --json."""
LN10 = 2.302585092994046

FilesArgument = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Texts or token ids: paths, globs or - for standard input."),
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="tokenizer.json, a folder with one, or a GGUF file; for texts."),
]


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this file into ``stillwatch watermark``."""
    app.command("detect")(detect)
    app.command("mark")(mark)


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
    single = _Single(len(tried))
    with _written(out, json or per_document) as write, output.progress("reading") as update:
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
            _write_all(write, corpus, found, unread, bad, single if per_document else None, alpha)
    if not json and (not per_document or out):
        _show(corpus, found, unread, alpha, strength, workspace)
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


class _Single:
    """What is said of single documents, and how many were looked at."""

    def __init__(self, keys: int) -> None:
        self.keys = keys
        self.logs = array("d")
        self.little = 0

    def __call__(self, corpus: Corpus, place: str, ids: Any) -> dict[str, Any]:
        """One line for one document: its best key, with p by itself and for all keys that were tried on it."""
        import math

        said: dict[str, Any] = {"kind": "document", "document": place, "tokens": len(ids), "keys": self.keys}
        best, tested = corpus.best(ids)
        if best is None or best.log_p is None:
            self.little += 1
            return said | {"too_little_text": True}
        over_keys = min(0.0, best.log_p + math.log(tested))
        self.logs.append(over_keys)
        return said | {
            "key": best.serving.fingerprint,
            "scheme": best.serving.scheme,
            "scope": str(best.serving.scope),
            "pairs": best.pairs,
            "mean": best.mean,
            "chance": best.chance,
            "log10_p": best.log_p / LN10,
            "log10_p_over_keys": over_keys / LN10,
        }

    def summary(self, alpha: float) -> dict[str, Any]:
        """How many documents were tested, and how many remain after correcting for all of them."""
        import math

        import numpy as np

        from stillwatch.stats.multiplicity import holm

        logs = np.frombuffer(self.logs, np.float64) if self.logs else np.zeros(0)
        remain = int((holm(logs) <= math.log(alpha)).sum())
        return {
            "documents_tested": len(logs),
            "documents_with_too_little_text": self.little,
            "documents_after_correction": remain,
            "log10_p_over_keys_of_the_last": float(np.sort(logs)[remain - 1]) / LN10 if remain else None,
        }

    def words(self, alpha: float) -> str:
        said = self.summary(alpha)
        n, remain = said["documents_tested"], said["documents_after_correction"]
        text = (
            f"{output.count(n, 'document')} tested by themselves, {self.little:,} had too little text. Without any "
            f"mark about {alpha * n:,.3g} would have a p of {alpha:g} or less, so no single p decides. Corrected for "
            f"all documents and keys (Holm, {alpha:g}): {output.count(remain, 'document')}"
        )
        last = said["log10_p_over_keys_of_the_last"]
        return f"{text}, those with log10_p_over_keys of {last:.2f} or less." if remain else f"{text}."


@contextmanager
def _written(out: Path | None, wanted: bool) -> Iterator[Callable[[dict[str, Any]], object] | None]:
    """Where JSON lines go: a new file, stdout, or nowhere.

    The file is called ``NAME.part`` until it is whole: what was cut off never has the name that was asked for.
    """
    from stillwatch.errors import InputError

    if out is None:
        yield (lambda row: output.json_lines([row])) if wanted else None
        return
    part = out.with_name(f"{out.name}.part")
    try:
        if out.exists():
            raise InputError(f"{out}: there is a file already; it is not written over")
        file = part.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        raise InputError(f"{out}: cannot be written: {problem.strerror}") from problem
    try:
        with file:
            yield lambda row: file.write(json_.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    except BaseException:
        if part.stat().st_size:
            output.note(f"{part}: what was written before it ended; it is not whole")
        else:
            part.unlink()
        raise
    part.replace(out)


def _write_all(
    write: Callable[[dict[str, Any]], object],
    corpus: Corpus,
    found: list[Found],
    unread: list[Unread],
    bad: Bad,
    single: _Single | None,
    alpha: float,
) -> None:
    from stillwatch.marks.detecting import detectable

    tested = sum(one.log_p is not None for one in found)
    for one in found:
        s = one.serving
        row: dict[str, Any] = {
            "kind": "key", "key": s.fingerprint, "scheme": s.scheme, "scope": str(s.scope), "begins": s.begins,
            "ends": s.ends, "pairs": one.pairs, "need": one.need,
        }  # fmt: skip
        if one.log_p is None or one.log_p_adjusted is None:
            write(row | {"too_little_text": True})
            continue
        write(row | {
            "mean": one.mean, "chance": one.chance, "log10_p": one.log_p / LN10,
            "log10_p_adjusted": one.log_p_adjusted / LN10, "carries": one.carries(alpha),
            "null": "exact" if one.exact else "rank among drawn keys", "rank": one.rank, "drawn": one.drawn,
            "drawn_say": one.drawn_say, "detectable": detectable(one, tested, alpha=alpha),
        })  # fmt: skip
    for other in unread:
        s = other.serving
        write(
            {
                "kind": "unread",
                "key": s.fingerprint,
                "scheme": s.scheme,
                "scope": str(s.scope),
                "why": other.why,
            }
        )
    write(
        {"kind": "summary", "documents": corpus.documents, "tokens": corpus.tokens, "keys": len(found),
         "keys_tested": tested, "alpha": alpha, "pairs_left_out": corpus.dropped, "passed_over": bad.count}
        | (single.summary(alpha) if single else {})
    )  # fmt: skip


def _show(
    corpus: Corpus, found: list[Found], unread: list[Unread], alpha: float, strength: float, workspace: Path
) -> None:
    rows = [
        (
            one.serving.fingerprint[:8],
            str(one.serving.scope),
            one.serving.scheme,
            one.pairs,
            *_numbers(one),
        )
        for one in found[:SHOWN]
    ]
    output.table(
        rows,
        ["KEY", "SCOPE", "SCHEME", "PAIRS", "MEAN", "CHANCE", "LOG10 P", "ADJUSTED", "RANK"],
        right=["MEAN", "CHANCE", "LOG10 P", "ADJUSTED", "RANK"],
    )
    if len(found) > SHOWN:
        output.line(f"{len(found) - SHOWN:,} more keys with larger p: --json")
    output.line()
    output.line(
        f"{output.count(corpus.documents, 'document')}, {output.count(corpus.tokens, 'token')}, "
        f"{output.count(len(found), 'key')}; ADJUSTED is over all keys (Holm)."
    )
    for text in _sentences(found, alpha, strength):
        output.line(text)
    if corpus.dropped:
        output.line(f"{corpus.dropped:,} pairs were left out: no room to remember them (--remember).")
    for other in unread:
        output.note(f"key {other.serving.fingerprint} ({other.serving.scheme}) was not read: {other.why}")
    where = "" if workspace == HOME else f" --workspace {workspace}"
    if any(one.carries(alpha) for one in found):
        output.line(f"Next: stillwatch watermark ledger find --like FILE{where}")
    else:
        output.line(f"Next: stillwatch watermark key list --all{where}")


def _numbers(one: Found) -> tuple[str, ...]:
    if one.log_p is None or one.log_p_adjusted is None or one.mean is None or one.chance is None:
        return ("-", "-", "too little", "-", "-")
    rank = "-" if one.rank is None else f"{one.rank} of {one.drawn + 1}"
    logs = (f"{one.log_p / LN10:.1f}", f"{one.log_p_adjusted / LN10:.1f}")
    return (f"{one.mean:.4f}", f"{one.chance:.4f}", *logs, rank)


def _sentences(found: list[Found], alpha: float, strength: float) -> Iterator[str]:
    """What it means, what it does not, and what could have been found."""
    from stillwatch.marks.detecting import POWER, detectable, pairs_needed

    tested = [one for one in found if one.log_p is not None]
    named = [one for one in tested if one.carries(alpha)]
    if not tested:
        most, need = max((one.pairs for one in found), default=0), max(one.need for one in found)
        yield f"Too little text: {most} distinct pairs were scored, and below {need} no number is given."
        return
    if unlike := [one for one in tested if not one.exact]:
        yield (
            f"On this text drawn keys do not score as they should ({unlike[0].drawn_say}): there p is the rank of the "
            "key among them, and cannot be small."
        )
    for one in named:
        yield (
            f"Text of key {one.serving.fingerprint} ({one.serving.scope}) is in it: without it a count like this comes "
            f"in one corpus of 10^{-(one.log_p_adjusted or 0.0) / LN10:.1f}, all keys that were tried allowed for."
        )
    if named:
        yield (
            "It says that answers we served under that key are among these texts. It does not say how they came there, "
            "nor that anything was trained on them."
        )
        return
    best = max(tested, key=lambda one: one.pairs)
    least = detectable(best, len(tested), alpha=alpha)
    yield f"No mark of {'this key' if len(tested) == 1 else f'these {len(tested):,} keys'} was found."
    if least is not None and best.chance is not None:
        yield (
            f"With {best.pairs:,} pairs a mean of about {best.chance + least:.4f} instead of {best.chance:.4f} would "
            f"have been found in {POWER:.0%} of corpora ({best.serving.scheme})."
        )
    if needed := pairs_needed(best, strength, len(tested), alpha=alpha):
        yield f"A mark of strength {strength:g} takes about {needed:,} pairs, all marked; here are {best.pairs:,}."
    yield "That proves nothing: paraphrase, another tokenizer, other keys and cleaning leave no mark."


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
    with _written(out, True) as write:
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
