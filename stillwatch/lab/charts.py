"""The two pictures of a benchmark's page, drawn as plain SVG in the manner of `stillwatch.cases.charts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 720
_LINE = 16
"""Pixels from one line of a label to the next."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with an interval, or without one where `low` and `high` are None."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One setting: a mark, and beside it one dot a seed. `label` is written in several lines."""

    label: tuple[str, ...]
    mark: Mark | None
    dots: tuple[float, ...]
    said: str
    """What the text alternative says of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One name with up to two marks: the first filled, the second hollow; the numbers stand to the right."""

    label: str
    marks: tuple[Mark | None, ...]
    numbers: str
    strong: bool = False


def columns(
    settings: Sequence[Column],
    title: str,
    keys: tuple[str, str],
    *,
    bottom: float = 0.0,
    top: float = 1.0,
    ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    tick: Callable[[float], str] = "{:.0%}".format,
) -> Markup:
    """Settings beside each other: left of the middle a mark with its interval, right of it one dot a seed.

    Parameters
    ----------
    title
        Text alternative begins with it.
    keys
        What the mark is, and what a dot is.
    bottom, top
        Ends of the axis; values beyond are drawn at the end.
    """
    if not settings:
        return Markup("")
    left, right, head, plot = 64, 8, 40, 210
    lines = max(len(s.label) for s in settings)
    height = head + plot + 14 + lines * _LINE
    step = (WIDTH - left - right) / len(settings)

    def y(value: float) -> float:
        return head + plot * (1 - (min(max(value, bottom), top) - bottom) / (top - bottom))

    parts = [
        _key(left + 13, keys[0], whisker=any(s.mark and s.mark.low is not None for s in settings)),
        _key(left + 336, keys[1], dot=True),
    ]
    for at in ticks:
        parts += [_grid(left, WIDTH - right, y(at), y(at)), _text(left - 8, y(at) + 4, tick(at), "end")]
    if bottom < 0 < top:
        parts.append(Markup('<line class="zero" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            left, WIDTH - right, y(0), y(0)
        ))  # fmt: skip
    for place, setting in enumerate(settings):
        middle = left + (place + 0.5) * step
        reach = min(step * 0.34, 60)
        if setting.mark:
            m, x = setting.mark, middle - reach * 0.45
            if m.low is not None and m.high is not None:
                parts += _whisker(x, y(m.low), x, y(m.high))
            parts.append(_circle("mark", x, y(m.value), 5.5))
        for n, value in enumerate(setting.dots):
            x = middle + reach * (0.15 + 0.85 * (n + 0.5) / len(setting.dots))
            parts.append(_circle("dot", x, y(value), 3.5))
        if not setting.mark and not setting.dots:
            parts.append(_text(middle, y(bottom + 0.6 * (top - bottom)), "nothing yet", "middle soft"))
        for n, line in enumerate(setting.label):
            parts.append(
                _text(middle, head + plot + 18 + n * _LINE, line, "middle" if n == 0 else "middle soft small")
            )
    said = f"{title}: " + "; ".join(f"{s.label[0]}: {s.said}" for s in settings)
    return _svg(height, said, parts)


def rows(
    names: Sequence[Row],
    title: str,
    keys: tuple[str, ...],
    *,
    top: float = 1.0,
    limit: float | None = None,
    wide: int = 190,
) -> Markup:
    """Names below each other on one axis from 0 to `top`, their marks on it and their numbers beside it.

    Parameters
    ----------
    title
        Text alternative begins with it.
    keys
        What each mark is, in the order of `Row.marks`.
    limit
        Where a dashed line stands.
    wide
        Pixels for the numbers.
    """
    if not names:
        return Markup("")
    left, head, row = 216, 34, 24
    right = wide + 12
    height = head + row * len(names) + 26

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * min(value, top) / top

    foot = head + row * len(names)
    parts: list[Markup] = []
    at = left + 13.0
    for n, key in enumerate(keys):
        parts.append(_key(at, key, hollow=n > 0, whisker=any(_wide(r, n) for r in names)))
        at += 44 + 6.6 * len(key)
    for part in range(5):
        value = top * part / 4
        parts += [
            _grid(x(value), x(value), head, foot),
            _text(x(value), foot + 18, f"{value:.3g}" if top > 1 else _percent(value), "middle"),
        ]
    if limit is not None:
        parts.append(Markup('<line class="limit" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
            x(limit), head, foot
        ))  # fmt: skip
    for place, r in enumerate(names):
        y = head + (place + 0.5) * row
        parts.append(_text(left - 12, y + 4, _cut(r.label), "end strong" if r.strong else "end"))
        for n, m in enumerate(r.marks):
            if m is None:
                continue
            if m.low is not None and m.high is not None:
                parts += _whisker(x(m.low), y, x(m.high), y)
            parts.append(_circle("hollow" if n else "mark", x(m.value), y, 5.5 if n == 0 else 5))
        parts.append(_text(WIDTH - right + 14, y + 4, r.numbers, "strong" if r.strong else ""))
    return _svg(height, f"{title}: " + "; ".join(f"{r.label}: {r.numbers}" for r in names), parts)


def _wide(row: Row, n: int) -> bool:
    m = row.marks[n] if n < len(row.marks) else None
    return m is not None and m.low is not None


def _svg(height: float, said: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {:.0f}" aria-label="{}">').format(
        WIDTH, height, said
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _key(x: float, text: str, *, hollow: bool = False, dot: bool = False, whisker: bool = False) -> Markup:
    """One entry of the legend at the top."""
    y = 14.0
    drawn = _whisker(x - 13, y, x + 13, y) if whisker else []
    shape = _circle("dot" if dot else "hollow" if hollow else "mark", x, y, 3.5 if dot else 5)
    return Markup("").join([*drawn, shape, _text(x + 20, y + 4, text, "")])


def _grid(x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
        x1, x2, y1, y2
    )


def _whisker(x1: float, y1: float, x2: float, y2: float) -> list[Markup]:
    """A line with an end across it on both sides."""
    line = '<line class="whisker" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'
    dx, dy = (0, 4) if y1 == y2 else (4, 0)
    ends = [(x - dx, y - dy, x + dx, y + dy) for x, y in ((x1, y1), (x2, y2))]
    return [Markup(line).format(*where) for where in ((x1, y1, x2, y2), *ends)]


def _circle(kind: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%"


def _cut(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
