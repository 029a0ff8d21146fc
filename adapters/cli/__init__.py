"""The command line. The root's `__main__.py` is the installed command: it adds what stands above this layer."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .exits import Exit

if TYPE_CHECKING:
    from .options import Commands


def main(arguments: Sequence[str] | None = None, *, extra: "Sequence[Callable[[Commands], None]]" = ()) -> int:
    """Run one command; its exit code (see `Exit`). A foreseeable error is a message, never a traceback.

    `extra` declares further commands, after our own.
    """
    try:
        from .commands import execute  # noqa: PLC0415  - Ctrl-C while the modules load is no traceback either

        return execute(sys.argv[1:] if arguments is None else arguments, extra)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, and so will the flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNREAD


__all__ = ["main"]
