"""Hugging Face transformers: keyword arguments of ``generate`` as JSON, and how to load them.

Fields as in generation/configuration_utils.py of transformers 5.23 (Apache-2.0). ``generate`` takes them as
``watermarking_config``. The lists of both schemes come from torch's generator of the *device* on which the model
runs, so a mark made on a GPU is not read by a reader that draws CPU lists: the register keeps the device.
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
    "transformers_red_green": {
        "scheme": Setting("lefthash", choices=("lefthash", "selfhash")),
        "context_width": Setting(1, low=1),
        "gamma": Setting(0.25, low=0, high=1),
        "delta": Setting(2.0, low=0),
    },
    "synthid_table": {
        "ngram_len": Setting(5, low=2),
        "context_history_size": Setting(1024, low=1),
        "sampling_table_seed": Setting(0, low=0),
        # Layers differ modulo 2^16 (`key_shapes`); in a smaller table two of them could be one.
        "sampling_table_size": Setting(65536, low=65536, high=1 << 24),
        "skip_first_ngram_calls": Setting(False, choices=(False, True)),
    },
}
_CLASS = {"transformers_red_green": "WatermarkingConfig", "synthid_table": "SynthIDTextWatermarkingConfig"}
_NAMES = {"scheme": "seeding_scheme", "gamma": "greenlist_ratio", "delta": "bias"}


def parameters(scheme: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the library's defaults.

    Raises
    ------
    InputError
        One is unknown or out of its range.
    """
    return checked(scheme, SCHEMES[scheme], given)


def config(key: MarkKey, values: Mapping[str, Any]) -> bytes:
    """The file, which holds the key: the name of the configuration's class and its arguments."""
    named: dict[str, Any] = (
        {"hashing_key": key.reveal()[0]}
        if key.scheme == "transformers_red_green"
        else {"keys": list(key.reveal())}
    )
    named |= {_NAMES.get(name, name): value for name, value in values.items()}
    return json.dumps({"class": _CLASS[key.scheme], "arguments": named}, indent=2).encode() + b"\n"


def start(path: Path, values: Mapping[str, Any]) -> str:
    """How the library takes it."""
    return (
        f"c = json.load(open({str(path)!r})); model.generate(..., do_sample=True, "
        "watermarking_config=getattr(transformers, c['class'])(**c['arguments']))"
    )
