"""The style guide as far as a machine can read it: length, docstrings, leftovers, excuses."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from .source import Finding, Rule, Source

FILE_LINES, FILE_LINES_MAX = 300, 400
FUNCTION_LINES, FUNCTION_LINES_MAX = 50, 70

# Files (`path`) and functions (`path::name`) that are longer for a reason; up to the hard limit, never beyond.
LONGER: Final[Mapping[str, str]] = {
    "domain/application.py": "the use cases in the order of the flow, read from top to bottom",
    "domain/ports.py": "everything the use cases ask of the outside, on one page",
}

EVERYWHERE: Final = ("",)
LEFTOVER: Final = re.compile(r"\b(TODO|FIXME|XXX)\b")
SUPPRESSION: Final = re.compile(r"\b(type: ?ignore|pyright: ?ignore|noqa)\b")
CODE: Final = r"((type|pyright): ?ignore\[[\w\-, ]+\]|noqa: ?[A-Z]+\d+(, ?[A-Z]+\d+)*)"
# The reason stands after two spaces, " - " or (the only form mypy reads) a second "#".
EXPLAINED: Final = re.compile(CODE + r"(  | - | ?#)[ #-]*(?!noqa|type:|pyright:)\w")


def is_too_long(lines: int, wanted: int, limit: int, key: str) -> bool:
    return lines > limit or (lines > wanted and key not in LONGER)


def length(source: Source) -> Iterator[Finding]:
    for key, line, lines, wanted, limit in measured(source):
        if is_too_long(lines, wanted, limit, key):
            yield Finding(line, f"{key} has {lines} lines of {wanted}: split it")


def measured(source: Source) -> Iterator[tuple[str, int, int, int, int]]:
    """The file's and each function's key, line, length, wanted length and hard limit."""
    yield source.path, 1, len(source.text.splitlines()), FILE_LINES, FILE_LINES_MAX
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{source.path}::{node.name}", node.lineno, lines, FUNCTION_LINES, FUNCTION_LINES_MAX


def docstring(source: Source) -> Iterator[Finding]:
    if not (ast.get_docstring(source.tree) or "").strip():
        yield Finding(1, "say in one sentence what the module is for")


def leftovers(source: Source) -> Iterator[Finding]:
    for line, comment in source.comments:
        if LEFTOVER.search(comment):
            yield Finding(line, "open work belongs into an issue")


def suppressions(source: Source) -> Iterator[Finding]:
    for line, comment in source.comments:
        if len(SUPPRESSION.findall(comment)) > len(EXPLAINED.findall(comment)):
            yield Finding(line, "a suppression names its code and gives its reason")


def vague_names(source: Source) -> Iterator[Finding]:
    stem = PurePosixPath(source.path).stem.strip("_")
    if stem in {"common", "handlers", "helper", "helpers", "manager", "misc", "util", "utils"}:
        yield Finding(1, f"{stem} admits anything: name the file after what it does")


RULES: Final = (
    Rule(
        name="files and functions are short",
        scope=EVERYWHERE,
        check=length,
        refused=(
            ("domain/run.py", "x = 1\n" * (FILE_LINES + 1)),
            ("tests/test_run.py", "def f() -> None:\n" + "    x = 1\n" * FUNCTION_LINES),
            ("domain/run.py", "class A:\n    async def f(self) -> None:\n" + "        x = 1\n" * FUNCTION_LINES),
        ),
        allowed=(
            ("domain/run.py", "x = 1\n" * FILE_LINES),
            ("domain/run.py", "def f() -> None:\n" + "    x = 1\n" * (FUNCTION_LINES - 1)),
        ),
    ),
    Rule(
        name="modules say what they are for",
        scope=EVERYWHERE,
        check=docstring,
        refused=(("domain/run.py", "x = 1"), ("domain/run.py", '""" """'), ("domain/run.py", "")),
        allowed=(("domain/run.py", '"""One execution."""'),),
    ),
    Rule(
        name="nothing is left for later",
        scope=EVERYWHERE,
        check=leftovers,
        refused=(("domain/run.py", "x = 1  # TODO: later"), ("tests/test_run.py", "# FIXME")),
        allowed=(("domain/run.py", "TODO = 'a word'  # fixed"),),
    ),
    Rule(
        name="suppressions give code and reason",
        scope=EVERYWHERE,
        check=suppressions,
        refused=(
            ("domain/run.py", "x = 1  # type: ignore"),
            ("domain/run.py", "x = 1  # type: ignore[misc]"),
            ("domain/run.py", "x = 1  # noqa"),
            ("domain/run.py", "x = 1  # noqa: T201"),
            ("domain/run.py", "# ruff: noqa"),
            ("domain/run.py", "x = 1  # noqa - a reason without a code"),
            ("domain/run.py", "x = 1  # pyright: ignore[reportPrivateUsage]"),
            ("domain/run.py", "x = 1  # pyright: ignore[reportAny]  # noqa: T201  one reason for two"),
        ),
        allowed=(
            ("domain/run.py", "x = 1  # type: ignore[misc, arg-type]  # the stub is older than the library"),
            ("domain/run.py", "x = 1  # noqa: T201, S608  the output is the purpose"),
            ("domain/run.py", "x = 1  # noqa: T201  - the same"),
            ("domain/run.py", "x = 1  # pyright: ignore[reportPrivateUsage] - no public name for it"),
        ),
    ),
    Rule(
        name="file names say something",
        scope=EVERYWHERE,
        check=vague_names,
        refused=(("domain/utils.py", ""), ("adapters/_helpers.py", "")),
        allowed=(("domain/run.py", ""),),
    ),
)
