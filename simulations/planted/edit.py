"""Edits of production code: a function's source with one place changed, compiled, and put into the same function."""

import importlib
import inspect
import textwrap
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Final

PACKAGE: Final = __name__.removesuffix(".simulations.planted.edit")
"""The package whose code is edited."""


class EditDoesNotFit(Exception):
    """The code has changed, and the edit must change with it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`target` is `module:function` or `module:Class.method`, the module without the package's name.

    `old` stands in its source exactly once, and becomes `new`.
    """

    target: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug: what is wrong, in a sentence, and which violations (by name) are a right finding of it.

    `store` is what its worlds run on unless told otherwise: a bug of the SQLite store needs that store.
    """

    name: str
    what: str
    finds: tuple[str, ...]
    edits: tuple[Edit, ...]
    store: str | None = None


@contextmanager
def edited(edits: Sequence[Edit]) -> Generator[None]:
    """Inside, the edits are in place. Raises EditDoesNotFit."""
    with ExitStack() as stack:
        changes: dict[str, tuple[FunctionType, str]] = {}
        for edit in edits:
            function = function_of(edit.target)
            _, source = changes.get(edit.target, (function, textwrap.dedent(inspect.getsource(function))))
            if source.count(edit.old) != 1:
                raise EditDoesNotFit(
                    f"{edit.target}: {edit.old!r} stands there {source.count(edit.old)} times, not once"
                )
            changes[edit.target] = function, source.replace(edit.old, edit.new)
        for target, (function, source) in changes.items():
            stack.enter_context(_running(function, _compiled(target, function, source)))
        yield


@contextmanager
def _running(function: FunctionType, code: CodeType) -> Generator[None]:
    """The same function object with other code: whoever has imported it runs the other code, too."""
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


def function_of(target: str) -> FunctionType:
    """The function that an edit's target names. Raises EditDoesNotFit, or AttributeError if there is none."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(f"{PACKAGE}.{module}")
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    return _plain(found)


def _plain(found: Any) -> FunctionType:
    """The function behind a property, a class method or a static one."""
    function: Any = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    if not isinstance(function, FunctionType):
        raise EditDoesNotFit(f"{found!r} is no function")
    return function


def _compiled(target: str, function: FunctionType, source: str) -> CodeType:
    name = function.__name__
    # A method may need the cell of its class: it is compiled inside a function that has such a name.
    free = function.__code__.co_freevars
    body = (
        source if not free else f"def around({', '.join(free)}):\n{textwrap.indent(source, '    ')}\n    return {name}"
    )
    filename = f"<planted in {target}>"
    scope: dict[str, Any] = {}
    exec(compile(body, filename, "exec"), dict(function.__globals__), scope)  # noqa: S102  our own source, edited
    code = _plain(scope["around"](*free) if free else scope[name]).__code__
    return code.replace(co_firstlineno=function.__code__.co_firstlineno)
