"""How `reattach simulate` ends: an exit code for each kind of ending, so that a script can tell them apart."""

from enum import IntEnum


class Verdict(IntEnum):
    """The exit codes of all `simulate` commands."""

    CLEAN = 0
    """No promise was broken; what was asked for was done."""
    VIOLATION = 1
    """A promise was broken. The last line of the output is the command that replays it."""
    USAGE = 2
    """The command line is wrong, or a file can't be read; nothing was run."""
    TROUBLE = 3
    """The simulator itself failed. That says nothing about the code under test."""
    NOT_DETERMINISTIC = 4
    """The same decisions gave two different worlds: no finding can be trusted before that is mended."""
    MISSED = 5
    """A planted bug was not found, or a mark was never reached: the search is weaker than it should be."""
    AGENT = 6
    """One of the user's agents does what no simulated world can hold; the message says what, and what to do instead."""
    INTERRUPTED = 130
    """Ctrl-C. What was found until then was reported."""
    UNREAD = 141
    """Nobody reads the output any more."""
