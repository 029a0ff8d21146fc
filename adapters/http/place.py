"""Where a stream begins: the cursor a request presents, and whether it can be honoured."""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

from ...domain.errors import ConfigMismatch, Malformed
from ...domain.identifiers import Cursor, parse_seq
from ...domain.request_config import RequestConfig
from .broadcaster import Broadcaster
from .feed import Feed
from .query import number_in, session_epoch_in

PARAMETERS: Final = ("after", "follow", "snapshot", "config", "session_epoch")


class Wish(NamedTuple):
    """What the request asks for. `cursor` is from the header, else from ?after=; `seq` is the bare form.

    `session_epoch`, of a session's stream: the reader owns the session under it, and wants to know when it does not.
    """

    cursor: Cursor | None
    seq: int | None
    follow: bool
    snapshot: bool
    config: str | None
    session_epoch: int | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Wish":
        """Read header and query. Raises InvalidCursor or Malformed."""
        query = _query(scope)
        headers = [value for name, value in scope["headers"] if name == b"last-event-id"]
        if len(headers) > 1:
            raise Malformed("Last-Event-ID stands more than once.", field="Last-Event-ID")
        header = headers[0] if headers else None
        text = header.decode("latin-1") if header is not None else query.get("after")
        seq = parse_seq(text) if text is not None and header is None else None
        cursor = Cursor.parse(text) if text is not None and seq is None else None
        snapshot = header is None and _flag(query, "snapshot", default=False)
        epoch, held = query.get("session_epoch"), session_epoch_in(scope)
        if epoch is not None:
            said, held = held, number_in("session_epoch", epoch)
            if said not in (None, held):
                raise Malformed(f"?session_epoch={held} is not the Session-Epoch {said}.", field="session_epoch")
        return cls(cursor, seq, _flag(query, "follow", default=True), snapshot, query.get("config"), held)

    @property
    def fresh(self) -> bool:
        """Whether the reader has seen nothing of this log yet."""
        return self.cursor is None and not self.seq


class Place(NamedTuple):
    """Where a stream begins: after `seq`, or (`reset` set) with a snapshot because the cursor can't be honoured."""

    seq: int
    reset: str | None = None
    done: bool = False


async def place_in(broadcaster: Broadcaster, feed: Feed, wish: Wish) -> Place:
    """Honour the wish's cursor in this run, or say why it can't be."""
    cursor = wish.cursor
    seq = cursor.seq if cursor is not None else wish.seq or 0
    if cursor is not None and cursor.generation != broadcaster.store.generation:
        return Place(seq, "generation")
    if seq > feed.head:  # the news of another process may still be on its way
        await broadcaster.refresh(feed)
    if seq > feed.head:
        return Place(seq, "ahead")
    if cursor is not None and seq > 0:
        epoch = feed.epoch_at(seq)
        if epoch is None:
            epoch = await broadcaster.store.epoch_at(feed.view.run.run_id, seq)
        if epoch != cursor.epoch:
            return Place(seq, "epoch")
    if seq + 1 < feed.view.first_seq:
        return Place(seq, "trimmed")
    return Place(seq, done=feed.terminal and seq == feed.head)


def check_config(config: RequestConfig, wish: Wish) -> None:
    """Raise ConfigMismatch if the reader expects another request_config than the run has."""
    if wish.config is not None and wish.config != config.digest:
        raise ConfigMismatch(f"The run has {config.digest}.", request_config_digest=config.digest)


def _query(scope: Scope) -> dict[str, str]:
    if not scope["query_string"]:
        return {}
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise Malformed("The query string can't be read.") from error
    query = dict(pairs)
    for name in query:
        if name not in PARAMETERS:
            raise Malformed(f"?{name[:50]} is not known here; {', '.join(PARAMETERS)} are.", field=name[:50])
    if len(query) < len(pairs):
        raise Malformed("A query parameter stands twice.")
    return query


def _flag(query: dict[str, str], name: str, *, default: bool) -> bool:
    text = query.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise Malformed(f"?{name} is `true` or `false`.", field=name)
    return text == "true"
