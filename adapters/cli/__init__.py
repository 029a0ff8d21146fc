"""The command line: `reattach`, also `python -m reattach`."""

import os
import sys
from collections.abc import Sequence

from .exits import Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (see `Exit`). A foreseeable error is a message, never a traceback."""
    try:
        from .commands import execute  # noqa: PLC0415  - Ctrl-C while the modules load is no traceback either

        return execute(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, and so will the flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNREAD


__all__ = ["main"]
