"""Entries of a case's journal: what their bodies may hold."""

from __future__ import annotations

import pytest

from stillwatch.cases import chain, events
from stillwatch.errors import FormatError


@pytest.mark.parametrize("by", ["\ud800", 1, None])
def test_who_wrote_an_entry_is_text(by: object) -> None:
    body = {"note": {"at": "2026-11-24T09:00:00+00:00", "by": "ann", "text": "x"}, "by": by}
    _, line = chain.link(1, chain.START, "2026-11-24T09:00:00+00:00", "note.added", body)
    with pytest.raises(FormatError, match="entry 1: by: "):
        events.checked(chain.parse(line, "entry 1"), "entry 1")
