"""What proposed a group confirms nothing, also where another signal reads the same thing in other clothes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from stillwatch import plugins
from stillwatch.campaigns.groups import Group
from stillwatch.campaigns.scoring import kind_of, score
from stillwatch.errors import InsufficientData

SIGNALS = plugins.find("campaigns.signals")

SILENT = {
    "shared_prompt": {"shared_prompt", "paraphrased_prompt"},
    "paraphrased_prompt": {"shared_prompt", "paraphrased_prompt"},
    "shared_infrastructure": {"shared_infrastructure", "account_class"},
    "registration": {"registration", "shared_infrastructure", "account_class"},
    "signature_replay": {"signature_replay", "shared_prompt", "paraphrased_prompt"},
}
"""Proposer -> signals that must not be asked about its groups."""


def asked(proposer: str) -> set[str]:
    heard: set[str] = set()

    def refusing(name: str):
        def test(*given: object, **more: object) -> None:
            heard.add(name)
            raise InsufficientData(5, 0, "members")

        return test

    signals = {
        name: SimpleNamespace(
            CARD=signal.CARD,
            VALUES=signal.VALUES,
            KIND=kind_of(signal),
            ALSO_USES=getattr(signal, "ALSO_USES", ()),
            test=refusing(name),
        )
        for name, signal in SIGNALS.items()
    }
    nobody = np.empty(0, np.int64)
    pool = SimpleNamespace(
        values=dict.fromkeys(SIGNALS, nobody),
        for_group=lambda group: (nobody, nobody, nobody),
        is_exempt=lambda accounts: np.zeros(len(accounts), bool),
    )
    timings = SimpleNamespace(of=lambda group: (nobody,) * 3, interventions=lambda group: nobody)
    result = score(Group(proposer, nobody), pool, signals, gamma=3.0, seed=1, timings=timings)
    assert result.acts_as_one is None and result.harvesting is None
    return heard


def test_every_proposer_is_listed_here() -> None:
    assert set(SILENT) == {name for name, signal in SIGNALS.items() if signal.PROPOSES}


@pytest.mark.parametrize("proposer", SILENT)
def test_what_the_proposer_used_is_not_asked_and_everything_else_is(proposer: str) -> None:
    assert asked(proposer) == set(SIGNALS) - SILENT[proposer]
