"""The agents of `make serve`: `script`, and `demo`, which shows what Reattach is for without a network or a key."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from importlib.util import find_spec
from typing import Final, cast

from pydantic_core import to_json

from ...domain.agent import (
    Agent,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Context,
    EndPart,
    Output,
    Reasoning,
    Text,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolResult,
)
from .demo_story import CALENDAR, MAIL, MAIL_TOOL, Line, Pace, closing, opening, proposal, words
from .loading import FunctionAgent
from .prompts import prompt_of, require_prompt
from .script import ScriptAgent


def demo_agent(pace: Pace) -> Agent:
    """The demo: on Pydantic AI if it is installed, else as a generator. Nobody who watches can tell the difference."""
    if find_spec("pydantic_ai") is None:
        return generator_demo(pace)
    from .demo_model import model_demo  # noqa: PLC0415  - an optional extra

    return model_demo(pace)


def generator_demo(pace: Pace) -> Agent:
    """The demo in the base install; an example of an agent with checkpoints and an approval, too."""

    async def demo(context: Context) -> AsyncGenerator[Output, None]:
        state = cast("dict[str, str]", context.checkpoint or {"next": "opening"})
        stage = state["next"]
        if stage == "opening":
            async for output in _tell(opening(prompt_of(context.input) or "", context.run_id), pace):
                yield output
            stage = "calendar"
            yield Checkpoint({"next": stage})
        if stage == "calendar":
            await asyncio.sleep(pace.tool_s)
            yield ToolResult(f"{context.run_id}.calendar", list(CALENDAR))
            stage = "proposal"
            yield Checkpoint({"next": stage})
        if stage == "proposal":
            async for output in _tell(proposal(context.run_id), pace):
                yield output
            stage = "mail"
            yield Checkpoint({"next": stage})
        if stage == "mail":
            request = ApprovalRequest(f"{context.run_id}.mail", MAIL_TOOL, dict(MAIL))
            yield Approvals([request], {"next": "decided"})
            return
        if stage == "decided":
            result = await _send(context, pace)
            yield result
            state = {"next": "closing"} | cast("dict[str, str]", result.output or {})
            yield Checkpoint(dict(state))
        async for output in _tell(closing(state.get("sent_to")), pace):
            yield output

    return FunctionAgent("demo", demo, check=require_prompt)


async def _send(context: Context, pace: Pace) -> ToolResult:
    """What the mail gave: it goes with the arguments that were approved, or not at all."""
    (decision,) = (each for each in context.decisions if each.tool_call_id == f"{context.run_id}.mail")
    if decision.outcome == "deny":
        reason = f"The tool call was denied: {decision.reason}" if decision.reason else "The tool call was denied."
        return ToolResult(decision.tool_call_id, error=reason)
    await asyncio.sleep(pace.tool_s)
    mail = cast("dict[str, str]", decision.decided_arguments)
    return ToolResult(decision.tool_call_id, {"sent_to": mail["to"]})


async def _tell(lines: Sequence[Line], pace: Pace) -> AsyncGenerator[Output, None]:
    for line in lines:
        if isinstance(line, ToolCall):
            yield ToolCallStart(line.tool_call_id, line.name)
            yield ToolCallDelta(line.tool_call_id, to_json(line.arguments).decode())
            yield line
            continue
        kind: type[Text] | type[Reasoning] = type(line)
        for word in words(line.text):
            yield kind(word)
            await asyncio.sleep(pace.word_s)
        yield EndPart()


agents: Final[tuple[Agent, ...]] = (ScriptAgent(), demo_agent(Pace()))
