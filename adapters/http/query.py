"""What a request says outside its body: query parameters, page cursors and the headers of ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from pydantic import JsonValue
from starlette.types import Scope

from ...domain.errors import Malformed, SessionEpochRequired
from ...domain.identifiers import Cursor, RunId
from ...domain.requests import Idempotency
from ...domain.steps import as_run

QUERY_BYTES_MAX: Final = 16_384
"""Bytes of a query string."""

PAGE_LIMIT: Final = 20
"""Items of a page, unless `limit` says otherwise."""

PAGE_LIMIT_MAX: Final = 100
"""The most that `limit` may ask for."""

FILTER_CHARS_MAX: Final = 200
"""Characters of a filter's value."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
RUN_EPOCH: Final = "Run-Epoch"
SESSION_EPOCH: Final = "Session-Epoch"
REPLAYED: Final = "Idempotent-Replayed"

_KEY: Final = re.compile(r"[!-~]{1,255}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_TEXT: Final = re.compile(rf"[^\x00-\x1f\x7f\ufffd]{{1,{FILTER_CHARS_MAX}}}")
_EVENT_STREAM: Final = "text/event-stream"
_NOT_WANTED: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page of a list: so many items, after this cursor, with these filters."""

    limit: int
    cursor: str | None
    filters: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope, *filters: str, cursor: str | None = "cursor") -> "PageQuery":
        """Read the query; without a `cursor` there is one page only.

        Raises Malformed for what this list does not know: nothing is silently ignored.
        """
        given = _parameters(scope)
        known = ("limit", *((cursor,) if cursor is not None else ()), *filters)
        for name in given:
            if name not in known:
                detail = f"?{name[:50]} is not known here; {', '.join(known)} {'are' if len(known) > 1 else 'is'}."
                raise Malformed(detail, field=name)
        limit = given.get("limit", str(PAGE_LIMIT))
        if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= PAGE_LIMIT_MAX:
            raise Malformed(f"?limit is a number from 1 to {PAGE_LIMIT_MAX}.", field="limit", limit=PAGE_LIMIT_MAX)
        return cls(
            int(limit),
            given.get(cursor) if cursor is not None else None,
            {name: given[name] for name in filters if name in given},
        )

    def choice(self, name: str, allowed: tuple[str, ...]) -> None:
        """Raise Malformed unless the filter is absent or one of these."""
        value = self.filters.get(name)
        if value is not None and value not in allowed:
            raise Malformed(f"?{name} is one of {', '.join(allowed)}.", field=name)


def number_in(name: str, text: str) -> int:
    """A parameter that is a number. Raises Malformed."""
    if not _NUMBER.fullmatch(text):
        raise Malformed(f"?{name} is a number.", field=name)
    return int(text)


def check_query(scope: Scope) -> None:
    """Raise Malformed for a query string over its limit, on every route."""
    if len(scope["query_string"]) > QUERY_BYTES_MAX:
        raise Malformed(f"A query string has at most {QUERY_BYTES_MAX} bytes.", limit=QUERY_BYTES_MAX)


def refuse_query(scope: Scope) -> None:
    """Raise Malformed, naming it, for any query parameter: none is known here."""
    if scope["query_string"]:
        for name in _parameters(scope):
            raise Malformed(f"?{name[:50]} is not known here; no parameter is.", field=name)


def run_id_in(scope: Scope) -> RunId:
    """The run that the path names, if it has the form of one. Raises NotFound."""
    return as_run(scope["path_params"]["run_id"])


def epoch_in(scope: Scope) -> int:
    """The Run-Epoch header, a worker's claim to the run. Raises Malformed."""
    text = header(scope, RUN_EPOCH)
    if text is None or not _NUMBER.fullmatch(text):
        raise Malformed(f"{RUN_EPOCH} is the `epoch` that the claim was answered with.", field=RUN_EPOCH)
    return int(text)


def session_epoch_in(scope: Scope) -> int | None:
    """The Session-Epoch header, an owner's claim to the session, if there is one. Raises Malformed."""
    text = header(scope, SESSION_EPOCH)
    if text is not None and not _NUMBER.fullmatch(text):
        raise Malformed(f"{SESSION_EPOCH} is the `epoch` that the resume was answered with.", field=SESSION_EPOCH)
    return int(text) if text is not None else None


def owner_epoch_in(scope: Scope) -> int:
    """The Session-Epoch header, where only an owner may ask. Raises SessionEpochRequired or Malformed."""
    epoch = session_epoch_in(scope)
    if epoch is None:
        raise SessionEpochRequired("Only its owner may do this.", session_id=scope["path_params"]["session_id"])
    return epoch


def idempotency_in(scope: Scope, payload: JsonValue) -> Idempotency | None:
    """The Idempotency-Key with a digest of route and payload, if there is one. Raises Malformed."""
    key = header(scope, IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Malformed(f"{IDEMPOTENCY_KEY} is 1 to 255 visible ASCII characters.", field=IDEMPOTENCY_KEY, limit=255)
    return Idempotency.of(key, f"{scope['method']} {scope['path']}", payload)


def wants_stream(scope: Scope) -> bool:
    """Whether Accept lists text/event-stream. Raises InvalidCursor for a Last-Event-ID that the stream would refuse."""
    accepted = (value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
    if not any(_is_stream(piece) for value in accepted for piece in value.split(",")):
        return False
    cursor = header(scope, "Last-Event-ID")
    if cursor is not None:
        Cursor.parse(cursor)  # now: a run that was started for a request that is then refused would be nobody's
    return True


def header(scope: Scope, name: str) -> str | None:
    """A header that may stand once. Raises Malformed if it stands twice."""
    wanted = name.lower().encode()
    values = [value for key, value in scope["headers"] if key == wanted]
    if len(values) > 1:
        raise Malformed(f"{name} stands more than once.", field=name)
    return values[0].decode("latin-1") if values else None


def _is_stream(accepted: str) -> bool:
    """Whether this piece of an Accept header asks for an event stream; `q=0` says that it does not."""
    media, *parameters = accepted.lower().split(";")
    return media.strip() == _EVENT_STREAM and not any(map(_NOT_WANTED.fullmatch, parameters))


def _parameters(scope: Scope) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name in parameters:
            raise Malformed(f"?{name[:50]} stands more than once.", field=name)
        if not _TEXT.fullmatch(value):
            raise Malformed(f"?{name[:50]} is 1 to {FILTER_CHARS_MAX} printable characters.", field=name)
        parameters[name] = value
    return parameters
