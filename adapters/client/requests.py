"""Requests and their answers: sent again while trouble passes, and each answer read into the type that is expected."""

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from ...domain.errors import Invalid, NotFound, ReattachError
from ...domain.ports import Ids
from .errors import KINDS, UnexpectedAnswer, Unreachable, is_passing, refusal
from .patience import Patience

R = TypeVar("R", bound=BaseModel)
Fields = Mapping[str, object]
"""A JSON object to send. What JSON can't express is refused with Invalid."""

SESSION_EPOCH: Final = "Session-Epoch"
_NO_SEGMENTS: Final = ("", ".", "..")


class Requests:
    """One server's requests. All may be repeated: what creates has a key, and the rest says the actual state."""

    def __init__(self, http: httpx.AsyncClient, ids: Ids, patience: Patience) -> None:
        self._http = http
        self._ids = ids
        self._patience = patience

    def new_key(self) -> str:
        """An Idempotency-Key nobody has used."""
        return str(self._ids.uuid())

    async def ask(
        self,
        answer: type[R],
        method: str,
        path: str,
        body: Fields | None = None,
        *,
        query: Mapping[str, str | int | None] | None = None,
        key: str | None = None,
        epoch: int | None = None,
    ) -> R:
        """Send a request and read its answer. Raises the server's refusal, Unreachable or UnexpectedAnswer."""
        request = self._request(method, path, body, query=query, key=key, epoch=epoch)
        response = await self._send(request)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            detail = f"{request.url} answered {response.status_code} with something else than expected."
            raise UnexpectedAnswer(detail, status=response.status_code) from error

    async def tell(
        self, method: str, path: str, body: Fields | None, epoch: int | None, done: type[ReattachError]
    ) -> None:
        """Send a request whose answer says nothing. `done` is how a second one is refused where a first got through:
        after a lost answer that is no error. Raises as `ask` does.
        """
        await self._send(self._request(method, path, body, epoch=epoch), done)

    def _request(
        self,
        method: str,
        path: str,
        body: Fields | None,
        *,
        query: Mapping[str, str | int | None] | None = None,
        key: str | None = None,
        epoch: int | None = None,
    ) -> httpx.Request:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = visible("idempotency_key", key)
        if epoch is not None:
            headers[SESSION_EPOCH] = str(epoch)
        return self._http.build_request(
            method,
            path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            content=_encoded(body) if body is not None else None,
            headers=headers,
        )

    async def _send(self, request: httpx.Request, done: type[ReattachError] | None = None) -> httpx.Response:
        """Send until there is an answer that stands, at most `attempts_max` times."""
        failures = 0
        while True:
            error: Exception
            try:
                response = await self._http.send(request)
                if response.is_success:
                    return response
                error = refusal(response)
                if failures and done is not None and isinstance(error, KINDS[done.code]):
                    return response
                passing = is_passing(response.status_code)
            except httpx.RequestError as broken:
                why = str(broken) or type(broken).__name__
                error = Unreachable(f"No answer from {self._http.base_url} ({why}).", url=str(self._http.base_url))
                error.__cause__ = broken
                passing = True
            failures += 1
            if not passing or failures >= self._patience.attempts_max:
                raise error
            await asyncio.sleep(self._patience.wait_s(failures - 1, self._ids))


def visible(field: str, text: str) -> str:
    """Header values are visible ASCII; anything else would be refused on the way, or worse, not be. Raises Invalid."""
    if not text or not all("!" <= character <= "~" for character in text):
        raise Invalid(f"{field} must be visible ASCII without spaces.", field=field)
    return text


def segment(text: str, kind: str) -> str:
    """The id of a `kind` (session, run, ...) as one segment of a path.

    Raises NotFound for what is no segment: on its way a URL loses `.` and `..`, and would ask for something else.
    """
    if text in _NO_SEGMENTS:
        raise NotFound(f"There is no {kind} {text!r}.", **{f"{kind}_id": text})
    return quote(text, safe="", errors="replace")


def _encoded(body: Fields) -> bytes:
    try:
        return to_json(body)
    except PydanticSerializationError as error:
        raise Invalid(f"The request can't be written as JSON: {error}.") from error
