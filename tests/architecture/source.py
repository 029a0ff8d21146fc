"""A source file as the rules see it: its path from the repository's root, its text, its syntax tree."""

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("domain", "infrastructure", "adapters", "simulations", "tests")


@dataclass(frozen=True)
class Source:
    path: str
    text: str

    @property
    def folder(self) -> str:
        """The layer, `tests`, or nothing for the root's own files."""
        parts = PurePosixPath(self.path).parts
        return parts[0] if len(parts) > 1 else ""

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def comments(self) -> tuple[tuple[int, str], ...]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return tuple((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)


@dataclass(frozen=True)
class Finding:
    line: int
    message: str


@dataclass(frozen=True)
class Rule:
    """One row: the check, where it holds, and snippets that prove that it can fail and can pass."""

    name: str
    scope: tuple[str, ...]
    check: Callable[[Source], Iterator[Finding]]
    refused: tuple[tuple[str, str], ...] = field(repr=False)
    allowed: tuple[tuple[str, str], ...] = field(repr=False, default=())

    def covers(self, path: str) -> bool:
        return path.startswith(self.scope)


def sources() -> tuple[Source, ...]:
    """Every Python file of the project, except what tools have left behind."""
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    )
