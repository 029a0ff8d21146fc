"""What the demo agent says and does; told twice, by a generator (`demo.py`) and by a model (`demo_model.py`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from ...domain.agent import Reasoning, Text, ToolCall

Line = Reasoning | Text | ToolCall

CALENDAR_TOOL: Final = "look_up_calendar"
MAIL_TOOL: Final = "send_email"

CALENDAR: Final[Sequence[str]] = ("10:00 review with Ada", "14:00 dentist", "16:30 retrospective with the team")
MAIL: Final = {
    "to": "team@example.com",
    "subject": "Retrospective on Friday",
    "body": "Hello all,\nthe retrospective moves to Friday, 15:30. Bring one thing to keep and one to change.",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the story is told. With the defaults it lasts about half a minute."""

    word_s: float = 0.07
    tool_s: float = 2.5


def opening(prompt: str, run_id: str) -> Sequence[Line]:
    """The first answer: thoughts, and a look at the calendar."""
    return (
        Reasoning(
            "Somebody asks me something, and I have two tools: a calendar, which I may read as I like, and a mailbox, "
            "where every mail needs a person's approval. First I look at what the day holds, so that what I propose "
            "fits into it; only then do I write."
        ),
        Text(
            f"You asked: {prompt}\n\nEvery word of this answer is stored before you see it. Pull the plug while I "
            "speak: close the terminal, cut the network, or kill the server with kill -9 and start it again. You will "
            "come back to exactly this place. Let me look at the calendar first."
        ),
        ToolCall(f"{run_id}.calendar", CALENDAR_TOOL, {"day": "Friday"}),
    )


def proposal(run_id: str) -> Sequence[Line]:
    """The second answer, which ends with a call that needs approval."""
    return (
        Reasoning("The dentist sits right before the retrospective. Half past three would suit everybody better."),
        Text(
            f"On Friday there is: {'; '.join(CALENDAR)}. The dentist will hardly be done in time for a good "
            "retrospective, and half past four on a Friday is late for anybody.\n\nWhat you just read is behind a "
            "checkpoint. If my worker dies now, another one goes on from here: it does not open the calendar again, "
            "and what it had only half said is marked as abandoned and said anew.\n\nI would move the retrospective "
            "to half past three and tell the team. The mail is written; it does not leave before somebody says so. "
            "You can approve or deny it now or in an hour, here or in another terminal, and you may change it before "
            "it goes. While I wait I hold no worker: you can even stop the server."
        ),
        ToolCall(f"{run_id}.mail", MAIL_TOOL, dict(MAIL)),
    )


def closing(sent_to: JsonValue) -> Sequence[Line]:
    """The last answer. `sent_to` is None if the mail was denied."""
    if sent_to is None:
        return (Text("All right, I did not send it. Nothing has left the house, and the calendar is as it was."),)
    return (
        Text(
            f"The mail went to {sent_to}, just as it was approved. The approval, who gave it and what was sent stand "
            "in the log of this run for ever. That was all; thank you for watching."
        ),
    )


def words(text: str) -> Iterator[str]:
    """`text` in pieces of one word, the space before it included."""
    first, *rest = text.split(" ")
    yield first
    for word in rest:
        yield f" {word}"
