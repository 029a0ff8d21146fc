"""What Pydantic AI itself reports of a run, in the words of the folded frames."""

from collections.abc import Iterable
from typing import Any

from pydantic_ai.messages import BaseToolCallPart, BaseToolReturnPart, ModelMessage, TextPart, ThinkingPart
from pydantic_core import to_jsonable_python

from .driver import Driven

Said = list[tuple[Any, ...]]


def said_in(messages: Iterable[ModelMessage]) -> Said:
    """The parts of a message history that readers are shown."""
    said: Said = []
    for part in (part for message in messages for part in message.parts):
        match part:
            case TextPart(content=text) if text:
                said.append(("text", text))
            case ThinkingPart(content=text) if text:
                said.append(("reasoning", text))
            case BaseToolCallPart():
                said.append(("tool", part.tool_call_id, part.tool_name, part.args_as_dict()))
            case BaseToolReturnPart(outcome="success"):
                said.append(("result", part.tool_call_id, to_jsonable_python(part.content), None))
            case BaseToolReturnPart():
                said.append(("result", part.tool_call_id, None, part.content))
            case _:
                pass
    return said


def assert_folds_to(driven: Driven, messages: Iterable[ModelMessage]) -> None:
    """The frames say what the history says. Results of tools that ran side by side may come in another order."""
    reported = said_in(messages)
    shown = [part for part in driven.said() if part[0] in ("text", "reasoning", "tool", "result")]
    assert _without_results(shown) == _without_results(reported)
    assert _results(shown) == _results(reported)


def _without_results(said: Said) -> Said:
    return [part for part in said if part[0] != "result"]


def _results(said: Said) -> dict[str, Any]:
    results = {part[1]: part[2:] for part in said if part[0] == "result"}
    assert len(results) == len(said) - len(_without_results(said)), "a call gave two results"
    return results
