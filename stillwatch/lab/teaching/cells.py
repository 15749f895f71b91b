"""The students of `students.toml`, and the corpora that they are trained on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from stillwatch.errors import InputError
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.marks.keys import Master, Scope

FILE = Path(__file__).with_name("students.toml")
SCOPE = Scope(tenant="lab", epoch="1")
HARVESTS = ("", "filtered", "paraphrased")


@dataclass(frozen=True, slots=True)
class Teacher:
    """How all corpora are made."""

    answers: int
    held_out: int
    length: int
    temperature: float
    batch: int


@dataclass(frozen=True, slots=True)
class Marked:
    """One corpus: the scheme with its settings, or none."""

    name: str
    scheme: str = ""
    making: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)

    def mark(self, master: Master) -> TeacherMark | None:
        if not self.scheme:
            return None
        return TeacherMark(master.key(self.scheme, SCOPE), self.making, self.reading)


@dataclass(frozen=True, slots=True)
class Student:
    """One cell; fields as in `students.toml`."""

    name: str
    corpus: str
    share: float
    answers: int
    epochs: int
    batch: int
    rate: float
    scratch: bool
    seed: int
    merges: float = 1.0
    first: int = 0
    begins: str = ""
    taught_by: str = ""
    harvest: str = ""

    def digest(self, grid: Grid) -> str:
        """Of everything that decides what is trained, and of nothing else; 16 hexadecimal digits.

        Fields with a default count where they differ from it, so that a new field changes no student of before.
        """
        usual = {field.name: field.default for field in fields(self)}
        facts = {k: v for k, v in asdict(self).items() if k != "name" and v != usual[k]}
        for name in ("begins", "taught_by"):
            if name in facts:
                facts[name] = grid.parent(self, name).digest(grid)
        facts["corpus"] = asdict(grid.corpora[self.corpus])
        facts["teacher"] = asdict(grid.teacher)
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Grid:
    """All of one file."""

    teacher: Teacher
    corpora: Mapping[str, Marked]
    students: Mapping[str, Student]
    seeds: Sequence[int]

    def parent(self, student: Student, which: str) -> Student:
        """The student that one begins as (``begins``) or is taught by (``taught_by``), of the same seed."""
        return replace(self.students[getattr(student, which)], seed=student.seed)


def grid(path: Path = FILE) -> Grid:
    """Read a file of cells.

    Raises
    ------
    InputError
        The file is no TOML, or says something that no teacher, corpus or student has.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        teacher = Teacher(**told["teacher"])
        corpora = {name: Marked(name, **facts) for name, facts in told["corpus"].items()}
        students = {
            name: Student(**told["centre"] | {"name": name} | facts)
            for name, facts in told["student"].items()
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: {problem}") from problem
    for student in students.values():
        _check(student, path, teacher, corpora, students)
    return Grid(teacher, corpora, students, tuple(told["seeds"]))


def _check(
    student: Student,
    path: Path,
    teacher: Teacher,
    corpora: Mapping[str, Marked],
    students: Mapping[str, Student],
) -> None:
    def wrong(why: str) -> InputError:
        return InputError(f"{path}: student {student.name!r}: {why}")

    if student.corpus not in corpora or not corpora[student.corpus].scheme:
        raise wrong(f"of no marked corpus: {student.corpus!r}")
    if not 0 <= student.share <= 1 or student.first < 0 or student.answers < 1:
        raise wrong("share, first or answers out of range")
    if student.first + student.answers > teacher.answers:
        raise wrong("more answers than the teacher gives")
    if not 0 < student.merges <= 1 or (student.merges < 1 and (student.scratch or student.begins)):
        raise wrong("merges out of range, or of another model than the teacher's own base")
    if student.harvest not in HARVESTS:
        raise wrong(f"harvest {student.harvest!r}; there are: {', '.join(filter(None, HARVESTS))}")
    for named in filter(None, (student.begins, student.taught_by)):
        parent = students.get(named)
        if parent is None or parent.merges < 1 or parent.begins or parent.taught_by:
            raise wrong(f"{named!r} is no student that began as the teacher's base, in its tokenizer")
