"""Logs that several tests look at, built once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab_samples import Sample, sample


@pytest.fixture(scope="session")
def hydra(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("hydra"), honest_accounts=900, days=7)


@pytest.fixture(scope="session")
def data() -> Path:
    folder = os.environ.get("STILLWATCH_DATA")
    if not folder:
        pytest.skip("STILLWATCH_DATA is not set: real prompts and arrivals were not tested")
    return Path(folder)
