"""The contract itself: sound methods pass every check, and each defect fails the one that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import contract_checks as contract
import pytest
from defects import DEFECTS, SOUND

TRIALS = 400
CHECKS: dict[str, Callable[[ModuleType], None]] = {
    "names": contract.check_names,
    "size": lambda method: contract.check_size(method, contract.USUAL, TRIALS),
    "evalue mean": lambda method: contract.check_evalue_mean(method, contract.USUAL, TRIALS),
    "power": lambda method: contract.check_power(method, 100),
    "refusal": contract.check_refusal,
    "same seed": contract.check_same_seed,
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("method", SOUND, ids=lambda m: m.__name__)
def test_a_sound_method_passes(method: ModuleType, check: str) -> None:
    CHECKS[check](method)


@pytest.mark.parametrize(("method", "check"), DEFECTS, ids=lambda x: getattr(x, "__name__", x))
def test_a_defect_is_caught(method: ModuleType, check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](method)


def test_a_missing_name_is_caught() -> None:
    with pytest.raises(AssertionError, match="CARD"):
        contract.check_names(ModuleType("nothing"))


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"docs/methods/campaigns/signals/example\.md"):
        contract.check_docs("campaigns.signals", "example", tmp_path / "docs")


def test_an_empty_page_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "methods" / "room" / "example.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Example\n")
    with pytest.raises(AssertionError, match="next to nothing"):
        contract.check_docs("room", "example", tmp_path / "docs")


@pytest.mark.parametrize("heavy", contract.HEAVY)
def test_a_heavy_import_is_caught(tmp_path: Path, heavy: str) -> None:
    (tmp_path / f"{heavy}.py").write_text("")
    (tmp_path / "heavy_method.py").write_text(f"import {heavy}\n")
    (tmp_path / "light_method.py").write_text("")
    with pytest.raises(AssertionError, match=f"importing heavy_method imports {heavy}"):
        contract.check_light_imports(["light_method", "heavy_method"], str(tmp_path))


def test_a_method_that_does_not_import_is_caught(tmp_path: Path) -> None:
    (tmp_path / "light_method.py").write_text("1 / 0\n")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        contract.check_light_imports(["light_method"], str(tmp_path))
