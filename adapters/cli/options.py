"""Options that several commands share, and the client they describe."""

import argparse
import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..client import Client
from .exits import UsageError
from .terminal import Terminal

DEFAULT_URL: Final = "http://127.0.0.1:8000"
"""Where `reattach serve` listens unless told otherwise."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage] - no public name
"""What a group of commands adds its own to."""

Command = Callable[[argparse.Namespace, Terminal], int]
"""What a subcommand's `command` is: it does the work and returns the exit code."""


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """--url and --json, as every command that talks to a server has them."""
    parser.add_argument(
        "--url", default=os.environ.get("REATTACH_URL") or DEFAULT_URL, help="the server's URL (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for a script to read, one object per line")


def connect(options: argparse.Namespace) -> Client:
    """The client these options describe, with the token of the environment. Raises Invalid or UsageError."""
    for name, value in vars(options).items():
        if isinstance(value, str) and not is_text(value):
            raise UsageError(f"{name} is no UTF-8; check the terminal's encoding, and give it again.")
    return Client(options.url, os.environ.get("REATTACH_TOKEN") or None)


def in_loop(work: Callable[[argparse.Namespace, Terminal], Coroutine[Any, Any, int]]) -> Command:
    """A command whose work waits for a server."""
    return lambda options, terminal: asyncio.run(work(options, terminal))


def is_text(argument: str) -> bool:
    """Whether an argument can be written as UTF-8: what the terminal sent in another encoding can't."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def command_line(options: argparse.Namespace, *words: str) -> str:
    """A command to copy into another terminal, which reaches the same server from there."""
    url = () if options.url == DEFAULT_URL else ("--url", options.url)
    return shlex.join((*invocation(), *words, *url))


def invocation() -> tuple[str, ...]:
    """How this command was called: `reattach` where PATH finds it, else the path as given, or `python -m reattach`."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "reattach":
        return "python", "-m", "reattach"
    found = shutil.which("reattach")
    if called.stem != "reattach" or (found and Path(found).resolve() == called.resolve()):
        return ("reattach",)
    return (sys.argv[0],)


def positive(text: str) -> int:
    """An option that counts something. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def duration(text: str) -> float:
    """An option that says how long, in its own unit. Raises ArgumentTypeError."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("more than 0, please")
    return number
