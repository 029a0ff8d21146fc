"""Request bodies: JSON read within limits of bytes, seconds and depth, then checked against a model."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from ...domain.errors import Invalid, Malformed, TooLarge
from .problems import BodyTimeout, UnsupportedMediaType

JSON_DEPTH_MAX: Final = 100
"""Levels of nesting. What is stored is wrapped a few times more, and must stay readable (the parser stops at 200)."""

PROBLEMS_MAX: Final = 10
"""Faults of one body that an answer lists."""

REASON_CHARS_MAX: Final = 2000
"""Characters of what a person or a worker says about why."""

M = TypeVar("M", bound=BaseModel)
Reason = Annotated[str, Field(max_length=REASON_CHARS_MAX)]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one request may cost. Output of remote workers has a limit of its own: a frame alone may be 1 MiB."""

    body_bytes_max: int = 1_048_576
    output_bytes_max: int = 8_388_608
    body_wait_s: float = 30.0


class Body(BaseModel):
    """Base of the bodies: exact types, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Bodies:
    """Reads bodies. Raises Malformed, UnsupportedMediaType, TooLarge, BodyTimeout, Invalid."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits

    async def read(self, request: Request, model: type[M], bytes_max: int | None = None) -> M:
        """The request's body as this model. No body at all stands for `{}`."""
        limit = self._limits.body_bytes_max if bytes_max is None else bytes_max
        _check_length(request.scope, limit)
        data = await self._receive(request, limit)
        if not data:
            return checked(model, {})
        _check_type(request.scope)
        return checked(model, parse(data))

    async def read_output(self, request: Request, model: type[M]) -> M:
        """The same for what a worker produced."""
        return await self.read(request, model, self._limits.output_bytes_max)

    async def _receive(self, request: Request, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_wait_s):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(limit)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            detail = f"{size} bytes arrived within {self._limits.body_wait_s:g} s."
            raise BodyTimeout(detail, received=size) from None


def parse(data: bytes) -> JsonValue:
    """JSON that can be stored and sent on. Raises Malformed."""
    try:
        value: JsonValue = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    _check_values(value)
    return value


def checked(model: type[M], value: JsonValue) -> M:
    """`value` as this model. Raises Invalid naming the fields."""
    if not isinstance(value, dict):
        raise Invalid("The body is a JSON object.", field="body")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid(error) from None


def _check_length(scope: Scope, limit: int) -> None:
    """Refuse before reading what says itself that it is too long. Nothing else is believed of Content-Length."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and (len(value) > 15 or int(value) > limit):
            raise _too_large(limit)


def _check_type(scope: Scope) -> None:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    types = [value for name, value in headers if name == b"content-type"]
    encodings = [value for name, value in headers if name == b"content-encoding"]
    if len(types) != 1 or any(value.strip().lower() != b"identity" for value in encodings):
        raise UnsupportedMediaType
    media, *parameters = (piece.strip().lower() for piece in types[0].split(b";"))
    charset = all(p.replace(b'"', b"") in (b"", b"charset=utf-8", b"charset=utf8") for p in parameters)
    if media != b"application/json" or not charset:
        raise UnsupportedMediaType


def _check_values(value: JsonValue) -> None:
    """Level by level: not too deep, and no number that became infinite (1e999), which JSON can't say again."""
    level: list[JsonValue] = [value]
    for _ in range(JSON_DEPTH_MAX + 1):
        below: list[JsonValue] = []
        containers = False
        for item in level:
            if isinstance(item, dict):
                containers = True
                below.extend(item.values())
            elif isinstance(item, list):
                containers = True
                below.extend(item)
            elif isinstance(item, float) and not isfinite(item):
                raise Malformed("The body holds a number that is out of range.")
        if not containers:
            return
        level = below
    raise Malformed(f"The body is nested deeper than {JSON_DEPTH_MAX} levels.", limit=JSON_DEPTH_MAX)


def _invalid(error: ValidationError) -> Invalid:
    count = error.error_count()
    if count > PROBLEMS_MAX:  # a list of all of them would be larger than the body
        return Invalid(f"The body has {count} faults.", field="body")
    faults = [_fault(fault) for fault in error.errors(include_url=False, include_context=False, include_input=False)]
    return Invalid(f"{faults[0]['field']}: {faults[0]['fault']}.", field=faults[0]["field"], faults=faults)


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    place = ".".join(str(step) for step in fault["loc"]) or "body"
    return {"field": place[:100], "fault": str(fault["msg"]).removeprefix("Value error, ")[:200]}


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body here has at most {limit} bytes.", limit=limit)
