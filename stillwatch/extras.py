"""The only door for optional dependencies: `need("torch")`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from stillwatch.errors import MissingExtra

EXTRA_OF: dict[str, str] = {
    "accelerate": "models",
    "gguf": "models",
    "llama_cpp": "llama-cpp",
    "peft": "models",
    "pg8000": "postgres",
    "pymisp": "sharing",
    "rfc3161_client": "timestamp",
    "stix2": "sharing",
    "tokenizers": "tokenizers",
    "torch": "models",
    "transformers": "models",
    "typst": "pdf",
}
"""Module -> the extra that brings it. A room that needs an optional dependency adds its line here."""


def need(module: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Raises
    ------
    MissingExtra
        The module is not installed; the message names the `pip install` that brings it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingExtra(module, EXTRA_OF.get(module.partition(".")[0], module)) from missing
