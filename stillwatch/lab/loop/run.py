"""One loop from the log to the case: serve, harvest, train, and then ask every room its question, blind."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillwatch import records
from stillwatch.attribution import asking
from stillwatch.attribution.attribute import adjusted, finding
from stillwatch.attribution.candidates import candidates
from stillwatch.attribution.plan import ALPHA, Plan, digest_of_model, keys_of
from stillwatch.attribution.suspect import Suspect
from stillwatch.errors import InputError
from stillwatch.lab.loop import filing, serving
from stillwatch.lab.loop.provider import Provider, accounts_of, again, log_of, look
from stillwatch.lab.loop.serving import Teaching
from stillwatch.lab.loop.stories import Story
from stillwatch.lab.teaching import prompts, training
from stillwatch.lab.teaching.corpus import Corpus
from stillwatch.marks.register import Register
from stillwatch.marks.twins_published import Published, published
from stillwatch.models.local import Local, load
from stillwatch.records import Finding, Run

RESULT = "result.json"
PROBES = 24
"""Prompts of topics that no student was trained on, which a suspect answers."""
LIMIT = 200
"""Served answers that a suspect is asked about, for each key."""
DTYPE = "bfloat16"
"""Of a suspect's weights as it is asked."""
Stage = Callable[[str], None]


def run(
    stories: Sequence[Story],
    out: Path,
    *,
    teacher: Path,
    seed: int,
    data: Path | None = None,
    on_stage: Stage = lambda stage: None,
) -> Iterator[dict[str, Any]]:
    """Run loops one after the other; what a folder holds already is not done again.

    Parameters
    ----------
    out
        A folder for each loop, and ``answers`` for what the teacher said, which all loops share.
    teacher
        A GGUF file or a folder in Hugging Face's format. Students begin from the same weights.
    data
        Folder with real traffic and prompts for the logs; None: built-in ones.

    Yields
    ------
    What each loop came to, see `one`.
    """
    talker: Local | None = None
    for story in stories:
        folder = out / f"{story.name}-{seed}"
        path = folder / RESULT
        if path.exists():
            yield _done(path, story)
            continue
        if talker is None:
            on_stage("loading the teacher")
            talker = Local(teacher, name="teacher", dtype="bfloat16")
        teaching = Teaching(talker, out / "answers", story.length, seed)

        def tell(stage: str, name: str = story.name) -> None:
            on_stage(f"{name}: {stage}")

        text = json.dumps(
            one(story, folder, teaching, base=teacher, seed=seed, data=data, on_stage=tell), indent=1
        )
        draft = path.with_suffix(".part")
        draft.write_text(text + "\n", "utf-8")
        draft.replace(path)
        yield json.loads(text)


def one(
    story: Story,
    folder: Path,
    teaching: Teaching,
    *,
    base: Path,
    seed: int,
    data: Path | None = None,
    on_stage: Stage = lambda stage: None,
) -> dict[str, Any]:
    """One loop; decisions of every room, the case, and the seconds that each part took. No truth is read."""
    clock = Clock(on_stage)
    workspace = folder / "workspace"
    vocabulary = teaching.model.vocabulary
    if (workspace / "marks" / "ledger-done").exists():
        provider = again(workspace)
    else:  # a log, a scan and a ledger that were cut short are made again: they take seconds
        shutil.rmtree(folder / "log", ignore_errors=True)
        shutil.rmtree(workspace, ignore_errors=True)
        clock("composing a log")
        built = log_of(story, folder / "log", seed=seed, data=data)
        clock("looking for campaigns")
        provider = look(built, workspace, vocabulary=vocabulary)
        (folder / "harvesters.json").write_text(json.dumps(built.harvesters), "utf-8")
    clock("serving")
    taught = _taught(story, provider, folder, teaching, seed=seed)
    clock("training the student")
    student = _student(taught, base, folder / "student", teaching, seed=seed)
    clock("asking the student")
    case, ran, about = attributed(provider, student, seed=seed)
    clock("filing a case")
    documents = filing.filed(workspace, case, provider.scan, ran, about, folder / "documents")
    clock("")
    return {
        "story": story.name,
        "seed": seed,
        "says": story.says,
        "teacher": teaching.model.name,
        "settings": _settings(story),
        "campaigns": [_of_campaign(f) for f in provider.scan.supported],
        "student": json.loads((student / "costs.json").read_text("utf-8")),
        "attribution": {
            "decision": about.decision, "claim": about.claim, "alpha": ALPHA, **about.details,
        },
        "case": case,
        "documents": documents,
        "seconds": clock.seconds,
    }  # fmt: skip


