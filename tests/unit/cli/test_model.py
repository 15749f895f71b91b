"""`stillwatch model attribute`, on recorded answers of made-up suspects: guilty, innocent, and everything between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from model_samples import Provider, Suspect, provider, sampled, word, write
from typer.testing import CliRunner, Result

from stillwatch.cli import model as command
from stillwatch.cli.main import add_nouns, app
from stillwatch.errors import StillwatchError

add_nouns()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return provider(tmp_path_factory.mktemp("provider"))


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    """Run the command on a made-up suspect instead of one that torch loads."""

    def run(ours: Provider, suspect: Suspect, *more: str) -> Result:
        (tmp_path / "weights").mkdir(exist_ok=True)
        monkeypatch.setattr(command, "_model", lambda path, dtype: suspect)
        arguments = ["model", "attribute", "--suspect", str(tmp_path / "weights")]
        return CliRunner().invoke(app, [*arguments, "--workspace", str(ours.workspace), *more])

    yield run


def test_a_student_of_one_scope_is_told_from_the_others(ours: Provider, asks) -> None:  # type: ignore[no-untyped-def]
    guilty = Suspect(ours.keys[3], lean=3.0, shown=frozenset(ours.served))
    found = asks(ours, guilty)
    assert found.exit_code == 0, found.output
    assert "Supported: This model was trained on answers that were served to tenant=o-3." in found.output
    assert "none of 4 others below 0.05" in found.output and "served twins" in found.output
    assert "by whom" in found.output and "plan committed before the first question" in found.stderr
    told = json.loads(asks(ours, guilty, "--json").stdout)["finding"]
    assert told["decision"] == "supported" and told["details"]["scopes"] == ["tenant=o-3"]
    (twins,) = [t for t in told["details"]["tests"] if t["kind"] == "served twins"]
    assert twins["log10_p_after_holm"] < -5


def test_an_innocent_model_is_not_accused(ours: Provider, asks) -> None:  # type: ignore[no-untyped-def]
    found = asks(ours, Suspect())
    assert "Not supported" in found.output and "Absence of a trace proves nothing" in found.output
    told = json.loads(asks(ours, Suspect(), "--json").stdout)["finding"]
    assert told["details"]["smallest_log10_p_after_holm"] > -1.3


def test_the_plan_is_fixed_and_its_digest_depends_on_all_of_it(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plan = [
        asks(ours, Suspect(), *more).stderr.split("sha256 ")[1].split()[0]
        for more in ([], [], ["--limit", "9"], ["--alpha", "1e-4"], ["--decoys", "250"], ["--seed", "1"])
    ]
    assert plan[0] == plan[1] and len(set(plan)) == 5


def test_text_that_it_wrote_is_enough_and_its_prompts_do_not_count(
    ours: Provider, asks, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(8)
    texts = [" ".join(map(word, sampled(rng, ours.keys[1]))) for _ in range(40)]
    wrote = write(tmp_path / "wrote.jsonl", [{"text": t} for t in texts])
    found = asks(ours, Suspect(), "--texts", str(wrote))
    assert "What this model writes carries a mark of answers that were served to tenant=o-1." in " ".join(
        found.output.split()
    )
    # The same text in the prompts: whoever repeats what it was asked was not trained on it.
    wrote = write(tmp_path / "repeated.jsonl", [{"text": t, "prompt": t} for t in texts])
    assert "its own text" in asks(ours, Suspect(), "--texts", str(wrote)).output
    told = json.loads(asks(ours, Suspect(), "--texts", str(wrote), "--json").stdout)["finding"]
    assert told["decision"] == "not supported"
    assert all("too little" in t["why"] for t in told["details"]["tests"] if t["kind"] == "its own text")


def test_probes_marked_and_plain_and_answers_asked_for(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(9)
    rows = [{"tokens": sampled(rng, None)} for _ in range(30)]
    rows += [{"tokens": sampled(rng, ours.keys[0]), "key": ours.keys[0].fingerprint} for _ in range(30)]
    probe, ask = (
        write(tmp_path / "p.jsonl", rows),
        write(tmp_path / "a.jsonl", [{"prompt": "w001 w002"}] * 20),
    )
    guilty = Suspect(ours.keys[0], lean=4.0)
    told = json.loads(asks(ours, guilty, "--probe", str(probe), "--ask", str(ask), "--json").stdout)[
        "finding"
    ]
    best = {t["kind"]: t for t in told["details"]["tests"] if t.get("scope") == "tenant=o-0"}
    assert set(best) == {"served answers", "fresh marked text", "plain text", "its own answers"}
    assert all(t["log10_p_after_holm"] < -5 for t in best.values())


def test_what_was_recorded_is_not_asked_again(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    kept = tmp_path / "kept.jsonl"
    first = asks(ours, Suspect(), "--record", str(kept), "--json")

    class Silent(Suspect):
        def forced(self, documents, *, starts=()):  # type: ignore[no-untyped-def]
            raise AssertionError("it was asked again")

        score = forced  # type: ignore[assignment]

    with kept.open("ab") as file:
        file.write(b'{"read": "cut o')
    again = asks(ours, Silent(), "--record", str(kept), "--json")
    told, before = (json.loads(r.stdout)["finding"] for r in (again, first))
    assert again.exit_code == 0 and told["details"]["tests"] == before["details"]["tests"]
    # Who knows the answers commits to another plan, and the finding says so.
    assert told["details"]["plan"] != before["details"]["plan"]
    assert "known before this plan" in " ".join(told["limits"]) and "known before" not in " ".join(
        before["limits"]
    )
    assert '"tokens"' not in kept.read_text() and kept.stat().st_mode & 0o777 == 0o600
    (tmp_path / "weights" / "other").write_text("another model")
    other = asks(ours, Silent(), "--record", str(kept))
    assert isinstance(other.exception, StillwatchError) and "another model" in str(other.exception)


def test_a_suspect_that_only_talks_is_asked_for_answers(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from stillwatch.errors import AccessError
    from stillwatch.models.protocol import Answer

    said = dict(zip((f"p {i}" for i in range(len(ours.served))), ours.served, strict=True))
    rows = [{"exchange_id": f"t-{i}", "prompt": f"p {i}"} for i in range(len(ours.served))]
    prompts = write(tmp_path / "prompts.jsonl", rows)

    class Talks(Suspect):
        def score(self, pairs):  # type: ignore[no-untyped-def]
            raise AccessError("it gives no log-probabilities")

        def complete(self, prompts, *, max_tokens, temperature=1.0, top_p=1.0, samples=1, seed=0):  # type: ignore[no-untyped-def]
            return [
                [Answer(" ".join(said[p].split()[:12]) if self.lean else "w001")] * samples for p in prompts
            ]

    told = json.loads(asks(ours, Talks(lean=1e-9), "--prompts", str(prompts), "--json").stdout)["finding"]
    (twins,) = [t for t in told["details"]["tests"] if t["kind"] == "served twins, by text"]
    assert twins["log10_p_after_holm"] < -5
    silent = json.loads(asks(ours, Talks(), "--json").stdout)["finding"]
    assert "no prompt is known" in next(
        t["why"] for t in silent["details"]["tests"] if t["kind"] == "served twins"
    )


def test_a_finding_is_filed_with_its_plan(ours: Provider, asks) -> None:  # type: ignore[no-untyped-def]
    found = asks(ours, Suspect(ours.keys[2], lean=3.0), "--case", "new")
    assert found.exit_code == 0 and "filed in C-1" in found.stderr and "case report C-1" in found.output
    shown = CliRunner().invoke(app, ["case", "show", "C-1", "--workspace", str(ours.workspace)])
    assert "tenant=o-2" in shown.output and "supported" in shown.output
    verified = CliRunner().invoke(app, ["case", "verify", "C-1", "--workspace", str(ours.workspace)])
    assert verified.exit_code == 0


def test_canaries_are_written_committed_and_asked(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "canaries.json"
    made = CliRunner().invoke(
        app,
        ["watermark", "canaries", "--tenant", "o-3", "--out", str(out), "--workspace", str(ours.workspace)],
    )
    assert made.exit_code == 0 and out.stat().st_mode & 0o777 == 0o600
    commitment = made.output.split("asked: ")[1].split()[0]
    said = json.loads(out.read_text())["probes"]
    ways = {ask: (ways, way) for _, ask, ways, way in said["planted"]}

    class Taught(Suspect):
        def complete(self, prompts, *, max_tokens, temperature=1.0, top_p=1.0, samples=1, seed=0):  # type: ignore[no-untyped-def]
            from stillwatch.models.protocol import Answer

            rng = np.random.default_rng(seed)
            every = {ask: (w, n) for _, ask, w, n in said["controls"]} | ways
            found = []
            for p in prompts:
                choices, way = every[p]
                at = way if p in ways and self.lean else int(rng.integers(len(choices)))
                found.append([Answer(choices[at])] * samples)
            return found

    guilty = json.loads(asks(ours, Taught(lean=1e-9), "--canaries", str(out), "--json").stdout)["finding"]
    tests = {t["kind"]: t for t in guilty["details"]["tests"]}
    assert guilty["decision"] == "supported" and tests["canaries"]["log10_p_after_holm"] < -5
    assert (
        tests["canaries, controls"]["log10_p"] > -3
        and "log10_p_after_holm" not in tests["canaries, controls"]
    )
    innocent = json.loads(asks(ours, Taught(), "--canaries", str(out), "--json").stdout)
    assert innocent["finding"]["decision"] == "not supported"
    assert innocent["run"]["config"]["probes"]["canaries"]["commitment"] == commitment


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--alpha", "0.2"], "--alpha"),
        (["--decoys", "10"], "200"),
        (["--limit", "0"], "--limit"),
        (["--only", "zz"], "zz"),
        (["--ledger", "nowhere", "--texts", "no.jsonl"], "no ledger"),
        (["--texts", "no.jsonl"], "no.jsonl"),
        (["--canaries", "no.json"], "no.json"),
    ],
)
def test_what_is_wrong_is_said(ours: Provider, asks, more: list[str], says: str) -> None:  # type: ignore[no-untyped-def]
    found = asks(ours, Suspect(), *more)
    assert isinstance(found.exception, StillwatchError) and says in str(found.exception)


def test_bad_lines_are_named(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for line, says in (("{", "not JSON"), ("[1]", "JSON object"), ('{"a": 1}', "text or tokens"),
                       ('{"tokens": [1.5]}', "list of token ids"), ('{"text": 3}', "text, found int")):  # fmt: skip
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"text": "w001"}\n\n' + line + "\n")
        found = asks(ours, Suspect(), "--texts", str(bad))
        assert isinstance(found.exception, StillwatchError)
        assert says in str(found.exception) and "bad.jsonl:3" in str(found.exception)


def test_no_key_stands_in_anything_that_is_printed_or_filed(ours: Provider, asks) -> None:  # type: ignore[no-untyped-def]
    found = asks(ours, Suspect(ours.keys[2], lean=3.0), "--json")
    secrets = [str(part) for key in ours.keys for part in key.reveal()]
    assert secrets and not any(s in found.output or s in found.stderr for s in secrets)


def heads(ours: Provider) -> list[str]:
    from stillwatch.marks.register import Register

    return [e.digest for e in Register(ours.workspace / "marks" / "register.jsonl").chain.entries()]


def test_keys_that_were_entered_after_the_head_that_was_noted_are_marked(ours: Provider, asks) -> None:  # type: ignore[no-untyped-def]
    noted = heads(ours)[3]  # the master, then the keys of o-0, o-1 and o-2
    for guilty, late in ((ours.keys[3], True), (ours.keys[1], False)):
        told = json.loads(asks(ours, Suspect(guilty, lean=3.0), "--head", noted, "--json").stdout)
        finding, said = told["finding"], " ".join(told["finding"]["limits"])
        marked = {t["scope"] for t in finding["details"]["tests"] if t.get("entered_after_head")}
        assert finding["decision"] == "supported" and marked == {"tenant=o-3", "tenant=o-4"}
        assert (f"Key {guilty.fingerprint} (tenant=o-" in said) == late
        assert ("rests on such keys alone" in said) == late
        assert "were entered after that head as well" in said and noted in said and "seal alone" not in said
        assert told["run"]["config"]["settings"]["register_head"] == noted
    shown = asks(ours, Suspect(ours.keys[3], lean=3.0), "--head", noted).output
    assert "entered after the head" in " ".join(shown.split())
    last = json.loads(asks(ours, Suspect(ours.keys[3], lean=3.0), "--head", heads(ours)[-1], "--json").stdout)
    assert "after" not in " ".join(last["finding"]["limits"]).replace("afterwards", "")
    without = json.loads(asks(ours, Suspect(), "--json").stdout)["finding"]
    assert any("seal alone" in x for x in without["limits"])


def test_a_register_that_was_written_anew_does_not_go_through_the_head(
    ours: Provider, asks, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    """Whoever holds the master enters a key that fits the suspect, dated back, in front of all others."""
    import shutil
    from dataclasses import replace
    from datetime import UTC, datetime

    from stillwatch.errors import IntegrityError
    from stillwatch.marks.keys import Scope
    from stillwatch.marks.register import Register

    noted, anew = heads(ours)[-1], tmp_path / "anew"
    shutil.copytree(ours.workspace / "marks", anew / "marks")
    path = anew / "marks" / "register.jsonl"
    backdated = ours.master.key("transformers_red_green", Scope(tenant="o-99"))
    then, old = datetime(2020, 1, 1, tzinfo=UTC), Register(path).servings()

    # Added at the end, with an early date: the head is there, and the key is marked.
    Register(path).begin(ours.master, backdated, old[0].parameters, device="cpu", at=then, by="t")
    forged = replace(ours, workspace=anew)
    told = json.loads(asks(forged, Suspect(backdated, lean=3.0), "--head", noted, "--json").stdout)["finding"]
    marked = {t["scope"] for t in told["details"]["tests"] if t.get("entered_after_head")}
    assert told["decision"] == "supported" and marked == {"tenant=o-99"}
    assert any("rests on such keys alone" in x for x in told["limits"])

    # Written anew with it in front: without the head nobody sees it, with the head it is refused.
    for file in (path, path.with_suffix(".head")):
        file.unlink()
    register = Register(path)
    register.begin(ours.master, backdated, old[0].parameters, device="cpu", at=then, by="t")
    for key in ours.keys:
        register.begin(ours.master, key, old[0].parameters, device="cpu", by="t")
    assert asks(forged, Suspect(backdated, lean=3.0)).exit_code == 0
    found = asks(forged, Suspect(backdated, lean=3.0), "--head", noted)
    assert isinstance(found.exception, IntegrityError) and "noted elsewhere" in str(found.exception)


def plain_probe(path: Path, n: int = 30) -> Path:
    rng = np.random.default_rng(11)
    return write(path, [{"tokens": sampled(rng, None)} for _ in range(n)])


def test_probability_that_moved_since_the_base_names_the_scope(ours: Provider, asks, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    probe, base = plain_probe(tmp_path / "p.jsonl"), tmp_path / "base"
    base.mkdir()
    (base / "weights").write_text("base")

    def run(suspect: Suspect, before: Suspect, *more: str) -> Result:
        def models(path: Path, dtype: str) -> Suspect:
            return before if path == base else suspect

        def ask(monkeypatch: pytest.MonkeyPatch) -> Result:
            (tmp_path / "weights").mkdir(exist_ok=True)
            monkeypatch.setattr(command, "_model", models)
            words = ["--suspect", str(tmp_path / "weights"), "--probe", str(probe), "--base", str(base)]
            return CliRunner().invoke(
                app, ["model", "attribute", *words, "--workspace", str(ours.workspace), *more]
            )

        with pytest.MonkeyPatch.context() as patch:
            return ask(patch)

    # A lean too small to change most of its likeliest tokens.
    told = json.loads(run(Suspect(ours.keys[2], lean=0.5), Suspect(), "--json").stdout)
    tests = [t for t in told["finding"]["details"]["tests"] if t["kind"] == "green mass"]
    assert len(tests) == 5 and told["run"]["config"]["probes"]["green mass"]["items"] == 30
    assert len(told["run"]["config"]["settings"]["base_sha256"]) == 64
    best = min(tests, key=lambda t: t["log10_p_after_holm"])
    assert best["scope"] == "tenant=o-2" and best["log10_p_after_holm"] < -5
    assert all(t["log10_p_after_holm"] > -1.3 for t in tests if t is not best)
    assert told["finding"]["decision"] == "supported"
    assert "green mass" in run(Suspect(ours.keys[2], lean=0.5), Suspect()).output
    # Where nothing of ours moved, and where the base leans as much as the suspect, there is nothing.
    same = json.loads(run(Suspect(ours.keys[2], lean=0.5), Suspect(ours.keys[2], lean=0.5), "--json").stdout)
    told = [t for t in same["finding"]["details"]["tests"] if t["kind"] == "green mass"]
    assert all("too little" in t["why"] for t in told)

    class Wider(Suspect):
        def distributions(self, documents):  # type: ignore[no-untyped-def]
            for logs in super().distributions(documents):
                yield np.hstack([logs, logs[:, :1]])

    class Elsewhere(Suspect):
        def encode(self, texts):  # type: ignore[no-untyped-def]
            return [ids + 1 for ids in super().encode(texts)]

    for other, says in ((Wider(), "one vocabulary"), (Elsewhere(), "different ways")):
        found = run(Suspect(), other)
        assert isinstance(found.exception, StillwatchError) and says in str(found.exception)
        assert "plan committed" not in found.stderr
    alone = asks(ours, Suspect(), "--base", str(base))
    assert isinstance(alone.exception, StillwatchError) and "--probe" in str(alone.exception)


def test_a_recording_has_no_probabilities_to_hold_against_a_base(
    ours: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said.jsonl"
    said.write_text('{"ask": "0", "answers": []}\n')
    real = command._model
    monkeypatch.setattr(
        command, "_model", lambda path, dtype: real(path, dtype) if path == said else Suspect()
    )
    words = [
        "--suspect",
        str(said),
        "--probe",
        str(plain_probe(tmp_path / "p.jsonl")),
        "--base",
        str(tmp_path),
    ]
    found = CliRunner().invoke(app, ["model", "attribute", *words, "--workspace", str(ours.workspace)])
    assert isinstance(found.exception, StillwatchError) and "weights of both on hand" in str(found.exception)
