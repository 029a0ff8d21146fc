"""What can go wrong between client and server, and how an answer becomes the domain's own error.

A refusal is raised as the class the server raised (`except SessionBusy` reads the same on both sides); the classes
here are for what only a client meets.
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx
from pydantic_core import from_json

from ...domain import errors as domain
from ...domain.errors import ReattachError

_EXCERPT_CHARS: Final = 200
_PASSING: Final = (408, 425, 429)


class ClientError(ReattachError):
    """Base of what only a client meets, and a refusal whose code this version does not know."""

    code = "client_error"
    title = "The request failed"
    remedy = ""


class Unreachable(ClientError):
    """No answer within the policy's patience. Runs go on without their readers; the outcome of a write is unknown."""

    code = "unreachable"
    title = "The server can't be reached"
    remedy = "Check the URL and that the server is up; then try again, nothing is lost."


class UnexpectedAnswer(ClientError):
    """Something answered, and it does not speak as Reattach does: another service, or a proxy in between."""

    code = "unexpected_answer"
    title = "Not an answer of Reattach"
    remedy = "Check the URL, and any proxy in between."


class StreamSpliced(ClientError):
    """The stream does not continue where it was left, and no reset said so. What was delivered before is sound."""

    code = "stream_spliced"
    title = "The stream does not continue"
    remedy = "Follow again from the start, and report this: a server must never do it."


_DOMAIN: Final[list[type[ReattachError]]] = [
    kind for kind in vars(domain).values() if isinstance(kind, type) and issubclass(kind, ReattachError)
]

# Of several with one code the first, their base, is the one.
KINDS: Final[Mapping[str, type[ReattachError]]] = {kind.code: kind for kind in reversed(_DOMAIN)}


def is_passing(status: int) -> bool:
    """Whether to try again: the server, or something before it, is in trouble that passes."""
    return status >= 500 or status in _PASSING


def refusal(response: httpx.Response) -> ReattachError:
    """The error behind an answer that is no success; its body must have been read.

    A problem document gives the domain's class, with its detail, and its other members as `fields` (`status` too).
    """
    problem = _problem(response)
    if problem is None:
        detail = f"{response.request.url} answered {response.status_code}."
        return UnexpectedAnswer(detail, status=response.status_code, body=response.text[:_EXCERPT_CHARS])
    code = problem["code"]
    detail = str(problem.get("detail") or problem.get("title") or code)
    fields = {name: value for name, value in problem.items() if name not in ("type", "title", "code", "detail")}
    fields.setdefault("status", response.status_code)
    error = KINDS.get(code, ClientError)("", **fields)
    error.__dict__["code"] = code  # what a newer server says stays readable, though its class is not known here
    error.detail = detail
    error.args = (detail,)
    return error


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    try:
        problem: Any = from_json(response.content)
        return problem if isinstance(problem["code"], str) else None
    except (ValueError, TypeError, KeyError):
        return None
