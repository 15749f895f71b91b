"""The students of `students.toml`, and the corpora that they are trained on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from stillwatch.errors import InputError
from stillwatch.lab.teaching.marking import TeacherMark
from stillwatch.marks.keys import Master, Scope

FILE = Path(__file__).with_name("students.toml")
SCOPE = Scope(tenant="lab", epoch="1")


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
    merges: float

    def digest(self, grid: Grid) -> str:
        """Of everything that decides what is trained, and of nothing else; 16 hexadecimal digits."""
        facts = {k: v for k, v in asdict(self).items() if k != "name"}
        if self.merges == 1.0:  # a field of later: students of before keep their digest
            del facts["merges"]
        facts["corpus"] = asdict(grid.corpora[self.corpus])
        facts["teacher"] = asdict(grid.teacher)
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Grid:
    """All of one file."""

    teacher: Teacher
    corpora: Mapping[str, Marked]
    students: Mapping[str, Student]


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
            name: Student(**{**told["centre"], "name": name, **facts})
            for name, facts in told["student"].items()
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: {problem}") from problem
    for student in students.values():
        if student.corpus not in corpora or not corpora[student.corpus].scheme:
            raise InputError(f"{path}: student {student.name!r} is of no marked corpus: {student.corpus!r}")
        if not 0 <= student.share <= 1 or not 1 <= student.answers <= teacher.answers:
            raise InputError(f"{path}: student {student.name!r}: share or answers out of range")
        if not 0 < student.merges <= 1 or (student.scratch and student.merges < 1):
            raise InputError(
                f"{path}: student {student.name!r}: merges out of range, or of no pretrained model"
            )
    return Grid(teacher, corpora, students)
