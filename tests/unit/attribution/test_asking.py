"""What must not be asked: marked text cut anew, contexts that share draws, ids that the teacher does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution import asking
from stillwatch.attribution.asking import Asked
from stillwatch.attribution.candidates import Candidates, apart, candidates
from stillwatch.attribution.suspect import Document, Suspect
from stillwatch.marks.keys import Master, Scope
from stillwatch.marks.register import Register
from stillwatch.models.protocol import Forced

V = 300


class Says:
    """Predicts the next number, or an id that the teacher does not have."""

    name = "says"

    def __init__(self, beyond: bool = False) -> None:
        self.beyond = beyond

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array([int(w) for w in t.split()], np.int64) for t in texts]

    def decode(self, documents: Sequence[NDArray[np.int64]]) -> list[str]:
        return [" ".join(map(str, d.tolist())) for d in documents]

    def forced(self, documents: Sequence[NDArray[np.int64]], *, starts: Sequence[int] = ()) -> list[Forced]:
        best = [np.where(np.arange(len(d)) > 0, np.roll(d, 1) + 1, -1) for d in documents]
        if self.beyond:
            best = [np.where(b >= 0, b + V, b) for b in best]
        return [Forced(d, np.full(len(d), -1.0), b) for d, b in zip(documents, best, strict=True)]


def groups(folder: Path, **parameters: Any) -> Any:
    master = Master.create(folder / "key")
    register = Register(folder / "register.jsonl")
    key = master.key("transformers_red_green", Scope())
    register.begin(master, key, parameters, device="cpu", by="t")
    return candidates(register.servings(), master)


def documents(*, tokens: bool) -> list[Document]:
    rng = np.random.default_rng(1)
    rows = [rng.integers(1, V - 1, 60) for _ in range(10)]
    return [Document(" ".join(map(str, r)), r if tokens else None, marked=True) for r in rows]


def test_marked_answers_are_read_in_the_ids_that_were_served_or_not_at_all(tmp_path: Path) -> None:
    found, _ = groups(tmp_path, vocab_size=V)
    model = Says()
    asked = Asked(served=documents(tokens=True), plain=documents(tokens=False))
    rows = asking.tests(asked, Suspect(model, model), found)  # type: ignore[arg-type]
    assert [r.kind for r in rows] == ["served answers", "plain text"] and all(r.result for r in rows)
    assert rows[0].result is not None and rows[0].result.assumptions[0].status == "not checked"
    assert rows[1].result is not None and rows[1].result.assumptions[0].status == "checked"
    (row,) = asking.tests(Asked(served=documents(tokens=False)), Suspect(model, model), found)  # type: ignore[arg-type]
    assert row.result is None and "cut anew" in row.why


def test_a_scheme_whose_contexts_share_draws_is_not_tested_on_marked_answers(tmp_path: Path) -> None:
    found, _ = groups(tmp_path, vocab_size=V, scheme="selfhash", context_width=4)
    model = Says()
    (row,) = asking.tests(Asked(served=documents(tokens=True)), Suspect(model, model), found)  # type: ignore[arg-type]
    assert row.result is None and "share draws" in row.why
    (row,) = asking.tests(Asked(plain=documents(tokens=True)), Suspect(model, model), found)  # type: ignore[arg-type]
    assert row.result is not None


def test_a_key_that_reaches_a_part_of_the_lists_is_told_from_the_others() -> None:
    kgw = {"vocab_size": 300, "prefix_length": 1}
    group = Candidates("markllm_kgw", kgw, {"a": "one", "b": "two"}, {"a": 15, "b": 7}, (), ())
    own, sharing = apart(group)
    assert list(own.keys) == ["b"] and sharing == ["a"]
    assert apart(own) == (own, [])


def test_ids_that_the_teacher_does_not_have_are_left_out_and_a_register_that_lacks_settings_is_told(
    tmp_path: Path,
) -> None:
    found, _ = groups(tmp_path / "a", vocab_size=V)
    model = Says(beyond=True)
    (row,) = asking.tests(Asked(served=documents(tokens=True)), Suspect(model, model), found)  # type: ignore[arg-type]
    assert row.result is None and "too little" in row.why
    none, notes = groups(tmp_path / "b")
    assert none == [] and "vocab_size" in notes[0]


def test_what_cannot_be_read_here_is_the_same_for_a_model_as_for_a_corpus(tmp_path: Path) -> None:
    master = Master.create(tmp_path / "key")
    register = Register(tmp_path / "register.jsonl")
    for scheme in ("transformers_red_green", "markllm_exp", "vllm_gumbel"):
        register.begin(master, master.key(scheme, Scope()), {"vocab_size": V}, device="cuda", by="t")
    found, notes = candidates(register.servings(), master)
    # MarkLLM draws its EXP mark on the CPU wherever the model runs.
    assert {g.scheme for g in found} == {"markllm_exp", "vllm_gumbel"}
    assert len(notes) == 1 and "GPU" in notes[0]
    assert candidates([], master) == ([], [])
    for group in found:
        assert group.decoy_names == tuple(k.fingerprint for k in master.decoys(group.scheme, Scope(), 200))
