"""Settings files of serving engines: right for the engine, and nowhere else."""

from __future__ import annotations

import json
import stat
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from stillwatch import plugins
from stillwatch.errors import InputError
from stillwatch.marks.engines import writer_of, writers
from stillwatch.marks.key_shapes import EXCEPTIONS, shape_of
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.secret_file import write_secret

MASTER = Master(bytes(range(32)))
KEY = {scheme: MASTER.key(scheme, Scope(epoch="1")) for m in writers().values() for scheme in m.SCHEMES}


def file_of(scheme: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    found = writer_of(scheme)
    assert found
    values = found[1].parameters(scheme, given or {})
    return json.loads(found[1].config(KEY[scheme], values))


def test_vllm() -> None:
    key = KEY["vllm_gumbel"].reveal()[0]
    assert file_of("vllm_gumbel", {"context_width": 2}) == {
        "watermark-config": {
            "algorithm": "gumbel", "key": key, "context_width": 2, "deduplicate_contexts": "single_turn",
            "deduplicate_contexts_max_history": 8192,
        }
    }  # fmt: skip
    dual = file_of("vllm_dual_gumbel")["watermark-config"]
    assert (dual["algorithm"], dual["alpha"], dual["context_width"]) == ("dual_key_gumbel", 0.1, 4)
    sbw = file_of("vllm_sbw", {"scheme": "lefthash", "delta": 3})["watermark-config"]
    assert (sbw["algorithm"], sbw["sbw_scheme"], sbw["sbw_gamma"], sbw["sbw_delta"], sbw["context_width"]) == (
        "sbw", "lefthash", 0.5, 3.0, 1,
    )  # fmt: skip
    assert file_of("vllm_sbw")["watermark-config"]["context_width"] == 4


def test_sglang() -> None:
    assert file_of("sglang_gumbel") == {
        "key": f"{KEY['sglang_gumbel'].reveal()[0]:x}", "context_window": 4, "enforce_all": True
    }  # fmt: skip
    dual = file_of("sglang_dual_gumbel", {"context_window": 2, "mixing_probability": 0.25})
    assert set(dual) == {"key", "key_b", "context_window", "mixing_probability", "enforce_all"}
    assert (dual["context_window"], dual["mixing_probability"]) == (2, 0.25)
    assert [int(dual["key"], 16), int(dual["key_b"], 16)] == list(KEY["sglang_dual_gumbel"].reveal())
    assert 1 <= len(dual["key"]) <= 16
    found = writer_of("sglang_dual_gumbel")
    assert found
    assert found[1].start(Path("f"), {}).endswith(" --enable-watermark --watermark-config f")


def test_hugging_face() -> None:
    made = file_of("transformers_red_green", {"scheme": "selfhash", "context_width": 4, "delta": 1.5})
    assert made == {
        "class": "WatermarkingConfig",
        "arguments": {
            "hashing_key": KEY["transformers_red_green"].reveal()[0], "seeding_scheme": "selfhash", "context_width": 4,
            "greenlist_ratio": 0.25, "bias": 1.5,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "given", "says"),
    [
        ("vllm_gumbel", {"key": 5}, "has no parameter 'key'"),
        ("vllm_gumbel", {"context_width": 0}, "must be at least 1"),
        ("vllm_gumbel", {"context_width": "2"}, "expected int"),
        ("vllm_gumbel", {"context_width": True}, "expected int"),
        ("vllm_dual_gumbel", {"alpha": 1.5}, "at most 1"),
        ("vllm_sbw", {"scheme": "minhash"}, "expected selfhash or lefthash"),
        ("sglang_gumbel", {"context_window": 65}, "at most 64"),
        ("transformers_red_green", {"gamma": -0.1}, "at least 0"),
    ],
)
def test_what_an_engine_would_refuse_is_refused_here(scheme: str, given: dict[str, Any], says: str) -> None:
    found = writer_of(scheme)
    assert found
    with pytest.raises(InputError, match=says):
        found[1].parameters(scheme, given)


SCHEMES = plugins.find("marks.schemes")


@pytest.mark.parametrize("scheme", KEY)
def test_settings_are_named_as_the_reader_names_them(scheme: str) -> None:
    """What the engine and the reader both need has one name, or a mark would be read with another width than it has."""
    assert scheme in SCHEMES, f"{scheme} cannot be read back"
    taken = set(signature(SCHEMES[scheme].read).parameters)
    found = writer_of(scheme)
    assert found
    read_back = {
        "context_width",
        "context_window",
        "scheme",
        "gamma",
        "alpha",
        "mixing_probability",
        "ngram_len",
    }
    assert set(found[1].parameters(scheme, {})) & read_back <= taken


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_takes_the_keys_drawn_for_it(scheme: str) -> None:
    read = SCHEMES[scheme].read
    sizes = {"vocab_size": 1000} if "vocab_size" in signature(read).parameters else {}
    keys = [k.as_read() for k in MASTER.decoys(scheme, Scope(), 3)]
    found = read(list(range(1, 200)), keys, **sizes)
    assert len(found.scored) == 3


def test_every_exception_is_a_scheme() -> None:
    assert set(EXCEPTIONS) <= {*SCHEMES, "lab"}
    assert shape_of("unheard_of").bits == 63


def test_secret_files(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_secret(path, b"one", replace=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="there is a file already"):
        write_secret(path, b"two", replace=False)
    path.chmod(0o644)
    write_secret(path, b"three")
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="not written: No such file"):
        write_secret(tmp_path / "none" / "f", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
