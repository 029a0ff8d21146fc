"""Errors: each has its own stable code, a title and a remedy, and says them."""

from collections.abc import Iterator

import pytest

from reattach.domain import errors
from reattach.domain.errors import (
    InvalidFrames,
    ReattachError,
    SessionOwned,
    StaleEpoch,
    StaleSession,
    UnwritableOutput,
)

CODES = """
    NotFound not_found
    IllegalTransition illegal_transition
    SessionBusy session_busy
    SessionFinalized session_finalized
    SessionOwned SESSION_BUSY
    SessionEpochRequired session_epoch_required
    HandoffConflict handoff_conflict
    StaleToken stale_token
    SummaryNotDue summary_not_due
    StaleEpoch stale_epoch
    StaleSession stale_epoch
    AppendConflict append_conflict
    RunClosed run_closed
    DecisionConflict decision_conflict
    UnknownApproval unknown_approval
    Malformed malformed
    InvalidCursor invalid_cursor
    Invalid invalid
    InvalidFrames invalid_frames
    UnwritableOutput invalid_frames
    UnknownAgent unknown_agent
    TooLarge too_large
    ConfigMismatch config_mismatch
    IdempotencyMismatch idempotency_mismatch
    Unauthorized unauthorized
    Draining draining
    StoreUnavailable store_unavailable
    RecordDamaged record_damaged
    ConfigurationError configuration
"""
"""Clients match on these: a code may be added, none changed."""


def family(base: type[ReattachError]) -> Iterator[type[ReattachError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from family(kind)


FAMILY = list(dict.fromkeys(family(ReattachError)))


def test_codes_are_stable() -> None:
    assert [[kind.__name__, kind.code] for kind in FAMILY] == [line.split() for line in CODES.strip().splitlines()]


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.code)
def test_every_error_speaks_for_itself(kind: type[ReattachError]) -> None:
    assert {"code", "title", "remedy"} <= vars(kind).keys()
    assert kind.__doc__
    assert kind.title[0].isupper()
    assert not kind.title.endswith(".")
    assert kind.remedy.endswith(".")


def test_codes_are_unique() -> None:
    """Only a special case of an error may share its code."""
    special = {UnwritableOutput: InvalidFrames, StaleSession: StaleEpoch}
    codes = [kind.code for kind in (ReattachError, *FAMILY) if kind not in special]
    assert all(kind.code == base.code for kind, base in special.items())
    assert len(set(codes)) == len(codes)
    lower = [code for code in codes if code != SessionOwned.code]  # it is one of the codes of resume
    assert all(code.replace("_", "").isalpha() and code.islower() for code in lower)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.code)
def test_the_detail_ends_with_what_to_do(kind: type[ReattachError]) -> None:
    plain, detailed = kind(run_id="r"), kind("It broke.", run_id="r")
    assert str(plain) == plain.detail == f"{kind.title}. {kind.remedy}"
    assert str(detailed) == detailed.detail == f"It broke. {kind.remedy}"
    assert detailed.fields == {"run_id": "r"}
