"""JSON to records, and nothing else: a hostile file gives an error with its place, never a half-right record.

A record that was written with `records.as_json` comes back equal, tuples included. Values keep their JSON type: an
integer where a number is meant stays an integer, because the digest of the record was made from it.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from stillwatch.errors import FormatError, InputError, IntegrityError

MAX_DEPTH = 100
"""Lists and objects inside one another. More would be too deep for some of what walks through a record."""

MAX_DIGITS = 300
"""Of an integer. One that is longer is no number for whatever reckons with it."""
_LONG = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")

Record = TypeVar("Record")
Reader = Callable[[Any, str], Any]


def read(kind: type[Record], values: Any, place: str) -> Record:
    """One record from the JSON values of `as_json`.

    Parameters
    ----------
    kind
        A class of `stillwatch.records`.
    place
        Where the values stand, for errors: ``case.zip: findings/ab12.json``.

    Raises
    ------
    FormatError
        A field is missing, unknown or of the wrong type, or the record refuses its values.
    IntegrityError
        The record's id is not the digest of its content.
    """
    reader: Reader = _reader(kind)  # type: ignore[arg-type]  # a class is hashable
    record: Record = reader(values, place)
    return record


def read_json(kind: type[Record], text: str, place: str) -> Record:
    """One record from its canonical JSON; another spelling of the same values is refused.

    Raises
    ------
    FormatError, IntegrityError
        As for `read`, or the text is not the canonical JSON of the record.
    """
    record = read(kind, loads(text, place), place)
    if text_of(record) != text:
        raise IntegrityError(place, "of the record in canonical form", "another spelling of the same values")
    return record


def loads(text: str | bytes, place: str) -> Any:
    """JSON values; NaN, infinity, and numbers or depths that no record has are refused.

    Raises
    ------
    FormatError
        It is no JSON.
    """
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise FormatError(f"no JSON: {problem}", place) from problem
    # Counting is cheap, and almost nothing has to be looked at twice.
    spelled = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if spelled.count("[") + spelled.count("{") > MAX_DEPTH and _too_deep(values):
        raise FormatError(f"more than {MAX_DEPTH} lists and objects inside one another", place)
    if _LONG.search(spelled):
        json.loads(text, parse_int=lambda digits: _integer(digits, place))
    return values


def values_of(record: Any) -> Any:
    """What `dataclasses.asdict` gives, several times as fast: nothing that JSON only reads is copied."""
    if isinstance(record, tuple):
        return [values_of(item) for item in record] if any(map(is_dataclass, record)) else record
    if not is_dataclass(record):
        return record
    kind: Any = type(record)
    return {name: values_of(getattr(record, name)) for name in _names(kind)}


def text_of(record: Any) -> str:
    """The canonical JSON of a record: what `records.as_json` gives."""
    return json.dumps(
        values_of(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def same(record: Any) -> str:
    """Canonical JSON of a record that survives JSON.

    Raises
    ------
    InputError
        It would not come back equal: a tuple or a key that is not text among its details, a wrong type, bad text.
    """
    name = type(record).__name__
    try:
        text = text_of(record)
        text.encode()
        back = read(type(record), loads(text, name), name)
    except (TypeError, ValueError, RecursionError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{name}: it cannot be written as JSON: {problem}") from problem
    if back != record:
        raise InputError(
            f"{name}: it would not be read back as it is; details hold JSON values only, with text keys"
        )
    return text


def _too_deep(values: Any) -> bool:
    level = [values]
    for _ in range(MAX_DEPTH):
        inside = [item.values() if type(item) is dict else item for item in level]
        level = [item for items in inside for item in items if type(item) in (dict, list)]
        if not level:
            return False
    return True


def _integer(digits: str, place: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise FormatError(f"an integer of more than {MAX_DIGITS} digits", place)
    return int(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


@cache
def _reader(kind: Any) -> Reader:
    """A function that checks and converts values of one annotated type."""
    if kind is Any:
        return lambda value, place: value
    if kind is float:
        return _exactly(float, int, name="a number")
    if kind is str:
        return _text
    if kind in (int, bool):
        return _exactly(kind, name={int: "an integer", bool: "true or false"}[kind])
    if kind is types.NoneType:
        return _exactly(types.NoneType, name="null")
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _one_of(inner)
    if origin in (Union, types.UnionType):
        return _either(_reader(next(k for k in inner if k is not types.NoneType)))
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return _tuple(_reader(inner[0]))
        return _fixed([_reader(k) for k in inner])
    if origin is dict:
        return _dict(_reader(inner[1]))
    return _Dataclass(kind).read


def _exactly(*kinds: type, name: str) -> Reader:
    def read_value(value: Any, place: str) -> Any:
        if type(value) not in kinds:
            raise FormatError(f"expected {name}, found {_shown(value)}", place)
        return value

    return read_value


def _text(value: Any, place: str) -> str:
    if type(value) is not str:
        raise FormatError(f"expected text, found {_shown(value)}", place)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FormatError(f"half a character in {_shown(value)}", place) from None
    return value


def _one_of(allowed: tuple[Any, ...]) -> Reader:
    def read_value(value: Any, place: str) -> Any:
        if type(value) is not str or value not in allowed:
            raise FormatError(f"expected one of {', '.join(allowed)}, found {_shown(value)}", place)
        return value

    return read_value


def _either(reader: Reader) -> Reader:
    return lambda value, place: None if value is None else reader(value, place)


def _tuple(reader: Reader) -> Reader:
    def read_value(value: Any, place: str) -> Any:
        if type(value) is not list:
            raise FormatError(f"expected a list, found {_shown(value)}", place)
        return tuple([reader(item, place) for item in value])

    return read_value


def _fixed(readers: list[Reader]) -> Reader:
    def read_value(value: Any, place: str) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise FormatError(f"expected a list of {len(readers)}, found {_shown(value)}", place)
        return tuple([reader(item, place) for reader, item in zip(readers, value, strict=True)])

    return read_value


def _dict(reader: Reader) -> Reader:
    def read_value(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise FormatError(f"expected an object, found {_shown(value)}", place)
        return {key: reader(item, place) for key, item in value.items()}

    return read_value


class _Dataclass:
    def __init__(self, kind: Any) -> None:
        hints = get_type_hints(kind)
        self.kind = kind
        self.given = {f.name: _reader(hints[f.name]) for f in fields(kind) if f.init}
        self.has_id = any(not f.init for f in fields(kind))
        self.known = {*self.given, "id"} if self.has_id else set(self.given)

    def read(self, values: Any, place: str) -> Any:
        name = self.kind.__name__
        if type(values) is not dict:
            raise FormatError(f"expected a {name}, found {_shown(values)}", place)
        if set(values) != self.known:
            lacks, odd = sorted(self.known - set(values)), sorted(set(values) - self.known)
            words = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"has {_shown(odd)} besides"] * bool(odd)
            raise FormatError(f"a {name} that {' and '.join(words)}", place)
        try:
            record = self.kind(
                **{field: reader(values[field], f"{place}: {field}") for field, reader in self.given.items()}
            )
        except FormatError:
            raise
        except (TypeError, ValueError, OverflowError, RecursionError) as problem:
            raise FormatError(f"no {name}: {problem}", place) from problem
        if self.has_id and record.id != values["id"]:
            raise IntegrityError(f"{place}: {name}", _shown(values["id"]), record.id)
        return record


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
