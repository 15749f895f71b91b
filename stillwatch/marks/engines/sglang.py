"""SGLang: the JSON file of ``--watermark-config``, which has to be readable by the server's account only.

Fields ``key``, ``key_b`` and ``context_window`` as in pull request 37577 of sgl-project/sglang (Apache-2.0; open when
it was read, the operator's pages are published); keys are 1 to 16 hexadecimal digits. The share of key B is an
argument of the server. Whether a client may opt out is one too: ``--watermark-enforce-all`` refuses that.
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
        "mixing_probability": Setting(0.5, low=0, high=1),
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
    settings["context_window"] = values["context_window"]
    return json.dumps(settings, indent=2).encode() + b"\n"


def start(path: Path, values: Mapping[str, Any]) -> str:
    """How the engine takes it."""
    mixing = (
        f" --watermark-mixing-probability {values['mixing_probability']:g}"
        if "mixing_probability" in values
        else ""
    )
    return (
        "python -m sglang.launch_server --model-path MODEL --enable-watermark --watermark-enforce-all "
        f"--watermark-config {path}{mixing}"
    )
