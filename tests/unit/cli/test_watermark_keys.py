"""``watermark key``: no output, file or error of it has a key, but the one file that is for the engine."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stillwatch.cli.watermark import app
from stillwatch.errors import InputError, IntegrityError
from stillwatch.marks.keys import Master, Scope

RUNNER = CliRunner()


def typed(workspace: Path, *words: str) -> Any:
    return RUNNER.invoke(app, ["key", *words, "--workspace", str(workspace)], catch_exceptions=True)


def refused(result: Any, kind: type[Exception] = InputError) -> str:
    assert isinstance(result.exception, kind), (result.exception, result.output)
    return str(result.exception)


def listed(workspace: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in typed(workspace, "list", "--json", *words).stdout.splitlines()]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    assert typed(tmp_path, "new", "--by", "ann").exit_code == 0
    words = (
        "--tenant",
        "o-1",
        "--epoch",
        "2026-12",
        "--param",
        "context_width=1",
        "--since",
        "2026-12-01T00:00+00:00",
    )
    done = typed(tmp_path, "scope", "vllm_gumbel", *words)
    assert done.exit_code == 0, done.exception
    assert "serves tenant=o-1 epoch=2026-12 since 2026-12-01T00:00:00Z" in done.stdout
    return tmp_path


def test_from_a_master_to_an_engine(workspace: Path) -> None:
    (row,) = listed(workspace)
    assert row["parameters"]["context_width"] == 1
    assert row["scope"]["tenant"] == "o-1"
    out = workspace / "v.yaml"
    done = typed(workspace, "config", row["fingerprint"][:8], "--out", str(out))
    assert done.exit_code == 0, done.exception
    assert done.stdout.strip() == f"vllm serve MODEL --config {out}"
    master = Master.from_file(workspace / "marks" / "key")
    (key,) = master.key("vllm_gumbel", Scope(tenant="o-1", epoch="2026-12")).reveal()
    assert json.loads(out.read_text())["watermark-config"]["key"] == key
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "there is a file already" in refused(
        typed(workspace, "config", row["fingerprint"], "--out", str(out))
    )
    assert typed(workspace, "config", row["fingerprint"], "--out", str(out), "--replace").exit_code == 0
    assert "ends in .yaml" in refused(
        typed(workspace, "config", row["fingerprint"], "--out", str(workspace / "v.json"))
    )


def test_rotation_and_retirement(workspace: Path) -> None:
    (old,) = listed(workspace)
    done = typed(
        workspace, "rotate", old["fingerprint"], "--epoch", "2027-01", "--since", "2027-01-01T00:00+00:00"
    )
    assert done.exit_code == 0, done.exception
    (new,) = listed(workspace)
    assert new["scope"]["epoch"] == "2027-01"
    assert new["parameters"] == old["parameters"]
    assert [r["ends"] for r in listed(workspace, "--all")] == [new["begins"], ""]
    words = ("--retire", "--why", "contract ended", "--since", "2027-02-01T00:00+00:00")
    assert "no longer serves" in typed(workspace, "rotate", new["fingerprint"], *words).stdout
    assert listed(workspace) == []
    assert "No key serves." in typed(workspace, "list").stdout
    assert "name the --epoch" in refused(typed(workspace, "rotate", new["fingerprint"]))
    assert "0 keys in use" in refused(typed(workspace, "rotate", new["fingerprint"], "--epoch", "x"))


def test_no_output_and_no_file_has_a_key(workspace: Path) -> None:
    (row,) = listed(workspace)
    master = Master.from_file(workspace / "marks" / "key")
    (key,) = master.key("vllm_gumbel", Scope(tenant="o-1", epoch="2026-12")).reveal()
    outputs = [
        typed(workspace, "list", "--all").output,
        typed(workspace, "list", "--json").output,
        typed(workspace, "config", row["fingerprint"], "--out", str(workspace / "v.yaml")).output,
        typed(workspace, "rotate", row["fingerprint"], "--epoch", "2027-01").output,
        *(p.read_text() for p in (workspace / "marks").iterdir() if p.name != "key"),
    ]
    for text in outputs:
        assert str(key) not in text
        assert f"{key:x}" not in text
        assert (workspace / "marks" / "key").read_bytes().hex() not in text


def test_a_command_instead_of_a_file(tmp_path: Path) -> None:
    kms = ("--key-command", f"echo {'5e' * 32}")
    assert typed(tmp_path, "new", *kms).exit_code == 0
    assert not (tmp_path / "marks" / "key").exists()
    assert typed(tmp_path, "scope", "transformers_red_green", "--device", "cpu", *kms).exit_code == 0
    listing = typed(tmp_path, "list", *kms)
    assert "2 entries, whole; 2 sealed by the master given" in listing.stderr
    assert "0 sealed" in typed(tmp_path, "list").stderr
    told = refused(typed(tmp_path, "scope", "vllm_sbw", "--key-command", f"echo {'5e' * 10}"))
    assert "10 bytes, fewer than 32" in told
    assert "5e5e" not in told
    assert "exclude each other" in refused(typed(tmp_path, "scope", "vllm_sbw", *kms, "--key", "x"))


def test_what_is_wrong_is_said(workspace: Path) -> None:
    assert "never overwritten" in refused(typed(workspace, "new"))
    assert "there is no scheme 'nonsense'" in refused(typed(workspace, "scope", "nonsense"))
    assert "has no parameter 'width'" in refused(
        typed(workspace, "scope", "vllm_gumbel", "--param", "width=1")
    )
    assert "takes NAME=VALUE" in refused(typed(workspace, "scope", "vllm_gumbel", "--param", "width"))
    assert "cpu or cuda" in refused(typed(workspace, "scope", "vllm_gumbel", "--device", "tpu"))
    assert "with its zone" in refused(typed(workspace, "scope", "vllm_gumbel", "--since", "2026-12-01"))
    again = ("--tenant", "o-1", "--epoch", "2026-12")
    assert "serves already" in refused(typed(workspace, "scope", "vllm_gumbel", *again))
    (row,) = listed(workspace)
    other = workspace / "other"
    Master.create(other)
    words = ("config", row["fingerprint"], "--out", str(workspace / "v.yaml"), "--key", str(other))
    assert f"comes from master {row['master']}" in refused(typed(workspace, *words))
    assert "there is no master key" in refused(typed(workspace / "none", "scope", "vllm_gumbel"))
    register = workspace / "marks" / "register.jsonl"
    register.write_text(register.read_text().replace("o-1", "o-2"))
    refused(typed(workspace, "list"), IntegrityError)


def test_a_scheme_without_an_engine_is_registered_all_the_same(workspace: Path) -> None:
    done = typed(workspace, "scope", "textseal_gumbel", "--param", "ngram=1")
    assert done.exit_code == 0, done.exception
    row = listed(workspace)[-1]
    assert "no engine here" in refused(typed(workspace, "config", row["fingerprint"], "--out", "x.json"))


@pytest.mark.parametrize("words", [["watermark"], ["watermark", "key"], ["watermark", "key", "scope"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['stillwatch', *{words}, '--help']\nfrom stillwatch.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as leaving:\n    assert not leaving.code\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stderr.split()).isdisjoint(
        {"numpy", "numba", "duckdb", "pyarrow", "cryptography", "torch"}
    )
