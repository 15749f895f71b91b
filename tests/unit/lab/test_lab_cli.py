"""The commands are a thin layer: what they print, and that nothing else is on stdout."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
from typer.testing import CliRunner

from stillwatch.cli.lab import app

RUN = CliRunner()


def test_build_then_score(tmp_path):
    done = RUN.invoke(
        app,
        [
            "build",
            "hydra",
            "--out",
            str(tmp_path / "log"),
            "--seed",
            "1",
            "--honest-accounts",
            "60",
            "--days",
            "2",
        ],
        env={"STILLWATCH_DATA": None},
    )
    assert done.exit_code == 0, done.output
    assert "exchanges of" in done.stdout and "nothing in it happened" in done.stdout
    assert "stillwatch logs import" in done.stdout
    truth = pq.read_table(tmp_path / "log" / "truth.parquet").to_pylist()
    members = tmp_path / "members.jsonl"
    guilty = [t["account"] for t in truth if t["campaign"]]
    members.write_text(
        "".join(json.dumps({"campaign": "c", "decision": "supported", "account": a}) + "\n" for a in guilty)
    )
    scored = RUN.invoke(app, ["score", str(tmp_path / "log" / "truth.parquet"), str(members), "--json"])
    assert scored.exit_code == 0, scored.output
    values = json.loads(scored.stdout)
    assert values["recall"]["count"] == values["recall"]["of"] == len(guilty) > 0
    assert values["honest_flagged"]["count"] == 0
    said = RUN.invoke(app, ["score", str(tmp_path / "log" / "truth.parquet"), str(members)])
    assert "campaign accounts found" in said.stdout and "100.000%" in said.stdout


def test_json_is_one_object(tmp_path):
    done = RUN.invoke(
        app,
        [
            *(
                "build",
                "honest",
                "--out",
                str(tmp_path),
                "--seed",
                "1",
                "--honest-accounts",
                "50",
                "--days",
                "1",
            ),
            "--json",
        ],
        env={"STILLWATCH_DATA": None},
    )
    values = json.loads(done.stdout)
    assert values["campaign_accounts"] == 0 and values["exchanges"] > 0
