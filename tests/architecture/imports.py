"""Who may import what: simulations -> adapters -> domain <- infrastructure, joined in the composition root alone."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from .source import FOLDERS, Finding, Rule, Source

PURE: Final = frozenset(
    "__future__ abc base64 bisect collections contextlib copy dataclasses datetime decimal enum functools hashlib "
    "heapq hmac itertools json math operator re string struct textwrap types typing unicodedata uuid zlib".split()
)
STDLIB: Final = frozenset(sys.stdlib_module_names)
BEHIND_PORTS: Final = frozenset({"sqlite3", "random", "secrets", "threading"})

LAYERS: Final[Mapping[str, frozenset[str]]] = {
    "domain": PURE | {"reattach.domain", "pydantic", "pydantic_core"},
    "infrastructure": STDLIB
    | {"reattach.domain", "reattach.infrastructure", "alembic", "pydantic", "pydantic_core", "sqlalchemy"},
    "adapters": (STDLIB - BEHIND_PORTS)
    | {"reattach.domain", "reattach.adapters", "httpx", "pydantic", "pydantic_ai", "pydantic_core"}
    | {"starlette", "uvicorn", "uvloop"},
    # simulations/ is absent: it may import everything.
}

# What single files may import beyond their layer.
DOORS: Final[Mapping[str, frozenset[str]]] = {
    "adapters/composition.py": frozenset({"reattach.infrastructure"}),
    "adapters/mcp/served.py": frozenset({"mcp"}),
    "adapters/mcp/stdio.py": frozenset({"mcp"}),
    "adapters/mcp/tools.py": frozenset({"mcp"}),
    "infrastructure/answers.py": frozenset({"psycopg"}),
    "infrastructure/eventstore/library.py": frozenset({"eventsourcing"}),
    "infrastructure/eventstore/postgres_recorder.py": frozenset({"eventsourcing"}),
    "infrastructure/eventstore/recorder.py": frozenset({"eventsourcing"}),
    "infrastructure/migrations/postgres.py": frozenset({"psycopg"}),
    "infrastructure/notifications.py": frozenset({"psycopg"}),
    "infrastructure/postgres.py": frozenset({"psycopg"}),
}


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Each import's line and name: `reattach.<folder>` for our own, the top-level package for all others."""
    package = ("reattach", *PurePosixPath(source.path).parent.parts)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = node.module.split(".") if node.module else []
            names = [[*base, *module, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            yield node.lineno, ".".join(name[:2] if name[0] == "reattach" else name[:1])


def allowed_names(source: Source) -> Iterator[Finding]:
    allowed = LAYERS[source.folder] | DOORS.get(source.path, frozenset())
    for line, name in imported(source):
        if name not in allowed:
            yield Finding(line, f"{source.folder}/ may not import {name}")


def relative_imports(source: Source) -> Iterator[Finding]:
    # Alembic loads migrations by path, outside any package: there, names are all there is.
    if source.path.startswith("infrastructure/migrations/"):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(level=0, module=str(module)):
                names = [module]
            case _:
                continue
        for name in names:
            if name.split(".")[0] in {"reattach", *FOLDERS}:
                yield Finding(node.lineno, f"import {name} relatively")


RULES: Final = (
    Rule(
        name="layers import downwards only",
        scope=tuple(f"{layer}/" for layer in LAYERS),
        check=allowed_names,
        refused=(
            ("domain/run.py", "import asyncio"),
            ("domain/run.py", "import sqlalchemy"),
            ("domain/run.py", "from eventsourcing.domain import Aggregate"),
            ("domain/run.py", "from ..infrastructure import settings"),
            ("domain/run.py", "from .. import adapters"),
            ("domain/run.py", "from reattach import infrastructure"),
            ("domain/run.py", "from ... import secrets"),
            ("domain/run.py", "def late() -> None:\n    import socket"),
            ("infrastructure/wakeups.py", "from ..adapters.http import app"),
            ("infrastructure/wakeups.py", "import uvicorn"),
            ("infrastructure/eventstore/schema.py", "from eventsourcing.persistence import StoredEvent"),
            ("adapters/worker.py", "import sqlalchemy"),
            ("adapters/worker.py", "import sqlite3"),
            ("adapters/http/app.py", "from ...infrastructure.settings import Settings"),
            ("adapters/http/app.py", "from reattach.infrastructure import settings"),
            ("adapters/composition.py", "import mcp"),
            ("adapters/mcp/__init__.py", "import mcp"),
            ("adapters/cli.py", "from ..simulations import hunt"),
        ),
        allowed=(
            (
                "domain/run.py",
                "import re\nfrom pydantic import BaseModel\nfrom .frames import Frame\nfrom . import job",
            ),
            ("infrastructure/eventstore/recorder.py", "import eventsourcing.persistence\nfrom ...domain import run"),
            ("adapters/composition.py", "from ..infrastructure import settings\nfrom ..domain.run import Run"),
        ),
    ),
    Rule(
        name="our own folders are imported relatively",
        scope=("domain/", "infrastructure/", "adapters/", "simulations/"),
        check=relative_imports,
        refused=(
            ("domain/run.py", "from reattach.domain.frames import Frame"),
            ("adapters/cli.py", "import reattach.domain"),
            ("adapters/cli.py", "import domain.run"),
        ),
        allowed=(
            ("adapters/cli.py", "from ..domain.run import Run"),
            ("infrastructure/migrations/env.py", "from reattach.infrastructure.eventstore import schema"),
        ),
    ),
)
