"""What other programs may import. A name that comes or goes is a decision, made here and in the changelog."""

from __future__ import annotations

from importlib import import_module

import pytest

NAMES = {
    "stillwatch.campaigns": ["MEMBERS", "Scan", "Watch", "latest", "planned_sql", "save", "scan", "watch"],
    "stillwatch.cases": ["Entry", "Journal", "write_report"],
    "stillwatch.identity": ["KEPT", "PREFIX", "Keys", "Pseudonyms", "parse", "show"],
    "stillwatch.lab": ["Built", "Score", "Share", "build", "score"],
    "stillwatch.logs": [
        "Column", "Description", "ImportSummary", "Model", "Need", "Progress", "Readiness", "check", "describe",
        "ingest", "quarantined", "texts",
    ],
}  # fmt: skip


@pytest.mark.parametrize("room", NAMES)
def test_public_names(room: str) -> None:
    module = import_module(room)
    assert module.__all__ == NAMES[room]
    for name in NAMES[room]:
        assert getattr(module, name) is not None


# These rooms are taken by module: `from stillwatch.stats import exact`.
MODULES = {
    "stillwatch.stats": [
        "coincidence",
        "combine",
        "drawn_sums",
        "exact",
        "gamma_sums",
        "intervals",
        "multiplicity",
        "permutation",
        "sequential",
        "sums",
    ],
    "stillwatch.text": ["elicitation", "keying", "normalise", "sketch"],
}


@pytest.mark.parametrize("room", MODULES)
def test_rooms_that_are_taken_by_module(room: str) -> None:
    import pkgutil

    package = import_module(room)
    assert not hasattr(package, "__all__")
    assert [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")] == MODULES[
        room
    ]