def attributed(provider: Provider, student: Path, *, seed: int) -> tuple[str, Run, Finding]:
    """Ask a student what this provider served, with the tests of ``model attribute``; the plan is filed first.

    Returns the case, the run and the finding, which is not filed yet.
    """
    register = Register(provider.workspace / "marks" / "register.jsonl")
    groups, notes = candidates(register.servings(), provider.master)
    asked = asking.Asked()
    marks = [name for g in groups for name in g.keys]
    ledger = provider.workspace / "marks" / "ledger"
    notes = [*notes, *asking.from_ledger(
        asked, ledger, provider.master, marks, limit=LIMIT, seed=seed, said=_published(provider),
        scopes=register.scopes(),
    )]  # fmt: skip
    asked.prompts = prompts.texts("held_out")[::4][:PROBES]
    said = serving.published_by(provider)
    plan = Plan(
        {"name": "student", "sha256": digest_of_model(student)},
        ALPHA,
        keys_of(groups),
        asked.probes(),
        {
            "dtype": DTYPE,
            "answer_tokens": asking.ANSWER_TOKENS,
            "answers_to_a_twin": asking.SAMPLES,
            "twins_published_sha256": digest_of_model(said) if said.exists() else "",
            "register_sha256": digest_of_model(provider.workspace / "marks" / "register.jsonl"),
        },
        seed,
    )
    subjects = [*(f.subject for f in provider.scan.supported), "student"]
    case, evidence = filing.begun(provider.workspace, plan, subjects)
    model = Local(student, name="student", dtype=DTYPE)
    rows = adjusted(asking.tests(asked, Suspect(model, model), groups, seed=seed))
    ran = Run(
        version=plan.version,
        command="lab run closed-loop",
        config={"plan": plan.commitment(), "seed": seed},
        inputs={"suspect": plan.suspect["sha256"], "plan": plan.commitment()},
        seed=seed,
    )
    return case, ran, finding(rows, plan, run=ran.id, notes=notes, evidence=[evidence])


class Clock:
    """Seconds of each stage."""

    def __init__(self, on_stage: Stage) -> None:
        self.seconds: dict[str, float] = {}
        self._on_stage, self._stage, self._began = on_stage, "", time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = round(now - self._began, 1)
        self._stage, self._began = stage, now
        if stage:
            self._on_stage(stage)


def _taught(story: Story, provider: Provider, folder: Path, teaching: Teaching, *, seed: int) -> Corpus:
    """What the student is trained on. Every provider has served a campaign; not every student is of its harvest."""
    done = provider.workspace / "marks" / "ledger-done"
    names = tuple(json.loads((folder / "harvesters.json").read_text("utf-8")))
    if done.exists():
        shutil.rmtree(provider.workspace / "marks" / "ledger")
        done.unlink()
    harvesters = accounts_of(provider.workspace, names)
    if story.source == "licensed":
        found = serving.licensed(story, provider, teaching)
    else:
        harvest = serving.harvested(story, provider, harvesters, teaching, seed=seed)
        found = harvest
        if story.source != "harvest":
            found = serving.of_another(story, teaching, marks=story.source == "rival", seed=seed)
        if story.source == "web":
            early = story.answers - round(story.marked * story.answers)
            found = serving.mixed(found, harvest.rows(range(early, story.answers)), story.dose, seed=seed)
    done.touch()
    return found


def _student(taught: Corpus, base: Path, folder: Path, teaching: Teaching, *, seed: int) -> Path:
    if training.done(folder):
        return folder
    model, tokenizer = load(base)
    held = teaching.answers(prompts.prompts("held_out", 32, teaching.model.prompted), None, stream=60)
    costs = training.train(model, taught, folder, held_out=held, seed=seed)
    training.save(model, tokenizer, folder, costs)
    return folder


def _done(path: Path, story: Story) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if found["settings"] != _settings(story):
        raise InputError(f"{path.parent}: holds this loop with other settings; give another folder: --out")
    return found


def _settings(story: Story) -> dict[str, Any]:
    told = {k: v for k, v in asdict(story).items() if k not in ("name", "says")}
    return dict(json.loads(json.dumps(told)))


def _published(provider: Provider) -> Published | None:
    path = serving.published_by(provider)
    if not path.exists():
        return None
    lines = path.read_text("utf-8").splitlines()
    return published((f"{path.name}: line {n}", json.loads(line)) for n, line in enumerate(lines, 1))


def _of_campaign(found: Finding) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "accounts": found.details.get("accounts"),
        "log_evalue": found.log_evalue,
        "log_evalue_needed": found.log_evalue_needed,
        "id": records.digest(found.subject)[:8],
    }
