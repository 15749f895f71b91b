"""Every deliberate error.

StillwatchError                         exit code
├── InputError (ValueError)                 3   the data or the request is wrong
│   ├── SchemaError                         3   a column is missing or of the wrong kind
│   └── FormatError                         3   a line or file cannot be read; knows its place
├── InsufficientData                        3   becomes the finding "inconclusive", never a number
├── AssumptionViolated                      3   a test's assumption does not hold on this data
├── AccessError                             3   the method needs more access than it was given
├── MissingExtra (ImportError)              4   says which `pip install` brings it
├── EngineError                             3   which engine, which step, which SQL
├── IntegrityError                          5   a digest does not match
└── GatewayError                            3   knows whether to fail open
"""

from __future__ import annotations


class StillwatchError(Exception):
    """Base of every deliberate error; printed as text, never as a traceback."""

    exit_code = 3


class InputError(StillwatchError, ValueError):
    """What was given cannot be used; the message says what to give instead."""


class SchemaError(InputError):
    """A column is missing or holds the wrong kind of value."""

    def __init__(self, column: str, expected: str, got: str, source: str) -> None:
        self.column, self.expected, self.got, self.source = column, expected, got, source
        super().__init__(f"{source}: column {column!r}: expected {expected}, found {got}")


class FormatError(InputError):
    """A line or a whole file cannot be read; `source` is the file, `line` counts from 1 (0: the whole file)."""

    def __init__(self, message: str, source: str, line: int = 0) -> None:
        self.source, self.line = source, line
        place = f"{source}:{line}" if line else source
        super().__init__(f"{place}: {message}")


class InsufficientData(StillwatchError):
    """Too little data for a number; `need` and `got` are counts of `unit`."""

    def __init__(self, need: float, got: float, unit: str) -> None:
        self.need, self.got, self.unit = need, got, unit
        super().__init__(f"needs at least {need:g} {unit}, found {got:g}")


class AssumptionViolated(StillwatchError):
    """An assumption of a test was checked on this data and does not hold."""

    def __init__(self, test: str, assumption: str, observed: str) -> None:
        self.test, self.assumption, self.observed = test, assumption, observed
        super().__init__(f"{test}: {assumption}; observed: {observed}")


class AccessError(StillwatchError):
    """The method needs more access (log-probabilities, weights) than it was given."""


class MissingExtra(StillwatchError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 4

    def __init__(self, module: str, extra: str) -> None:
        self.module, self.extra = module, extra
        super().__init__(f"{module} is not installed; install it with: pip install 'stillwatch[{extra}]'")


class EngineError(StillwatchError):
    """A step failed in an SQL engine."""

    def __init__(self, engine: str, step: str, message: str, sql: str = "") -> None:
        self.engine, self.step, self.sql = engine, step, sql
        super().__init__(f"{engine}, step {step!r}: {message}")


class IntegrityError(StillwatchError):
    """A digest differs from what was recorded."""

    exit_code = 5

    def __init__(self, item: str, expected: str, found: str) -> None:
        self.item, self.expected, self.found = item, expected, found
        super().__init__(f"{item}: expected digest {expected}, found {found}")


class GatewayError(StillwatchError):
    """The gateway could not decide; `fail_open` says whether the request may pass all the same."""

    def __init__(self, message: str, *, fail_open: bool) -> None:
        self.fail_open = fail_open
        super().__init__(message)
