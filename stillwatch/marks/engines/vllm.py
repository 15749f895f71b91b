"""vLLM: a file for ``vllm serve MODEL --config FILE``, whose one entry is ``watermark-config``.

The key does not stand on the command line, where every user of the machine could read it in the list of processes.
Fields as in vllm/config/watermarking.py of vllm-project/vllm (Apache-2.0), release 0.33.0; nested entries of the file
become JSON arguments (vllm/utils/argparse_utils.py). That release does not have `sbw`, whose fields are those of commit
01c268b: check yours. A key is one for the whole engine, so accounts of another scope need another engine, and a client
can opt out of the mark with ``watermarking: false`` unless the way in strips that field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillwatch.marks.engines._settings import Setting, checked
from stillwatch.marks.keys import MarkKey

SUFFIX = ".yaml"
"""vLLM refuses other endings; what is in the file is JSON, which is YAML too."""

_REPEATED = {
    "deduplicate_contexts": Setting("single_turn", choices=("none", "single_turn", "all")),
    "deduplicate_contexts_max_history": Setting(8192, low=1, optional=True),
}
SCHEMES: dict[str, dict[str, Setting]] = {
    "vllm_gumbel": {"context_width": Setting(4, low=1), **_REPEATED},
    "vllm_dual_gumbel": {
        "context_width": Setting(4, low=1),
        "alpha": Setting(0.1, low=0, high=1),
        **_REPEATED,
    },
    "vllm_sbw": {
        "scheme": Setting("selfhash", choices=("selfhash", "lefthash")),
        "context_width": Setting(4, low=1, optional=True),
        "gamma": Setting(0.5, low=1e-6, high=1 - 1e-6),
        "delta": Setting(2.0, low=0),
        **_REPEATED,
    },
}
_ALGORITHM = {"vllm_gumbel": "gumbel", "vllm_dual_gumbel": "dual_key_gumbel", "vllm_sbw": "sbw"}
_NAMES = {"scheme": "sbw_scheme", "gamma": "sbw_gamma", "delta": "sbw_delta"}


def parameters(scheme: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the engine's defaults.

    Raises
    ------
    InputError
        One is unknown or out of its range.
    """
    values = checked(scheme, SCHEMES[scheme], given)
    if scheme == "vllm_sbw" and ("context_width" not in given or values["context_width"] is None):
        values["context_width"] = 4 if values["scheme"] == "selfhash" else 1
    return values


def config(key: MarkKey, values: Mapping[str, Any]) -> bytes:
    """The file, which holds the key."""
    settings: dict[str, Any] = {"algorithm": _ALGORITHM[key.scheme], "key": key.reveal()[0]}
    settings |= {_NAMES.get(name, name): value for name, value in values.items()}
    return json.dumps({"watermark-config": settings}, indent=2).encode() + b"\n"


def start(path: Path, values: Mapping[str, Any]) -> str:
    """How the engine takes it."""
    return f"vllm serve MODEL --config {path}"
