"""Text becomes integers, once.

`sketch` reads system text and prompt in Arrow and gives back one row of integers for each row of text, so that every
later step is SQL over integers and the text need not be kept. What counts as the same text: `normalise`.

`shingles`
    Hashes of 32 neighbouring bytes of the normalised text (system, newline, prompt), thinned by winnowing with a
    window of 32 (Schleimer, Wilkerson and Aiken 2003): any run of 63 bytes or more that two texts share gives them
    a shingle in common, wherever it stands, unless one text has more than 512. Distinct, in order of first place.
    Of more than 512 the first 128, the last 128 and the 256 smallest of the rest stay: a wrapper stands at the head
    or the tail, and the smallest are the same ones in every text. A text shorter than 32 bytes is one shingle.
    The hash is a polynomial in a secret odd base, mod 2^64, over the keyed hashes of its four 8-byte grams, with a
    keyed finaliser.
`minhash`
    32 values, one-permutation MinHash over all 8-byte grams, empty bins filled by optimal densification
    (Shrivastava 2017). The share of equal values estimates the Jaccard likeness J of two texts' sets of grams with
    standard error about sqrt(J (1 - J) / 32). Empty for an empty text.
`prompt_digest`, `system_digest`, `template_digest`
    SipHash-2-4 of the normalised text; of the template, with slots (quotations, numbers, links, back-ticked code)
    replaced by one byte each. The three are keyed apart and never equal one another but by chance.
`elicitation`
    Bits of `ELICITATION`.
`prompt_bytes`
    Length of the prompt as given, in bytes.

Hashes are uint64 in two's complement. With one key they are equal in every process and on every platform; without
the key a text cannot be tested against them. They are keyed hashes and no MAC of your data: 64 bits are too few to
stand for the text in a dispute, whoever holds the key can test guesses and can make collisions, and equal shingles
say "very probably the same 32 bytes", not "signed by us".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stillwatch.errors import SchemaError
from stillwatch.text.elicitation import ELICITATION, Automaton, automaton
from stillwatch.text.keying import Secrets, secrets
from stillwatch.text.normalise import Column, column, digit_ranges, fold_table, pieces, special_bytes

__all__ = [
    "ELICITATION",
    "MAX_SHINGLES",
    "MINHASH",
    "SCHEMA",
    "SHINGLE_BYTES",
    "WINDOW",
    "Sketch",
    "sketch",
    "sketch_batch",
]

SHINGLE_BYTES = 32
WINDOW = 32
MINHASH = 32
MAX_SHINGLES = 512
ENDS = 128  # of more than MAX_SHINGLES, so many stay at either end
BLOCK = 4 << 20  # bytes of text at a time; bounds the working memory

SCHEMA = pa.schema(
    [
        ("system_digest", pa.int64()),
        ("template_digest", pa.int64()),
        ("prompt_digest", pa.int64()),
        ("shingles", pa.list_(pa.int64())),
        ("minhash", pa.list_(pa.int32())),
        ("elicitation", pa.int32()),
        ("prompt_bytes", pa.int32()),
    ]
)
"""The columns of `Sketch.table`; names and types are those of the exchange table."""


@dataclass(frozen=True)
class Sketch:
    """The integers of a column of texts.

    Attributes
    ----------
    table
        One row for each row of text, columns `SCHEMA`. Where system and prompt are both null every column is null;
        where only the system is, `system_digest`; where only the prompt is, `prompt_digest` and `prompt_bytes`.
    normalised
        large_binary: normalised system, newline, prompt; null as the table is. None unless asked for.
    shingle_offsets
        list<int32>, parallel to `shingles`: where in `normalised` the 32 bytes of each shingle begin. None unless
        asked for.
    """

    table: pa.Table
    normalised: pa.LargeBinaryArray | None = None
    shingle_offsets: pa.ListArray | None = None


def sketch(
    prompt: pa.Array | pa.ChunkedArray,
    system: pa.Array | pa.ChunkedArray | None,
    *,
    key: bytes,
    with_text: bool = False,
) -> Sketch:
    """Turn texts into integers.

    Parameters
    ----------
    prompt, system
        Arrow text columns of one length: string or binary, also large, view or dictionary; nulls, slices and chunks
        are fine, and so is text that is no UTF-8. `system` None: nobody has system text.
    key
        32 secret bytes. Another key gives other hashes throughout; bits, lengths and offsets hardly depend on it.
    with_text
        Also give the normalised text and the place of each shingle in it.

    Returns
    -------
    Sketch

    Raises
    ------
    InputError
        The key is not 32 bytes long.
    SchemaError
        A column is no text, or the two differ in length.

    Notes
    -----
    Working memory beside input and output: about 70 MB, or 40 bytes for each byte of the longest row where that is
    more; the text is worked on in blocks of 4 MB. Releases the interpreter lock, so threads help. The loops are
    compiled at the first call and cached on disk; see `_kernel` for where, and what if that cannot be written.

    Examples
    --------
    >>> import pyarrow as pa
    >>> a = sketch(pa.array(["Say  HELLO to 12 people"]), None, key=bytes(32)).table
    >>> b = sketch(pa.array(["say hello to 7 people "]), None, key=bytes(32)).table
    >>> a["prompt_digest"] == b["prompt_digest"]
    True
    """
    secret = secrets(key)
    user = column(prompt, "prompt")
    n = len(user.valid)
    rules = column(pa.nulls(n, pa.large_binary()) if system is None else system, "system")
    if len(rules.valid) != n:
        raise SchemaError("system", f"{n} rows, as many as prompt", str(len(rules.valid)), "sketch")
    ends = np.cumsum(user.lengths + rules.lengths)
    blocks: list[tuple[pa.RecordBatch, pa.Array | None, pa.Array | None]] = []
    first = 0
    while first < n or not blocks:  # no rows make one empty block, so that the columns have their types
        done = ends[first - 1] if first else 0
        last = min(n, max(first + 1, int(np.searchsorted(ends, done + BLOCK, side="right"))))
        blocks.append(_block(user, rules, first, last, secret, with_text))
        first = last
    return Sketch(
        table=pa.Table.from_batches([block[0] for block in blocks]),
        normalised=pa.concat_arrays([block[1] for block in blocks]) if with_text else None,
        shingle_offsets=pa.concat_arrays([block[2] for block in blocks]) if with_text else None,
    )


def sketch_batch(batch: pa.RecordBatch, *, key: bytes) -> pa.RecordBatch:
    """Replace the columns `prompt` and, where there is one, `system` by the columns of `sketch`.

    Arrow in, Arrow out, so it can stand in any engine that maps over batches (Spark's `mapInArrow`, for one). The
    other columns keep their places and the new ones follow; a column of the same name that was there is replaced.

    Raises
    ------
    InputError
        The key is not 32 bytes long.
    SchemaError
        There is no column `prompt`, or a text column is no text.
    """
    present = batch.schema.names
    if "prompt" not in present:
        raise SchemaError("prompt", "a text column", f"columns {', '.join(present)}", "sketch_batch")
    system = batch["system"] if "system" in present else None
    made = sketch(batch["prompt"], system, key=key).table.combine_chunks()
    gone = {"prompt", "system", *SCHEMA.names}
    fields = [field for field in batch.schema if field.name not in gone]
    arrays = [batch[field.name] for field in fields]
    arrays += [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in made.columns]
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([*fields, *SCHEMA], metadata=batch.schema.metadata)
    )


@lru_cache(maxsize=1)
def _automaton() -> Automaton:
    return automaton()


def _block(
    user: Column, rules: Column, first: int, last: int, secret: Secrets, with_text: bool
) -> tuple[pa.RecordBatch, pa.Array | None, pa.Array | None]:
    """Rows first to last - 1: the columns, and if asked for the normalised text and the offsets of the shingles."""
    from stillwatch.text import _kernel  # brings numba, so only where it is needed

    p, q, words = pieces(user, first, last), pieces(rules, first, last), _automaton()
    n = last - first
    source = (p.end - p.start) + (q.end - q.start)
    # a lower-case letter may take 3 bytes where the capital took 2
    longest = 2 * int(source.max(initial=0)) + 16
    space, template = np.empty(longest, np.uint8), np.empty(longest, np.uint8)
    grams = np.empty(longest, np.uint64)
    value, kept, place = np.empty(longest, np.int64), np.empty(longest, np.int64), np.empty(longest, np.int32)
    ascii_fold = fold_table()[:256].astype(np.uint8)  # the upper half is never looked up
    digests = np.empty((3, n), np.int64)
    minhash, elicitation, count = (
        np.empty((n, MINHASH), np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
    )
    # about one byte in 16 begins a shingle; where the room is too small the loop comes back for more
    shingles = np.empty(int(source.sum()) // 12 + 2 * MAX_SHINGLES, np.int64)
    places = np.empty(len(shingles), np.int32)
    keep = np.empty(2 * int(source.sum()) + n + 1 if with_text else 0, np.uint8)
    keep_end = np.zeros(n, np.int64)
    runs, run_places, row = [], [], 0
    while True:
        row, used = _kernel.sketch_rows(
            row, p.data, p.start, p.end, p.is_utf8, q.data, q.start, q.end, q.is_utf8, ascii_fold, fold_table(),
            digit_ranges(), special_bytes(), secret.shingle, secret.gram, secret.dense, secret.sip, words.trans,
            words.classes, words.first, words.width, words.reach, words.said, words.needs, words.fires, space,
            template, grams, value, kept, place, MAX_SHINGLES, ENDS, digests[0], digests[1], digests[2], minhash,
            elicitation, count, shingles, places, keep, keep_end,
        )  # fmt: skip
        runs.append(shingles[:used].copy())
        run_places.append(places[:used].copy())
        if row == n:
            break
    has_prompt, has_system = user.valid[first:last], rules.valid[first:last]
    has_text = has_prompt | has_system
    size = np.minimum(user.lengths[first:last], np.iinfo(np.int32).max)
    batch = pa.RecordBatch.from_arrays(
        [
            _where(has_system, pa.array(digests[0])),
            _where(has_text, pa.array(digests[1])),
            _where(has_prompt, pa.array(digests[2])),
            _lists(count, pa.array(np.concatenate(runs)), has_text),
            _lists(
                np.where(count > 0, MINHASH, 0),
                pa.array((minhash if count.all() else minhash[count > 0]).ravel()),
                has_text,
            ),
            _where(has_text, pa.array(elicitation)),
            _where(has_prompt, pa.array(size.astype(np.int32))),
        ],
        schema=SCHEMA,
    )
    if not with_text:
        return batch, None, None
    offsets = np.concatenate([[0], keep_end])
    bits = pa.array(has_text).buffers()[1]
    normalised = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), n, [bits, pa.py_buffer(offsets), pa.py_buffer(keep[: offsets[-1]].copy())]
    )
    return batch, normalised, _lists(count, pa.array(np.concatenate(run_places)), has_text)


def _where(valid: np.ndarray, values: pa.Array) -> pa.Array:
    """The values, null where not valid."""
    return pc.if_else(pa.array(valid), values, pa.scalar(None, values.type))


def _lists(count: np.ndarray, values: pa.Array, valid: np.ndarray) -> pa.ListArray:
    """Lists of `count` neighbouring values each, null where not valid (count is 0 there)."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(~valid))
