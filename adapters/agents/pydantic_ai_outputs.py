"""Pydantic AI's events as outputs, its errors as failures. Every part of a response becomes exactly one part here."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from pydantic import JsonValue
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import (
    AgentStreamEvent,
    BaseToolCallPart,
    BaseToolReturnPart,
    CustomEvent,
    FilePart,
    ModelResponse,
    ModelResponsePart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPartDelta,
    ToolResultEvent,
    WebCitationSource,
)
from pydantic_core import to_jsonable_python

from ...domain.agent import (
    AgentFailure,
    Data,
    EndPart,
    File,
    Output,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolResult,
)

FILE_BYTES_MAX: Final = 700_000
"""Bytes of a file that travels inside its frame, as a data URL; of a larger one only the name and size are shown."""

_TIMEOUT_STATUSES: Final = (408, 504)
_AUTHENTICATION_STATUSES: Final = (401, 403)
_RATE_LIMIT_STATUS: Final = 429
_EVENT_FIELDS: Final = frozenset({"name", "tool_call_id", "tool_name", "event_kind"})


class Translation:
    """Translates the events of one response after the other.

    Providers may interleave parts, while an end is announced as soon as another part starts: so a piece of another
    part than the last closes that one, and a call is complete when its arguments are, or at the response's end.
    """

    def __init__(self) -> None:
        self._text: int | None = None
        self._calls: dict[int, ToolCallStart] = {}
        self._complete: set[str] = set()

    def outputs(self, event: AgentStreamEvent) -> Iterator[Output]:
        """What readers see of one event; nothing of those that only repeat what others said."""
        match event:
            case PartStartEvent():
                yield from self._start(event.index, event.part)
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                yield from self._piece(event.index, Text(text))
            case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str(text))):
                yield from self._piece(event.index, Reasoning(text))
            case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=str(text))) if event.index in self._calls:
                yield ToolCallDelta(self._calls[event.index].tool_call_id, text)
            case PartEndEvent():
                yield from self._end(event.index, event.part)
            case ToolResultEvent():
                yield result_of(event.part)
            case CustomEvent():
                yield Data(event.name, _payload(event))
            case _:
                pass

    def rest(self, response: ModelResponse) -> Iterator[Output]:
        """The calls that were still open when the response ended."""
        arguments = {
            part.tool_call_id: part.args_as_dict() for part in response.parts if isinstance(part, BaseToolCallPart)
        }
        for call in self._calls.values():
            yield ToolCall(call.tool_call_id, call.name, jsonable(arguments.get(call.tool_call_id, {})))
        self._text = None
        self._calls = {}
        self._complete = set()

    def _start(self, index: int, part: ModelResponsePart) -> Iterator[Output]:
        match part:
            case TextPart():
                yield EndPart()
                yield from self._piece(index, Text(part.content))
            case ThinkingPart():
                yield EndPart()
                yield from self._piece(index, Reasoning(part.content))
            case BaseToolCallPart() if part.tool_call_id not in self._complete:
                self._calls[index] = ToolCallStart(part.tool_call_id, part.tool_name)
                yield self._calls[index]
                if isinstance(part.args, str):
                    yield ToolCallDelta(part.tool_call_id, part.args)
            case BaseToolReturnPart():
                yield result_of(part)
            case FilePart():
                yield _file(part)
            case _:
                pass

    def _piece(self, index: int, piece: Text | Reasoning) -> Iterator[Output]:
        if piece.text:
            if self._text != index:
                yield EndPart()
            self._text = index
            yield piece

    def _end(self, index: int, part: ModelResponsePart) -> Iterator[Output]:
        match part:
            case TextPart():
                yield EndPart()
                yield from _sources(part)
            case ThinkingPart():
                yield EndPart()
            case BaseToolCallPart() if index in self._calls and _is_complete(part):
                call = self._calls.pop(index)
                self._complete.add(call.tool_call_id)
                yield ToolCall(call.tool_call_id, part.tool_name, jsonable(part.args_as_dict()))
            case _:
                pass


def result_of(part: BaseToolReturnPart[Any]) -> ToolResult:
    """What a tool gave, or the sentence the model is told where it gave nothing."""
    if part.outcome == "success":
        return ToolResult(part.tool_call_id, jsonable(part.content))
    return ToolResult(part.tool_call_id, error=part.model_response_str(wrap_if_error=False))


def jsonable(value: object) -> JsonValue:
    """`value` as JSON; what has no JSON form becomes its text."""
    result: JsonValue = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    return result


def failure_of(error: Exception) -> AgentFailure | None:
    """The stable type of a failure that comes from the model; None if it comes from elsewhere."""
    match error:
        case ModelRequestTimeout() | ModelTimeoutError():
            return _failure("llm_timeout", error, retryable=True)
        case ModelAPIError():
            return _api_failure(error)
        case UnexpectedModelBehavior():
            return _failure("llm_error", error, retryable=False)
        case FallbackExceptionGroup():
            failures = [failure_of(each) for each in error.exceptions]
            return failures[-1]
        case _:
            return None


def _api_failure(error: ModelAPIError) -> AgentFailure:
    status = error.status_code if isinstance(error, ModelHTTPError) else 0
    exhausted = isinstance(error, ModelQuotaExceededError)
    if status in _TIMEOUT_STATUSES:
        return _failure("llm_timeout", error, retryable=True)
    if status == _RATE_LIMIT_STATUS or isinstance(error, ModelRateLimitError):
        return _failure("llm_rate_limit", error, retryable=not exhausted)
    if status in _AUTHENTICATION_STATUSES or isinstance(error, ModelAuthenticationError):
        return _failure("llm_authentication", error, retryable=False)
    passing = isinstance(error, ModelUnavailableError | ModelServerError | ModelConnectionError)
    return _failure("llm_error", error, retryable=passing)


def _failure(type: str, error: Exception, *, retryable: bool) -> AgentFailure:  # noqa: A002  - the wire's word
    return AgentFailure(type, str(error), retryable=retryable)


def _is_complete(part: BaseToolCallPart[Any]) -> bool:
    """Whether no more of the arguments can come. An empty text may be no arguments, or none yet."""
    if isinstance(part.args, str):
        try:
            part.args_as_dict(raise_if_invalid=True)
        except (ValueError, AssertionError):
            return False
    return bool(part.args)


def _sources(part: TextPart) -> Iterator[Source]:
    """The web pages a text cites, each once."""
    cited = [source for citation in part.citations or () for source in citation.sources]
    pages = {source.url: source.title for source in cited if isinstance(source, WebCitationSource)}
    for url, title in pages.items():
        yield Source(url, title)


def _file(part: FilePart) -> Output:
    content = part.content
    if len(content.data) > FILE_BYTES_MAX:
        value: JsonValue = {"name": content.identifier, "media_type": content.media_type, "bytes": len(content.data)}
        return Data("file.too_large", value)
    return File(content.identifier, content.media_type, content.data_uri)


def _payload(event: CustomEvent) -> JsonValue:
    fields = [f.name for f in dataclasses.fields(event) if f.name not in _EVENT_FIELDS]
    return jsonable({name: getattr(event, name) for name in fields})
