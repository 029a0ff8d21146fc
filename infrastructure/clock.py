"""The real clock and real identifiers, behind the domain's ports."""

import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from ..domain.ports import Clock

_COUNTER_BITS: Final = 12
_RANDOM_BITS: Final = 62
_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62


class SystemClock:
    """This machine's time."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class UuidV7:
    """UUIDs of version 7 (RFC 9562): 48 bits of milliseconds, a counter inside the millisecond, 62 random bits.

    Ids of one process rise strictly, also when the clock stands still or is set back. Not for use by several threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def uuid(self) -> UUID:
        """A UUID that sorts by time of creation."""
        instant = int(self._clock.now().timestamp() * 1000) << _COUNTER_BITS
        self._last = instant if instant > self._last else self._last + 1
        milliseconds, counter = divmod(self._last, 1 << _COUNTER_BITS)
        return UUID(int=milliseconds << 80 | _VERSION_7 | counter << 64 | _VARIANT | secrets.randbits(_RANDOM_BITS))
