"""Models that say what a test wrote down, delta by delta."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel

Delta = str | dict[int, DeltaThinkingPart] | dict[int, DeltaToolCall]


def think(index: int, text: str) -> Delta:
    return {index: DeltaThinkingPart(content=text)}


def call(index: int, name: str | None, arguments: str, call_id: str | None = None) -> Delta:
    return {index: DeltaToolCall(name, arguments, tool_call_id=call_id)}


def model(*responses: Sequence[Delta], seen: list[list[ModelMessage]] | None = None) -> FunctionModel:
    """Answers by the number of responses in the history, so that it holds no state a dead worker would take along."""

    async def speak(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[Any]:
        if seen is not None:
            seen.append(list(messages))
        for delta in responses[sum(isinstance(message, ModelResponse) for message in messages)]:
            yield delta

    return FunctionModel(stream_function=speak)
