"""SGLang: the JSON file of ``--watermark-config``, which has to be readable by the server's account only.

All settings but ``--enable-watermark`` stand in that file, as SGLang 0.5.23 takes them (Apache-2.0; fields of its
sampling/watermarking/config.py, which refuses a field that it does not know); keys are 1 to 16 hexadecimal digits.
``enforce_all`` marks every answer and refuses a client's opt-out. A request may still bring a key of its own, which
then stands in for key A: have the way in strip the field ``watermark``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillwatch.marks.engines._settings import Setting, checked
from stillwatch.marks.keys import MarkKey

SUFFIX = ".json"
SCHEMES: dict[str, dict[str, Setting]] = {
    "sglang_gumbel": {"context_window": Setting(4, low=1, high=64)},
    "sglang_dual_gumbel": {
        "context_window": Setting(4, low=1, high=64),
        "mixing_probability": Setting(0.5, low=1e-6, high=1 - 1e-6),
    },
}


def parameters(scheme: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the engine's defaults.

    Raises
    ------
    InputError
        One is unknown or out of its range.
    """
    return checked(scheme, SCHEMES[scheme], given)


def config(key: MarkKey, values: Mapping[str, Any]) -> bytes:
    """The file, which holds the key."""
    names = ("key", "key_b")[: len(key.reveal())]
    settings: dict[str, Any] = {name: f"{n:x}" for name, n in zip(names, key.reveal(), strict=True)}
    settings |= dict(values) | {"enforce_all": True}
    return json.dumps(settings, indent=2).encode() + b"\n"


def start(path: Path, values: Mapping[str, Any]) -> str:
    """How the engine takes it."""
    return f"python -m sglang.launch_server --model-path MODEL --enable-watermark --watermark-config {path}"
