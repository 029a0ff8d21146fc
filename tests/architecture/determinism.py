"""What would let a replayed seed differ: time and chance taken in place, shared state, the order of a set, threads."""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from typing import Final

from .source import ROOT, Finding, Rule, Source

# Ruff reads the same table, so that an editor says it first.
_LINT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
BANNED: Final = frozenset[str](_LINT["flake8-tidy-imports"]["banned-api"])

FROZEN_TYPES: Final = frozenset({"Final", "Mapping", "TypeAlias", "frozenset", "tuple"})
FROZEN_CALLS: Final = frozenset({"NewType", "ParamSpec", "TypeVar", "frozenset", "tuple"})
DISPLAYS: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.Call)
MUTATORS: Final = frozenset("add append clear discard extend insert pop popitem remove setdefault sort update".split())
SETS: Final = frozenset({"frozenset", "set"})
ORDERED_COPIES: Final = frozenset({"enumerate", "iter", "list", "tuple"})


def real_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `from time import time as t` makes `t` mean `time.time`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names |= {alias.asname: alias.name} if alias.asname else {top: top}
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The full name behind an expression such as `dt.datetime.now`, or nothing if it is not one."""
    match node:
        case ast.Name(id=name):
            return names.get(name, "")
        case ast.Attribute(value=value, attr=attribute) if base := dotted(value, names):
            return f"{base}.{attribute}"
        case _:
            return ""


def banned_names(source: Source) -> Iterator[Finding]:
    names = real_names(source.tree)
    for node in ast.walk(source.tree):
        match node:
            case ast.Name() | ast.Attribute():
                found = [dotted(node, names)]
            case ast.Import():
                found = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module=str(module)):
                found = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            case _:
                continue
        for name in sorted(BANNED.intersection(found)):
            yield Finding(node.lineno, f"{name}: take it as an argument")


def module_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run at import, also inside `if`, `try` and `with`."""
    for statement in body:
        yield statement
        for field in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from module_level(getattr(statement, field, ()))


def is_constant(name: str) -> bool:
    return name.isupper() or (name.startswith("__") and name.endswith("__"))


def last_name(node: ast.expr | None) -> str:
    """`Final` of `typing.Final[int]`, `list` of `list[int]()`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return last_name(value)
        case _:
            return ""


def module_state(source: Source) -> Iterator[Finding]:
    for statement in module_level(source.tree.body):
        match statement:
            case ast.Assign(targets=targets, value=value):
                names = [ast.unparse(target) for target in targets]
            case ast.AnnAssign(target=target, value=ast.expr() as value, annotation=annotation):
                names = [] if last_name(annotation) in FROZEN_TYPES else [ast.unparse(target)]
            case _:
                continue
        frozen = isinstance(value, ast.Call) and last_name(value.func) in FROZEN_CALLS
        if isinstance(value, DISPLAYS) and not frozen:
            for name in names:
                if not is_constant(name):
                    yield Finding(statement.lineno, f"{name} is state of the module: annotate it Final or pass it on")


def constants_changed(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb)):
                changed = verb in MUTATORS
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                changed = True
            case ast.Global(names=[name, *_]):
                yield Finding(node.lineno, f"global {name} is state of the module")
                continue
            case _:
                continue
        if changed and is_constant(name):
            yield Finding(node.lineno, f"{name} is a constant, and changed here")


def is_set_call(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Subscript) and last_name(node.func) in SETS
    )


def set_order(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        match node:
            case ast.For(iter=walked) | ast.AsyncFor(iter=walked) | ast.comprehension(iter=walked):
                pass
            case ast.Call(func=func, args=[walked, *_]) if last_name(func) in ORDERED_COPIES:
                pass
            case _:
                continue
        if isinstance(walked, ast.Set | ast.SetComp) or is_set_call(walked):
            yield Finding(walked.lineno, "a set has no order: sort it")


def threaded_endpoints(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef) and "request" in {argument.arg for argument in node.args.args}:
            yield Finding(node.lineno, f"{node.name} takes a request: without `async` Starlette runs it in a thread")


PURE: Final = ("domain/", "adapters/")
RULES: Final = (
    Rule(
        name="time, ids, chance and threads are arguments",
        scope=PURE,
        check=banned_names,
        refused=(
            ("domain/run.py", "import datetime as dt\nat = dt.datetime.now(dt.UTC)"),
            ("domain/run.py", "from datetime import datetime\nat = datetime.utcnow()"),
            ("domain/run.py", "from uuid import uuid4"),
            ("domain/run.py", "import uuid\nfield(default_factory=uuid.uuid4)"),
            ("domain/run.py", "import random"),
            ("domain/run.py", "from random import choice"),
            ("adapters/worker.py", "from time import monotonic as now"),
            ("adapters/worker.py", "import time\nstarted = time.time()"),
            ("adapters/worker.py", "import secrets"),
            ("adapters/worker.py", "import threading"),
            ("adapters/worker.py", "import asyncio\nasync def f() -> None:\n    await asyncio.to_thread(print)"),
        ),
        allowed=(("domain/run.py", "from uuid import UUID\ndef f(clock: Clock) -> UUID:\n    return clock.now(time)"),),
    ),
    Rule(
        name="modules hold no state",
        scope=PURE,
        check=module_state,
        refused=(
            ("domain/run.py", "seen = []"),
            ("domain/run.py", "seen: dict[str, int] = {}"),
            ("domain/run.py", "if True:\n    seen = {name for name in 'ab'}"),
            ("adapters/worker.py", "try:\n    client = Client()\nexcept OSError:\n    pass"),
        ),
        allowed=(
            ("domain/run.py", "EDGES = {1: 2}\nedges: Final = {1: 2}\nnames: Mapping[int, int] = {}\n__all__ = ['a']"),
            ("domain/run.py", "RunId = NewType('RunId', str)\nname = 'run'\nstates = frozenset({1})\nx: int"),
            ("domain/run.py", "def f() -> None:\n    seen = []"),
        ),
    ),
    Rule(
        name="constants stay as they are",
        scope=PURE,
        check=constants_changed,
        refused=(
            ("domain/run.py", "def f() -> None:\n    EDGES['a'] = 1"),
            ("domain/run.py", "def f() -> None:\n    del EDGES['a']"),
            ("domain/run.py", "def f() -> None:\n    EDGES.update(a=1)"),
            ("domain/run.py", "def f() -> None:\n    global count\n    count = 1"),
        ),
        allowed=(("domain/run.py", "def f() -> None:\n    seen = [EDGES['a'], EDGES.get('b')]\n    seen.append(1)"),),
    ),
    Rule(
        name="no order is taken from a set",
        scope=("domain/", "infrastructure/", "adapters/"),
        check=set_order,
        refused=(
            ("domain/run.py", "for name in {'a', 'b'}:\n    pass"),
            ("domain/run.py", "names = [name for name in set(given)]"),
            ("infrastructure/codec.py", "names = list(frozenset[str](given))"),
            ("adapters/worker.py", "for index, name in enumerate({name for name in given}):\n    pass"),
        ),
        allowed=(("domain/run.py", "for name in sorted({'a', 'b'}):\n    pass\nwindow.set(1)"),),
    ),
    Rule(
        name="endpoints are coroutines",
        scope=("adapters/http/",),
        check=threaded_endpoints,
        refused=(("adapters/http/runs.py", "def get_run(request: Request) -> Response: ..."),),
        allowed=(
            ("adapters/http/runs.py", "async def get_run(request: Request) -> Response: ...\ndef f(x: int): ..."),
        ),
    ),
)
