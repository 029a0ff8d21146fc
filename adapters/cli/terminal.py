"""The terminal: the answer goes to stdout, all that is said about it to stderr, so that a pipe gets the answer alone.

Text comes from models and tools: what could steer a terminal is made harmless before it reaches one.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final, Self, TextIO

STYLES: Final[Mapping[str, str]] = {
    "plain": "",
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
}
_PLAIN: Final = "\x1b[0m"
_TURNING: Final = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""What makes text run the other way: a command that waits for approval must read as it will run (UTR 36, 2.5)."""

_HARMLESS: Final = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160), *_TURNING), "�")
"""Control characters, but tab and line feed."""


class Terminal:
    """Two streams and what is still open on them: a line of the answer, or an aside."""

    def __init__(self, out: TextIO, err: TextIO, *, color: bool) -> None:
        self._out = out
        self._err = err
        self._color = color
        self._out_is_terminal = out.isatty()
        self._answering = False
        self._aside = False

    @classmethod
    def standard(cls) -> Self:
        """This process's own. Colours only on a terminal that has them, and never against NO_COLOR."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(sys.stdout, sys.stderr, color=sys.stderr.isatty() and not plain)

    def answer(self, text: str) -> None:
        """More of the answer, as it arrives."""
        if not text:
            return
        self._end_aside()
        self._out.write(harmless(text) if self._out_is_terminal else text)
        self._out.flush()
        self._answering = not text.endswith("\n")

    def end_answer(self) -> None:
        """The answer's part is complete: end its line."""
        if self._answering:
            self._out.write("\n")
            self._out.flush()
            self._answering = False

    def aside(self, text: str) -> None:
        """More of what accompanies the answer (reasoning), as it arrives."""
        if not text:
            return
        if not self._aside:
            self._break_answer()
            self._aside = True
        self._err.write(self._styled(harmless(text), "dim"))
        self._err.flush()

    def note(self, text: str, style: str = "plain") -> None:
        """A line of its own about the run."""
        self._end_aside()
        self._break_answer()
        self._err.write(self._styled(harmless(text), style) + "\n")
        self._err.flush()

    def error(self, text: str) -> None:
        """What went wrong, and what to do."""
        self.note(f"error: {text}", "red")

    def result(self, text: str) -> None:
        """A line of the command's result, for people and scripts alike."""
        self._out.write(text + "\n")
        self._out.flush()

    def _styled(self, text: str, style: str) -> str:
        return f"{STYLES[style]}{text}{_PLAIN}" if self._color and STYLES[style] else text

    def _end_aside(self) -> None:
        if self._aside:
            self._err.write("\n")
            self._aside = False

    def _break_answer(self) -> None:
        """A note in the middle of an answer starts on a fresh line; a pipe is never sent what is not the answer's."""
        if self._answering and self._out_is_terminal:
            self.end_answer()


def harmless(text: str) -> str:
    """The text without anything that could steer a terminal."""
    return text.translate(_HARMLESS)


def shortened(text: str, width: int = 160) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
