"""The demo agent on Pydantic AI: a model that is a function, two tools, one of which needs approval."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_core import to_json

from ...domain.agent import Reasoning, Text
from .demo_story import CALENDAR, CALENDAR_TOOL, MAIL_TOOL, Line, Pace, closing, opening, proposal, words
from .pydantic_ai import PydanticAgent

Piece = str | dict[int, DeltaThinkingPart] | dict[int, DeltaToolCall]


def model_demo(pace: Pace) -> PydanticAgent:
    """The demo as a Pydantic AI agent, without a network."""

    async def speak(messages: list[ModelMessage], _: AgentInfo) -> AsyncGenerator[Piece, None]:
        for index, line in enumerate(_lines(messages)):
            match line:
                case Text(text):
                    for word in words(text):
                        yield word
                        await asyncio.sleep(pace.word_s)
                case Reasoning(text):
                    for word in words(text):
                        yield {index: DeltaThinkingPart(content=word)}
                        await asyncio.sleep(pace.word_s)
                case call:
                    arguments = to_json(call.arguments).decode()
                    yield {index: DeltaToolCall(call.name, arguments, tool_call_id=call.tool_call_id)}

    agent: Agent[None, Any] = Agent(
        FunctionModel(stream_function=speak, model_name="demo"), output_type=[str, DeferredToolRequests], name="demo"
    )

    @agent.tool_plain(name=CALENDAR_TOOL)
    async def look_up_calendar(day: str) -> list[str]:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        """What the calendar holds for a day."""
        await asyncio.sleep(pace.tool_s)
        return [entry for entry in CALENDAR if day]

    @agent.tool_plain(name=MAIL_TOOL, requires_approval=True)
    async def send_email(to: str, subject: str, body: str) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - the same
        """Send a mail (this one only says so)."""
        await asyncio.sleep(pace.tool_s if subject or body else 0)
        return {"sent_to": to}

    return PydanticAgent(agent)


def _lines(messages: Sequence[ModelMessage]) -> Sequence[Line]:
    """What to say next, judged by the end of the conversation alone: so any worker can go on with it."""
    request = messages[-1]
    run_id = (request.run_id or "").partition(":")[0]
    last = request.parts[-1] if isinstance(request, ModelRequest) else None
    match last:
        case ToolReturnPart(tool_name="send_email"):
            content: Any = last.content
            return closing(content["sent_to"] if last.outcome == "success" else None)
        case ToolReturnPart():
            return proposal(run_id)
        case UserPromptPart(content=str(prompt)):
            return opening(prompt, run_id)
        case _:
            message = "the demo's model was asked something it can't answer"
            raise ValueError(message)
