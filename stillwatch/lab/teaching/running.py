"""One student after the other: corpora made or found, training, reading, tests, and a line of results for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwatch.attribution.randomized import green_mass
from stillwatch.lab.teaching import another, harvests, probing, reading, training
from stillwatch.lab.teaching import corpus as corpora
from stillwatch.lab.teaching.cells import SCOPE, Grid, Student
from stillwatch.lab.teaching.corpus import Corpus, Lessons
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.lab.teaching.prompts import prompts
from stillwatch.marks.keys import Master
from stillwatch.models.local import Local, load
from stillwatch.models.protocol import Forced

Ids = NDArray[np.int64]
DECOYS = 200
WRITTEN, WRITTEN_LENGTH = 64, 144
"""Answers that a student writes for the closed tests, and their tokens: 9,216 together."""


class Workshop:
    """A folder with key, corpora, students, what they were found to hold, and the results.

    Parameters
    ----------
    folder
        ``key`` and ``corpora``, ``students``, ``readings``, ``predictions`` stand here; it may be deleted.
    teacher
        A folder with a model, or a GGUF file.
    """

    def __init__(self, folder: Path, teacher: Path, grid: Grid) -> None:
        self.folder, self.grid = folder, grid
        self.teacher = Local(teacher, name="teacher", dtype="bfloat16")
        self.path = teacher
        key = folder / "key"
        self.master = Master.from_file(key) if key.exists() else Master.create(key)
        told = grid.teacher
        self.topics = prompts("topics", told.answers, self.teacher.prompted)
        self.held_out = prompts("held_out", told.held_out, self.teacher.prompted)

    def corpus(self, name: str, *, held_out: bool = False) -> Corpus:
        """The teacher's answers, marked as the grid says."""
        told = self.grid.teacher
        return corpora.make(
            self.folder / "corpora",
            self.teacher.weights,
            self.held_out if held_out else self.topics,
            length=told.length,
            temperature=told.temperature,
            barred=self.teacher.special,
            mark=self.grid.corpora[name].mark(self.master),
            batch=told.batch,
            seed=1 if held_out else 0,
        )

    def lessons(self, student: Student) -> Corpus:
        """What a student is trained on."""
        rows = np.arange(student.first, student.first + student.answers)
        if student.taught_by:
            return self.said_by(self.grid.parent(student, "taught_by")).rows(rows)
        plain, places = self.corpus("plain").rows(rows), marked_places(student)
        answers = plain.answers.copy()
        if len(places):
            answers[places] = self.corpus(student.corpus).rows(rows[places]).answers
        found = Corpus(plain.prompts, answers)
        if student.harvest == "filtered":
            return harvests.filtered(found, self.teacher.weights)
        return self.rewritten(found) if student.harvest == "paraphrased" else found

    def said_by(self, student: Student) -> Corpus:
        """What a student answers to all prompts, without a mark."""
        return self._plain(load(self.trained(student), dtype="bfloat16")[0], self.topics)

    def rewritten(self, corpus: Corpus) -> Corpus:
        """The same prompts with their answers in other words, as the untrained base puts them."""
        teacher, answers = self.teacher, list(corpus.answers)
        asked = harvests.asking_for_paraphrases(answers, teacher.decode(answers), teacher.prompted)
        return Corpus(corpus.prompts, self._plain(teacher.weights, asked).answers)

    def _plain(self, model: Any, asked: Sequence[Ids]) -> Corpus:
        told = self.grid.teacher
        return corpora.make(
            self.folder / "corpora",
            model,
            asked,
            length=told.length,
            temperature=told.temperature,
            barred=self.teacher.special,
            batch=told.batch,
            seed=2,
        )

    def trained(self, student: Student) -> Path:
        """The folder of a student, trained now unless it was."""
        place = self.folder / "students" / student.digest(self.grid)
        if training.done(place):
            return place
        lessons = self.lessons(student)
        held_out = self.corpus("plain", held_out=True).rows(np.arange(min(16, self.grid.teacher.held_out)))
        model, tokenizer = self.base(student)
        taught: list[Corpus | Lessons] = [lessons, held_out]
        if student.merges < 1:
            taught = [another.lessons(c, self.teacher.tokenizer, tokenizer) for c in (lessons, held_out)]
        costs = training.train(
            model,
            taught[0],
            place,
            held_out=taught[1],
            epochs=student.epochs,
            batch=student.batch,
            rate=student.rate,
            seed=student.seed,
        )
        training.save(model, tokenizer, place, costs)
        return place

    def base(self, student: Student) -> tuple[Any, Any]:
        """The model that a student begins as, and its tokenizer."""
        if student.scratch:
            return training.scratch(self.teacher.vocabulary, seed=student.seed), self.teacher.tokenizer
        if student.begins:
            return load(self.trained(self.grid.parent(student, "begins")))
        model, tokenizer = load(self.path)
        return (
            another.fewer_merges(model, tokenizer, student.merges)
            if student.merges < 1
            else (model, tokenizer)
        )

    def probes(self, student: Student) -> probing.Probes:
        """What a student is asked about: the first marked answers that were harvested, whatever was done to them.

        One without marked lessons is asked about marked answers that others had.
        """
        root = student
        for name in ("begins", "taught_by"):
            root = self.grid.parent(root, name) if getattr(root, name) else root
        places = marked_places(root)
        if not len(places):
            places = np.arange(root.answers)
        return probing.Probes(
            served=self.corpus(root.corpus).rows(root.first + places[: self.grid.teacher.held_out]),
            fresh=self.corpus(student.corpus, held_out=True),
            plain=self.corpus("plain", held_out=True),
        )

    def read(self, student: Student, name: str, model: Callable[[], Any]) -> dict[str, list[Forced]]:
        """What a student predicts, from the folder or now; what it writes and how it differs from the teacher too."""
        path = self.folder / "readings" / f"{name}.npz"
        if path.exists():
            return reading.kept(path)
        probes, loaded = self.probes(student), model()
        parts = {
            part: reading.read(loaded, documents.documents(), probing.starts(documents))
            for part, documents in (("served", probes.served), ("fresh", probes.fresh))
        }
        documents, starts = probes.plain.documents(), probing.starts(probes.plain)
        parts["plain"] = []

        def ours() -> Iterator[NDArray[np.float32]]:
            made = reading.distributions(loaded, documents, starts)
            for document, start, logs in zip(documents, starts, made, strict=True):
                parts["plain"].append(reading.forced(document, start, logs))
                yield logs

        mark = self.mark(student)
        if not mark.lists:
            for _ in ours():
                pass
        else:
            moved = green_mass.shift(
                documents, starts, ours(), self._reference(documents, starts), width=mark.width
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                path.with_suffix(".shift.npz"),
                contexts=moved.contexts,
                tokens=moved.tokens.astype(np.int32),
                weights=moved.weights,
            )
        self._write(student, path, loaded, self.held_out, self.teacher.special)
        reading.keep(path, parts)
        return parts

    def read_across(self, student: Student, name: str) -> dict[str, list[Forced]]:
        """`read` of a student with another tokenizer, in the teacher's ids; what it writes is kept in its own."""
        path = self.folder / "readings" / f"{name}.npz"
        if path.exists():
            return reading.kept(path)
        probes, ours, place = self.probes(student), self.teacher.tokenizer, self.trained(student)
        local = Local(place, dtype="bfloat16")
        another.exact_head(local.weights)
        parts = {
            part: another.read(local.following, documents, ours, local.tokenizer)
            for part, documents in (
                ("served", probes.served),
                ("fresh", probes.fresh),
                ("plain", probes.plain),
            )
        }
        asked = another.prompts(self.held_out[:WRITTEN], ours, local.tokenizer)
        self._write(student, path, load(place, dtype="bfloat16")[0], asked, local.special)
        reading.keep(path, parts)
        return parts

    def mark(self, student: Student) -> TeacherMark:
        found = self.grid.corpora[student.corpus].mark(self.master)
        assert found is not None
        return found

    def known(self, student: Student, *, untrained: bool = False) -> tuple[str, str]:
        """Name and digest of a student's line of results; untrained: of the teacher itself, before any training."""
        if untrained:
            return f"untrained, {student.corpus}", "teacher"
        return student.name, student.digest(self.grid)

    def tested(self, student: Student, *, untrained: bool = False) -> dict[str, Any]:
        """Train, read and test one student: a line of results."""
        called, digest = self.known(student, untrained=untrained)
        name = f"{digest}-{student.corpus}"
        costs, ours = {}, student.merges == 1 or untrained
        if untrained:
            read = self.read(student, name, lambda: self.teacher.weights)
        else:
            place = self.trained(student)
            if ours:
                read = self.read(student, name, lambda: load(place, dtype="bfloat16")[0])
            else:
                read = self.read_across(student, name)
            costs = json.loads((place / "costs.json").read_text(encoding="utf-8"))
        mark, vocabulary = self.mark(student), self.teacher.vocabulary
        decoys = self.master.decoys(mark.key.scheme, SCOPE, DECOYS)
        path = self.folder / "readings" / f"{name}.npz"
        answers = list(np.load(path.with_suffix(".answers.npy")).astype(np.int64))
        said = (self.teacher if ours else another.Cut(another.tokenizer_of(place))).decode(answers)
        written = {"closed, encoded again": self.teacher.encode(said)}
        if ours:
            written = {"closed": answers, **written}
        given = probing.texts(read, written, mark, self.folder / "predictions" / name)
        found = probing.tested(given, mark, decoys, vocabulary)
        if path.with_suffix(".shift.npz").exists() and not untrained:
            with np.load(path.with_suffix(".shift.npz")) as held:
                moved = green_mass.Shift(held["contexts"], held["tokens"].astype(np.int64), held["weights"])
            found["green mass"] = probing.mass(moved, mark, decoys, vocabulary)
        return {
            "student": called,
            "digest": digest,
            "facts": {k: v for k, v in asdict(student).items() if k != "name"},
            "key": mark.key.fingerprint,
            "costs": costs,
            "loss": {part: round(-_mean(read[part]), 4) for part in read} if ours else {},
            "written again as it was": _alike(answers, written["closed, encoded again"]) if ours else None,
            "tests": [probing.row(test, result) for test, result in found.items()],
        }

    def _write(
        self, student: Student, path: Path, model: Any, prompts: Sequence[Ids], barred: Sequence[int]
    ) -> None:
        answers = probing.write(
            model,
            prompts[:WRITTEN],
            length=WRITTEN_LENGTH,
            temperature=self.grid.teacher.temperature,
            barred=barred,
            seed=student.seed + 1000,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".answers.npy"), answers.astype(np.int32))

    def _reference(self, documents: Sequence[Ids], starts: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The teacher's log-probabilities on the plain probes, read once; 1.5 GB on the disk."""
        path = self.folder / "readings" / "teacher-plain.npy"
        rows = sum(len(d) - s for d, s in zip(documents, starts, strict=True))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".part.npy")
            made = np.lib.format.open_memmap(draft, "w+", np.float16, (rows, self.teacher.vocabulary))
            at = 0
            for logs in reading.distributions(self.teacher.weights, documents, starts):
                made[at : at + len(logs)] = logs
                at += len(logs)
            made.flush()
            draft.replace(path)
        held, at = np.load(path, mmap_mode="r"), 0
        for document, start in zip(documents, starts, strict=True):
            yield held[at : at + len(document) - start].astype(np.float32)
            at += len(document) - start


def marked_places(student: Student) -> NDArray[np.int64]:
    """Which answers of a student's are marked; a larger share of the same seed has all of a smaller one's."""
    order = np.random.default_rng([student.seed, 7]).permutation(student.answers)
    return np.sort(order[: round(student.share * student.answers)])


def finished(results: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Lines of results by name and digest, the last of each."""
    if not results.exists():
        return {}
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line]
    return {(line["student"], line["digest"]): line for line in lines}


def _alike(answers: Sequence[Ids], again: Sequence[Ids]) -> float:
    return float(np.mean([np.array_equal(a, b) for a, b in zip(answers, again, strict=True)]))


def _mean(read: Sequence[Forced]) -> float:
    return sum(f.total for f in read) / sum(int(f.asked.sum()) for f in read)
