"""Logs that no store may have told, and output that breaks the grammar of a stream."""

from dataclasses import replace

from reattach.domain.identifiers import SessionId

from .recording import Recording, following
from .tampering import breaks

DELTA = {"type": "text.delta", "part": "1.1.1", "text": "?"}


@breaks("stream-gap")
def a_record_is_missing(recording: Recording) -> None:
    recording.steps.pop(recording.find("text.delta")[0])


@breaks("stream-overlap")
def a_record_comes_twice(recording: Recording) -> None:
    at = recording.find("run.claimed")
    recording.insert(at[0], recording.news(at))


@breaks("after-terminal")
def output_after_the_end(recording: Recording) -> None:
    at = recording.find("run.completed")
    recording.insert(at[0], following(recording.news(at), DELTA))


@breaks("after-terminal")
def two_ends_in_one_record(recording: Recording) -> None:
    at = recording.find("run.completed")
    news = recording.news(at)
    again = news.record.data[0].replace(b'"seq":%d' % news.record.first_seq, b'"seq":%d' % (news.record.first_seq + 1))
    recording.put(at, replace(news, record=replace(news.record, data=(*news.record.data, again))))


@breaks("record-empty")
def a_record_without_frames(recording: Recording) -> None:
    at = recording.find("run.claimed")
    news = recording.news(at)
    recording.put(at, replace(news, record=replace(news.record, data=())))


@breaks("session-changed")
def a_run_changes_its_session(recording: Recording) -> None:
    at = recording.find("run.claimed")
    recording.put(at, replace(recording.news(at), session_id=SessionId("ses_other")))


@breaks("frame-misplaced")
def a_line_says_another_seq(recording: Recording) -> None:
    recording.edit(recording.find("text.delta"), "text.delta", seq=99)


@breaks("frame-misplaced")
def a_line_is_composed_anew(recording: Recording) -> None:
    at = recording.find("text.delta")
    news = recording.news(at)
    data = tuple(line.replace(b":", b": ", 1) for line in news.record.data)
    recording.put(at, replace(news, record=replace(news.record, data=data)))


@breaks("frame-unknown")
def a_worker_writes_what_nobody_knows(recording: Recording) -> None:
    recording.edit(recording.find("text.start", "text.delta"), "text.delta", type="text.shout")


@breaks("frame-unknown")
def a_worker_writes_a_fact(recording: Recording) -> None:
    recording.edit(recording.find("text.start", "text.delta"), "text.delta", type="run.resumed")


@breaks("part-closed")
def a_delta_for_no_part(recording: Recording) -> None:
    recording.edit(recording.find("text.delta"), "text.delta", part="9.9.9")


@breaks("part-closed")
def a_delta_of_another_kind(recording: Recording) -> None:
    recording.edit(recording.find("reasoning.delta"), "reasoning.delta", type="text.delta")


@breaks("part-closed")
def a_part_ends_twice(recording: Recording) -> None:
    at = recording.find("reasoning.end")
    recording.edit(at, "text.end", part="1.1.1")


@breaks("part-closed")
def a_part_goes_on_after_a_take_over(recording: Recording) -> None:
    at = recording.find("run.claimed", "step.reset")
    recording.insert(at[0], following(recording.news(at), DELTA | {"part": "1.1.3"}))


@breaks("part-reused")
def a_part_id_is_given_twice(recording: Recording) -> None:
    at = recording.find("step.start", "text.start", nth=2)
    recording.edit(at, "text.start", part="1.1.1")


@breaks("message-order")
def a_part_outside_of_its_message(recording: Recording) -> None:
    recording.edit(recording.find("text.start"), "text.start", message_id="other")


@breaks("message-order")
def a_message_inside_of_a_message(recording: Recording) -> None:
    recording.edit(recording.find("message.end"), "message.end", type="message.start")


@breaks("message-order")
def a_message_ends_that_is_not_open(recording: Recording) -> None:
    recording.edit(recording.find("message.end"), "message.end", message_id="other")


@breaks("message-order")
def data_outside_of_any_message(recording: Recording) -> None:
    recording.edit(recording.find("message.start"), "message.start", type="data", name="n", value=1)


@breaks("message-id")
def a_message_id_is_not_the_next(recording: Recording) -> None:
    at = recording.find("message.start")
    news = recording.news(at)
    recording.edit(at, "message.start", message_id=f"{news.session_id}:{news.run_id}:7")


@breaks("message-id")
def a_prompt_has_another_id(recording: Recording) -> None:
    recording.edit(recording.find("run.created"), "run.created", message_id="1")


@breaks("message-id")
def the_message_after_a_take_over_is_the_old_one(recording: Recording) -> None:
    at = recording.find("message.start", nth=2)
    news = recording.news(at)
    recording.edit(at, "message.start", message_id=f"{news.session_id}:{news.run_id}:2")


@breaks("step-order")
def a_step_is_left_out(recording: Recording) -> None:
    recording.edit(recording.find("step.start", nth=1), "step.start", step=3)


@breaks("step-order")
def a_step_ends_as_another(recording: Recording) -> None:
    recording.edit(recording.find("step.end"), "step.end", step=2)


@breaks("step-order")
def a_step_names_another_checkpoint(recording: Recording) -> None:
    recording.edit(recording.find("step.end"), "step.end", checkpoint=2)


@breaks("step-order")
def steps_do_not_count_from_the_checkpoint(recording: Recording) -> None:
    at = recording.find("run.claimed", "step.reset")
    nth = sum(recording.find("step.start", nth=n) < at for n in range(3))
    recording.edit(recording.find("step.start", nth=nth), "step.start", step=3)


@breaks("closes-wrong")
def a_cut_names_no_parts(recording: Recording) -> None:
    recording.edit(recording.find("step.reset"), "step.reset", closes=[])


@breaks("closes-wrong")
def a_cancel_names_other_parts(recording: Recording) -> None:
    recording.edit(recording.find("run.cancelled", nth=1), "run.cancelled", closes=["1.1.9"])


@breaks("left-open")
def a_run_completes_inside_of_a_step(recording: Recording) -> None:
    at = recording.find("text.delta", nth=1)
    end = {"type": "run.completed", "run_id": recording.news(at).run_id, "at": _at(recording, at[0])}
    recording.insert(at[0], following(recording.news(at), end | {"stop_reason": "end_turn", "usage": None}))


def _at(recording: Recording, step: int) -> str:
    return recording.steps[step].at.isoformat()
