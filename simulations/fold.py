"""The fold of a log that only grows: brought on by what is new, so that to look again costs what came since."""

from collections.abc import Sequence

from ..domain.snapshot import Snapshot
from ..domain.wire import decode_fields


class Fold:
    """A run's frames from the first one on, folded as far as somebody has asked for."""

    __slots__ = ("_snapshot",)

    def __init__(self) -> None:
        self._snapshot = Snapshot.empty()

    @property
    def seq(self) -> int:
        """How far it is: who asks for as much needs no lines."""
        return self._snapshot.seq

    def through(self, seq: int, lines: Sequence[bytes]) -> Snapshot:
        """The frames up to `seq`; `lines` are all of the log. It stays this object's: look, and change nothing.

        Who asks for less than before gets a fold of its own, from the beginning.
        """
        snapshot = self._snapshot
        if seq < snapshot.seq:
            snapshot = Snapshot.empty()
        for frame in decode_fields(lines[snapshot.seq : seq]):
            snapshot.apply(frame)
        return snapshot
