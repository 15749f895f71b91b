"""What is loaded when, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = [
    "numpy",
    "scipy",
    "numba",
    "duckdb",
    "pyarrow",
    "jinja2",
    "sqlalchemy",
    "torch",
    "transformers",
    "pyspark",
]


def loaded_by(code: str) -> set[str]:
    script = (
        f"{code}\nimport sys\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("noun", ["", "logs", "campaigns", "case", "lab", "methods", "watermark"])
def test_help_loads_nothing_heavy(noun: str) -> None:
    code = (
        "import sys\n"
        "from stillwatch.cli.main import run\n"
        f"sys.argv = ['stillwatch', *{[noun] if noun else []}, '--help']\n"
        "try:\n    run()\nexcept SystemExit as leaving:\n    assert not leaving.code, leaving.code"
    )
    loaded = loaded_by(code)
    assert "typer" in loaded  # the probe sees what was loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module",
    [
        "stillwatch",
        "stillwatch.records",
        "stillwatch.errors",
        "stillwatch.cases",
        "stillwatch.cases.portable",
    ],
)
def test_what_must_be_readable_without_the_analyses_is(module: str) -> None:
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_the_layers_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 2 kept, 0 broken." in done.stdout


def test_an_upward_import_is_noticed(tmp_path: Path) -> None:
    """The contract can fail: the same rules over a package whose lowest layer imports its highest."""
    for layer, code in {"cli": "", "records": "from house import cli\n"}.items():
        (tmp_path / "house" / layer).mkdir(parents=True)
        (tmp_path / "house" / layer / "__init__.py").write_text(code)
    (tmp_path / "house" / "__init__.py").touch()
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_package = house\n[importlinter:contract:layers]\nname = layers\ntype = layers\n"
        "layers =\n    house.cli\n    house.records\n"
    )
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
