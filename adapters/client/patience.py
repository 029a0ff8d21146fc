"""How patiently a client waits and comes back: every limit by name, jitter from the ids port."""

from dataclasses import dataclass
from typing import Final

from ...domain.ports import Ids

KEEPALIVE_S: Final = 10.0
"""The interval in which the server promises a byte on every stream."""

JITTER: Final = 0.5
"""A wait is prolonged by up to this share, so that the readers of a server that restarts don't all come at once."""

DOUBLINGS_MAX: Final = 16
_CHANCES: Final = 2**32


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits, in seconds. `give_up_s` counts from a break until the server sends a byte again; None: for ever."""

    wait_min_s: float = 0.25
    wait_max_s: float = 10.0
    connect_s: float = 10.0
    answer_s: float = 30.0
    silence_s: float = 3 * KEEPALIVE_S
    give_up_s: float | None = 900.0
    attempts_max: int = 4
    """How often one request is sent before it fails; a stream goes by `give_up_s` instead."""

    def wait_s(self, failures: int, ids: Ids, asked_s: float = 0.0) -> float:
        """How long to wait after this many failures in a row (0: the first), at least what the server asked for."""
        base = max(asked_s, self.wait_min_s) * 2.0 ** min(failures, DOUBLINGS_MAX)
        chance = ids.uuid().int % _CHANCES / _CHANCES  # the tail of a version 7 UUID is random
        return min(base, self.wait_max_s) * (1 + JITTER * chance)
