"""Where a stream begins: the cursor a request presents, and whether it can be honoured."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Scope

from ...domain.errors import Malformed
from ...domain.identifiers import Cursor, parse_seq
from ...domain.ports import Store
from .feed import Feed


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request asks for. `cursor` is from the header, else from ?after=; `seq` is the bare form."""

    cursor: Cursor | None
    seq: int | None
    follow: bool
    snapshot: bool
    config: str | None

    @classmethod
    def of(cls, scope: Scope) -> "Wish":
        """Read header and query. Raises InvalidCursor or Malformed."""
        query = _query(scope)
        header = next((value for name, value in scope["headers"] if name == b"last-event-id"), None)
        text = header.decode("latin-1") if header is not None else query.get("after")
        seq = parse_seq(text) if text is not None and header is None else None
        cursor = Cursor.parse(text) if text is not None and seq is None else None
        snapshot = header is None and _flag(query, "snapshot", default=False)
        return cls(cursor, seq, _flag(query, "follow", default=True), snapshot, query.get("config"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream begins: after `seq`, or (`reset` set) with a snapshot because the cursor can't be honoured."""

    seq: int
    reset: str | None = None
    done: bool = False


async def place_in(store: Store, feed: Feed, wish: Wish) -> Place:
    """Honour the wish's cursor in this run, or say why it can't be."""
    cursor = wish.cursor
    seq = cursor.seq if cursor is not None else wish.seq or 0
    if cursor is not None and cursor.generation != store.generation:
        return Place(seq, "generation")
    if seq > feed.head:
        return Place(seq, "ahead")
    if cursor is not None and seq > 0:
        epoch = feed.epoch_at(seq)
        if epoch is None:
            epoch = await store.epoch_at(feed.view.run.run_id, seq)
        if epoch != cursor.epoch:
            return Place(seq, "epoch")
    if seq + 1 < feed.view.first_seq:
        return Place(seq, "trimmed")
    return Place(seq, done=feed.terminal and seq == feed.head)


def _query(scope: Scope) -> dict[str, str]:
    if not scope["query_string"]:
        return {}
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise Malformed("The query string can't be read.") from error
    return dict(pairs)


def _flag(query: dict[str, str], name: str, *, default: bool) -> bool:
    text = query.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise Malformed(f"?{name} is `true` or `false`.", field=name)
    return text == "true"
