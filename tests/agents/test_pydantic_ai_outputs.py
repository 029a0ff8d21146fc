"""Pydantic AI's events as outputs: interleaved parts, files, events of the application."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent, RunContext, capture_run_messages
from pydantic_ai.messages import (
    BinaryContent,
    CustomEvent,
    FilePart,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)

from reattach.adapters.agents import pydantic_ai_outputs
from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.domain.agent import Data, File, Output, Text

from .driver import Driven, context_of, drive, grammatical
from .framework import assert_folds_to
from .spoken import Delta, call, model, think


def run(agent: Agent[Any, Any]) -> Driven:
    return asyncio.run(drive(PydanticAgent(agent), context_of("hi")))


def test_interleaved_calls_are_told_apart() -> None:
    """Some providers send the arguments of several calls by turns."""
    turns: list[list[Delta]] = [
        [call(0, "f", '{"a"', "c1"), call(1, "f", '{"a":', "c2"), call(0, None, ": 1}"), call(1, None, " 2}")],
        ["done"],
    ]
    agent = Agent(model(*turns), name="a")
    agent.tool_plain(f)
    with capture_run_messages() as messages:
        driven = run(agent)
    assert_folds_to(driven, messages)
    grammatical(driven.lines)


def f(a: int) -> int:
    return a * 2


def test_interleaved_texts_are_never_mixed() -> None:
    events: list[Delta] = [think(0, "one"), "two", think(0, "three"), "four"]
    driven = run(Agent(model(events), name="a"))
    assert driven.said() == [("reasoning", "one"), ("text", "two"), ("reasoning", "three"), ("text", "four")]


def test_a_late_piece_of_an_earlier_text_is_a_part_of_its_own() -> None:
    translation = pydantic_ai_outputs.Translation()
    events: list[ModelResponseStreamEvent] = [
        PartStartEvent(index=0, part=TextPart("one")),
        PartStartEvent(index=1, part=TextPart("two")),
        PartDeltaEvent(index=0, delta=TextPartDelta("late")),
    ]
    outputs = [output for event in events for output in translation.outputs(event)]
    said = [output.text if isinstance(output, Text) else "|" for output in outputs]
    assert "".join(said).replace("||", "|").strip("|") == "one|two|late"


@dataclass(kw_only=True)
class ProgressEvent(CustomEvent):
    done: int


def test_events_of_the_application_are_data() -> None:
    agent = Agent(model([call(0, "work", "{}", "c1")], ["done"]), name="a")

    @agent.tool
    async def work(context: RunContext[object]) -> None:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        await context.emit(ProgressEvent(done=3))

    assert Data("progress", {"done": 3}) in run(agent).outputs


def test_files_of_a_model_travel_inside_their_frame_if_they_are_small() -> None:
    def shown(size: int) -> Output:
        part = FilePart(BinaryContent(b"x" * size, media_type="image/png", identifier="cat"))
        (output,) = pydantic_ai_outputs.Translation().outputs(PartStartEvent(index=0, part=part))
        return output

    assert shown(3) == File("cat", "image/png", "data:image/png;base64,eHh4")
    size = pydantic_ai_outputs.FILE_BYTES_MAX + 1
    assert shown(size) == Data("file.too_large", {"name": "cat", "media_type": "image/png", "bytes": size})
