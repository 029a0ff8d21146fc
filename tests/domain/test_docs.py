"""Documents: the states page is fresh, the glossary's words rule the code, decisions are complete."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from reattach.domain.transitions import TABLES

from . import diagrams

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("domain", "infrastructure", "adapters", "simulations")
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
DECISIONS: Final = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DECISION_LINES_MAX: Final = 40
# The design's section 2.
WORDS: Final = """
    session, job, run, frame, cursor, tail, snapshot, reset, lease, epoch, generation, wake-up, approval, decision,
    segment, checkpoint, seed, checker, planted bug
"""


def test_the_states_page_is_fresh() -> None:
    written = diagrams.PAGE.read_text(encoding="utf-8")
    assert written == diagrams.page(), "run: python -m tests.domain.diagrams"


def test_the_states_page_shows_every_row() -> None:
    page = diagrams.page()
    for name, rows in TABLES.items():
        section = page.partition(f"## {name.capitalize()}\n")[2].partition("\n## ")[0]
        assert section.count("\n| ") == len(rows) + 1
        for row in rows:
            for source in row.sources or ("[*]",):
                for target in row.targets:
                    label = diagrams.said(row.command)
                    assert re.search(rf"^ +{re.escape(source)} --> {target}: .*\b{label}\b", section, re.MULTILINE)


def table(heading: str) -> list[tuple[str, str]]:
    """The rows of the glossary's table under this heading."""
    section = GLOSSARY.read_text(encoding="utf-8").partition(f"# {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return [(word, meaning) for word, meaning in rows if word != "word"]


def test_every_word_of_the_design_is_in_the_glossary_once() -> None:
    defined = [word for entry, _ in table("Glossary") for word in entry.split(", ")]
    assert set(re.split(r",\s+", WORDS.strip())) <= set(defined)
    assert len(set(defined)) == len(defined)


BANNED: Final = [word for word, _ in table("Not used")]


def names(source: str) -> Iterator[str]:
    """What a module names: classes, functions, arguments, variables, attributes it sets."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def banned(name: str) -> list[str]:
    """The banned words in a name, also in the plural."""
    return [word for word in BANNED if re.search(rf"(^|_){word}s?(_|$)", snake(name))]


LOOP: Final = [ROOT / "simulations" / name for name in ("loop.py", "surface.py")]
FOREIGN: Final = {"handler", *(name for name in dir(asyncio.AbstractEventLoop) if name.endswith("_handler"))}
"""Names that asyncio gives the methods, and an argument, of the simulator's loop."""


def test_no_name_in_the_code_is_a_banned_word() -> None:
    paths = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}: {name} has {', '.join(banned(name))}"
        for path in paths
        for name in dict.fromkeys((path.stem, *names(path.read_text(encoding="utf-8"))))
        if banned(name) and not (path in LOOP and name in FOREIGN)
    ]
    assert not found, "\n".join([*found, "docs/glossary.md says what to say instead"])


@pytest.mark.parametrize(
    "source",
    [
        "class SessionManager: ...",
        "def error_handlers(): ...",
        "async def handler(): ...",
        "heartbeat_s = 5",
        "self.conversation = 1",
        "def f(task_id): ...",
        "utils: int = 1",
        "with a as helper: ...",
        "for util in (): ...",
    ],
)
def test_a_banned_name_is_found(source: str) -> None:
    assert any(banned(name) for name in names(source))


@pytest.mark.parametrize(
    "source", ["manage()", "self.utilisation = 1", "x.handler()", "from a import utils", "'helper'"]
)
def test_other_peoples_names_and_texts_are_not_ours(source: str) -> None:
    assert not any(banned(name) for name in names(source))


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:5] for path in DECISIONS] == [f"{number:04}-" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_why_what_and_what_follows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
    assert len(text.splitlines()) <= DECISION_LINES_MAX
    slug = re.sub(r"[^a-z0-9]+", "-", text.splitlines()[0].partition(". ")[2].lower())
    assert set(path.stem[5:].split("-")) <= set(slug.split("-"))
