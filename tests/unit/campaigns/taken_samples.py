"""Small tables of exchanges whose truth is known, and an engine that holds them as a scan's does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from stillwatch.campaigns import steps
from stillwatch.engine import schema
from stillwatch.engine.duckdb import Engine

DAY = 86_400_000_000
MONDAY = 20_759 * DAY
WRAPPERS = np.arange(1, 81).reshape(2, 40) * 1_000_003
"""Two wrappers of 40 shingles each."""


def exchange(number: int, account: int, time: int, **columns: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schema.EXCHANGES.names)
    row |= {"exchange_id": number * 7_919 + 1, "account_id": account, "time": time, "request_model": "m"}
    row |= {"prompt_digest": number, "shingles": [], "minhash": [], "elicitation": 0, "turns": 1}
    return (
        row
        | {"input_tokens": 50, "output_tokens": 400, "source_file": "a.jsonl", "source_line": number + 1}
        | columns
    )


def engine_of(rows: list[dict[str, Any]], families: dict[int, int] | None = None) -> Engine:
    """An engine with the steps run that come before shares: families maps a shingle to its material."""
    engine = Engine()
    engine.table("exchanges", pa.Table.from_pylist(rows, schema=schema.EXCHANGES))
    engine.table("accounts", schema.ACCOUNTS.empty_table())
    families = families or {int(s): w for w, wrapper in enumerate(WRAPPERS) for s in wrapper[:12]}
    engine.table("family_shingles", pa.table({"shingle": list(families), "family": list(families.values())}))
    none = pa.table({"shingle": pa.array([], pa.int64()), "family": pa.array([], pa.int64())})
    engine.table("family_tokens", none)
    engine.run(
        [steps.POPULATION, steps.ORGANIZATIONS, steps.CONVERSATIONS, steps.OPENINGS, steps.TEXT_CARRIERS]
    )
    engine.table("word_carriers", engine.read("select * from text_carriers limit 0"))
    engine.run([steps.MATERIAL_EXCHANGES, steps.MATERIAL_USES])
    return engine
