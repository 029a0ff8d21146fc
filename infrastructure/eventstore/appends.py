"""Appending output: the fence, what its refusal means, and what lands together with the frames."""

from typing import Any, Final

from ...domain.errors import AppendConflict, InvalidFrames, ReattachError, RunClosed, StaleEpoch
from ...domain.identifiers import RunId
from ...domain.ports import Append, Committed, Record
from ...domain.run import Run
from ...domain.transitions import Status
from ..codec import OUTPUT_TOPIC, Codec, Row, checksum, stream_id
from ..driver import Connection
from . import statements as sql
from .projections import Place, fold
from .transaction import loaded, save_checkpoint

PLACES_CACHED: Final = 16_384
"""Runs whose place is remembered; it never changes."""


class Places:
    """Where runs stand in their sessions, remembered: every append needs it."""

    def __init__(self) -> None:
        self._known: dict[RunId, Place] = {}

    def of(self, connection: Connection, run_id: RunId) -> Place:
        """Raises NotFound."""
        place = self._known.get(run_id)
        if place is None:
            place = Place.load(connection, run_id)
            if len(self._known) >= PLACES_CACHED:
                self._known.clear()
            self._known[run_id] = place
        return place


def append_output(
    connection: Connection, codec: Codec, places: Places, append: Append, *, folds: bool
) -> Committed | None:
    """Append inside the open transaction; None if the same append stands there already.

    With `folds` the messages are folded on. Raises InvalidFrames (there are none), NotFound, StaleEpoch, RunClosed or
    AppendConflict; the transaction is then as it was.
    """
    landed = connection.execute(sql.APPEND_OUTPUT, output_row(codec, append))
    if landed.rowcount == 0:
        refuse(connection, codec, append)
        return None
    return follow_output(connection, codec, places, append, folds=folds)


def output_row(codec: Codec, append: Append) -> dict[str, Any]:
    """The row to append. Raises InvalidFrames."""
    batch, epoch = append.batch, append.epoch
    if not batch.data:  # it would take no version, and the log could never grow past it
        raise InvalidFrames("An append carries at least one frame.", run_id=append.run_id)
    stream = stream_id(append.run_id)
    row = Row(batch.first_seq, len(batch.data), epoch, OUTPUT_TOPIC, codec.seal(batch.data))
    return {
        "stream_id": stream,
        "version": row.version,
        "frames": row.frames,
        "epoch": epoch,
        "topic": OUTPUT_TOPIC,
        "state": row.state,
        "outline": batch.outline.model_dump_json().encode(),
        "checksum": checksum(stream, row),
    }


def follow_output(connection: Connection, codec: Codec, places: Places, append: Append, *, folds: bool) -> Committed:
    """What lands together with the frames, once they have."""
    batch, run_id = append.batch, append.run_id
    place = places.of(connection, run_id)
    if batch.checkpoint is not None:
        save_checkpoint(connection, run_id, batch.checkpoint)
    if folds:
        # All but the last frame: a snapshot stops before the head, so that a real frame always follows it.
        fold(connection, codec, place, batch.first_seq, batch.data[:-1])
    return Committed(run_id, place.session_id, Record(batch.first_seq, append.epoch, batch.data))


def refuse(connection: Connection, codec: Codec, append: Append) -> None:
    """Return if the append stands in the log already (its acknowledgement was lost), else say why it was refused."""
    place = Place.load(connection, append.run_id)
    if _stands(connection, codec, append):
        return
    (state,) = connection.execute(sql.SELECT_RUN, {"id": stream_id(place.run_id)}).fetchone()
    run = loaded(Run, place.run_id, state)
    version, frames, *_ = connection.execute(sql.SELECT_HEAD, {"stream_id": stream_id(place.run_id)}).fetchone()
    raise _reason(append, run, head_seq=version + frames - 1)


def _stands(connection: Connection, codec: Codec, append: Append) -> bool:
    at = {"stream_id": stream_id(append.run_id), "version": append.batch.first_seq}
    columns = connection.execute(sql.SELECT_EVENT, at).fetchone()
    if columns is None:
        return False
    row = Row._make(columns)
    same = row.topic == OUTPUT_TOPIC and row.epoch == append.epoch
    return same and codec.frames(append.run_id, row) == append.batch.data


def _reason(append: Append, run: Run, head_seq: int) -> ReattachError:
    fields = {"run_id": run.run_id, "epoch": run.epoch, "head_seq": head_seq}
    if append.epoch != run.epoch:
        detail = f"The worker holds epoch {append.epoch}, the run is at {run.epoch}."
        return StaleEpoch(detail, **fields)
    if run.status is not Status.RUNNING:
        return RunClosed(f"The run is {run.status}.", **fields, status=run.status)
    detail = f"The log ends at {head_seq}; this append begins at {append.batch.first_seq}."
    return AppendConflict(detail, **fields)
