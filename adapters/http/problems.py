"""Problem documents (RFC 9457): the one shape of every error, and the one table that says which status it gets."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response

from ...domain import errors as e

DETAIL_CHARS_MAX: Final = 500
"""Characters of a `detail`, and of any text field beside it: an answer never grows with what was sent."""

RETRY_AFTER_S: Final = "1"
"""Seconds after which a 503 is worth another try: about what a restart takes."""

MEDIA_TYPE: Final = "application/problem+json"


class UnknownPage(e.InvalidCursor):
    """A `cursor` or `before` that this server never gave out for this list."""

    title = "Unknown page cursor"
    remedy = "Send the `next_cursor` of the page before, unchanged; leave it out for the first page."


class Forbidden(e.ReattachError):
    """The token is good, but not for this route."""

    code = "forbidden"
    title = "Not with this token"
    remedy = "The routes of workers take a `*` token of REATTACH_TOKENS, all others the token of a tenant."


class MethodNotAllowed(e.ReattachError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    title = "Method not allowed"
    remedy = "Use one of the methods in the Allow header."


class UnsupportedMediaType(e.ReattachError):
    """A body that is not JSON, or is compressed."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    remedy = "Send the body as `Content-Type: application/json`, without a Content-Encoding."


class BodyTimeout(e.ReattachError):
    """The body did not arrive."""

    code = "body_timeout"
    title = "The body did not arrive in time"
    remedy = "Send the request again; Content-Length must be what is really sent."


class HeadTooLarge(e.ReattachError):
    """The request line and the headers are over their limit."""

    code = "head_too_large"
    title = "Request head too large"
    remedy = "Send a shorter URL, fewer or shorter headers; the limit is in the `limit` field."


STATUS: Final[Mapping[type[e.ReattachError], int]] = {
    e.Malformed: 400,
    e.InvalidCursor: 400,
    UnknownPage: 400,
    e.Unauthorized: 401,
    Forbidden: 403,
    e.NotFound: 404,
    e.UnknownApproval: 404,
    MethodNotAllowed: 405,
    BodyTimeout: 408,
    e.AppendConflict: 409,
    e.ConfigMismatch: 409,
    e.DecisionConflict: 409,
    e.HandoffConflict: 409,
    e.IllegalTransition: 409,
    e.RunClosed: 409,
    e.SessionBusy: 409,
    e.SessionFinalized: 409,
    e.SessionOwned: 409,
    e.StaleToken: 409,
    e.SummaryNotDue: 409,
    e.StaleEpoch: 412,
    e.StaleSession: 412,
    e.TooLarge: 413,
    UnsupportedMediaType: 415,
    e.IdempotencyMismatch: 422,
    e.Invalid: 422,
    e.InvalidFrames: 422,
    e.UnknownAgent: 422,
    e.UnwritableOutput: 422,
    e.SessionEpochRequired: 428,
    HeadTooLarge: 431,
    e.ReattachError: 500,  # the base class stands for bugs of ours
    e.ConfigurationError: 500,
    e.RecordDamaged: 500,
    e.Draining: 503,
    e.StoreUnavailable: 503,
}
"""Every class has its own row: a new error can't reach a client before somebody has chosen its status."""

_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},  # what is left of the body would be read as the next request
    415: {"Accept": "application/json"},
    503: {"Retry-After": RETRY_AFTER_S},
}


def status_of(error: e.ReattachError) -> int:
    """The status of the error's class; 500 for a class without a row."""
    return STATUS.get(type(error), 500)


def document(error: e.ReattachError, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The members of the problem document. `ids` name what blocks, where the error does not say it itself."""
    status = status_of(error)
    fields = {**(ids or {}), **error.fields} if status in (409, 412) else dict(error.fields)
    if "status" in fields:  # the standard's word for the HTTP status; the state of a run stands beside it
        fields["state"] = fields.pop("status")
    short = {name: value[:DETAIL_CHARS_MAX] if isinstance(value, str) else value for name, value in fields.items()}
    standard = {
        "type": f"urn:reattach:problem:{error.code}",
        "title": error.title,
        "status": status,
        "code": error.code,
        "detail": error.detail[:DETAIL_CHARS_MAX],
    }
    return standard | {name: value for name, value in short.items() if name not in standard}


def problem(error: e.ReattachError, ids: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that met this error."""
    status = status_of(error)
    headers = {"Cache-Control": "no-store", **_HEADERS.get(status, {})}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.fields["allow"]
    return Response(to_json(document(error, ids)), status, headers, MEDIA_TYPE)
