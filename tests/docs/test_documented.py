"""Everything that can be typed, raised or installed is documented, and what the documents say runs."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stillwatch import errors
from stillwatch.cli.main import add_nouns, app
from stillwatch.extras import EXTRA_OF

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
REFERENCE = ROOT / "docs" / "guides" / "command-line.md"

add_nouns()
RUNNER = CliRunner()


def commands() -> dict[str, Any]:
    """Every command that does something, by what is typed after ``stillwatch``."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if children := getattr(command, "commands", None):
            for name, child in children.items():
                walk(child, (*words, name))
        else:
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = commands()


def options(command: Any) -> list[str]:
    names = [name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")]
    return [name for name in names if name != "--help"]


def named(words: list[str]) -> str:
    """The command that these words begin with: the longest that there is, else the first two words."""
    begun = (" ".join(words[:n]) for n in (3, 2, 1))
    return next((name for name in begun if name in COMMANDS), " ".join(words[:2]))


def section_of(command: str) -> str:
    """The part of the reference under the heading of one command."""
    text = REFERENCE.read_text(encoding="utf-8")
    found = re.search(rf"^## `{re.escape(command)}[^`]*`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{REFERENCE.relative_to(ROOT)} has no heading '## `{command} ...`'"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    section = section_of(name)
    for option in options(COMMANDS[name]):
        assert f"`{option}" in section, f"{option} is missing under {name}"


def test_the_reference_names_no_command_or_option_that_is_gone() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    headings = re.findall(r"^## `([^`]+)`", text, re.MULTILINE)
    assert {named(h.split()) for h in headings} == set(COMMANDS)
    for name, command in COMMANDS.items():
        assert set(re.findall(r"^- `(--[a-z-]+)", section_of(name), re.MULTILINE)) <= set(options(command)), (
            name
        )


ERRORS = [n for n, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.StillwatchError)]


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_documented(name: str) -> None:
    assert re.search(rf"\b{name}\b", TEXT), f"{name} stands nowhere in docs/ or README.md"


def test_every_extra_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert set(EXTRA_OF.values()) <= extras, (
        "extras.EXTRA_OF names an extra that pyproject.toml does not have"
    )
    for extra in extras:
        assert f"stillwatch[{extra}]" in TEXT, f"the extra {extra!r} stands nowhere in docs/ or README.md"


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
LINKS = [
    (page, link) for page in PAGES for pair in LINK.findall(page.read_text(encoding="utf-8")) for link in pair
]
RELATIVE = [(p, link) for p, link in LINKS if link and not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them from headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize(("page", "link"), RELATIVE, ids=[f"{p.name}:{link}" for p, link in RELATIVE])
def test_relative_links_resolve(page: Path, link: str) -> None:
    place, _, anchor = link.partition("#")
    target = (page.parent / place).resolve() if place else page
    assert target.exists(), f"{page.relative_to(ROOT)} points at {place}"
    assert not anchor or anchor in anchors(target), f"{place or page.name} has no heading {anchor!r}"


BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed() -> list[tuple[str, str]]:
    """Lines after ``$`` in console blocks that call this program: (page:line, command)."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if block[1] != "console":
                continue
            lines = block[2].replace("\\\n", " ").splitlines()
            first = text.count("\n", 0, block.start()) + 2
            place = f"{page.relative_to(ROOT)}:{first}"
            found += [(place, line[2:]) for line in lines if line.startswith("$ stillwatch")]
    return found


TYPED = typed()


@pytest.mark.parametrize(("place", "line"), TYPED, ids=[f"{place} {line}" for place, line in TYPED])
def test_what_is_shown_as_typed_is_understood(place: str, line: str) -> None:
    """The command exists and takes these options; nothing is run."""
    # Pipes and redirections after the command are the shell's.
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)[1:]
    if words in (["--help"], ["--version"]):
        assert RUNNER.invoke(app, words).exit_code == 0
        return
    name = named(words)
    command = COMMANDS.get(name)
    assert command is not None, f"{place}: there is no command {name!r}"
    # Parses exactly as a run would, required arguments and choices included, and stops before the function.
    command.make_context(line, words[len(name.split()) :])


PYTHON = [
    (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 2}", block[2])
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for block in BLOCK.finditer(text)
    if block[1] == "python"
]


@pytest.mark.parametrize(("place", "code"), PYTHON, ids=[place for place, _ in PYTHON])
def test_python_in_the_documents_runs(place: str, code: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "STILLWATCH_DATA"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{place}\n{done.stderr}"


def drawn_tree() -> set[str]:
    """Paths of the files in the tree of docs/design.md, read from its indentation."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    drawing = re.search(r"^## The tree\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert drawing
    paths, above = set(), [""]
    for line in drawing[1].splitlines():
        place = re.match(r"((?:│   |    )*)[├└]── (\S+)", line)
        if not place:
            continue
        depth = len(place[1]) // 4
        above[depth + 1 :] = [f"{above[depth]}{place[2]}"]
        if place[2].endswith(".py"):
            paths.add(above[-1])
            assert line[place.end() :].strip(), f"no phrase: {line}"
    return paths


def test_the_tree_draws_every_module_and_no_other() -> None:
    package = ROOT / "stillwatch"
    modules = {p.relative_to(package).as_posix() for p in package.rglob("*.py") if p.name != "__init__.py"}
    drawn = drawn_tree()
    assert not modules - drawn, f"docs/design.md draws a tree without {', '.join(sorted(modules - drawn))}"
    assert not drawn - modules, (
        f"docs/design.md draws files that are gone: {', '.join(sorted(drawn - modules))}"
    )


def test_the_tests_of_this_file_have_something_to_test() -> None:
    assert len(COMMANDS) >= 10
    assert len(TYPED) >= 8
    assert PYTHON
    assert len(RELATIVE) >= 8
    assert len(ERRORS) == 11
