"""Identifiers rise with time, within the millisecond and when the clock is set back; the clock tells UTC."""

from datetime import UTC, timedelta

from reattach.infrastructure.clock import SystemClock, UuidV7

from .world import ManualClock


def test_ids_rise_strictly_whatever_the_clock_does() -> None:
    clock = ManualClock()
    ids = UuidV7(clock)
    made = [ids.uuid() for _ in range(5_000)]
    clock.advance(-3600)
    made += [ids.uuid() for _ in range(10)]
    clock.advance(7200)
    made += [ids.uuid() for _ in range(10)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_says_when_it_was_made() -> None:
    clock = ManualClock()
    uuid = UuidV7(clock).uuid()
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == int(clock.now().timestamp() * 1000)


def test_the_clock_tells_utc_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() - clock.now() <= timedelta(0)
