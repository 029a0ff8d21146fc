"""Sessions through the client, against the real server: tails, owners, memories, handoffs, summaries, the end."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from reattach.adapters.client import Client, Frame, SummaryWork
from reattach.domain.errors import (
    HandoffConflict,
    NotFound,
    SessionEpochRequired,
    SessionFinalized,
    SessionOwned,
    StaleEpoch,
    StaleToken,
    SummaryNotDue,
)
from reattach.domain.identifiers import SessionId
from reattach.domain.memory import first_break

from ..system.server import Server, free_port
from .test_with_server import APPROVAL, connected, script

UNKNOWN = "ses_01h455vb4pex5vsknk084sn02q"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"REATTACH_SESSION_GRACE_S": "0.05", "REATTACH_SESSION_LEASE_S": "20"}
    running = Server(tmp_path_factory.mktemp("sessions") / "reattach.db", free_port(), environment).start()
    yield running
    running.kill()


async def until(stream: AsyncGenerator[Frame, None], kind: str) -> list[Frame]:
    """The frames up to the first of this type."""
    frames: list[Frame] = []
    async for frame in stream:
        frames.append(frame)
        if frame.type == kind:
            return frames
    message = f"{kind} never came"
    raise AssertionError(message)


def test_the_tail_of_an_empty_session_is_a_place_to_follow_from(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session = await client.create_session()
            tail = await client.tail(session.session_id)
            assert (tail.messages, tail.status, tail.active_run) == ((), "idle", None)
            assert tail.cursor.startswith(session.session_id)
            async with aclosing(client.follow_session(session.session_id, tail.cursor)) as stream:
                run = await client.start_run("script", script({"text": "Hello"}), session.session_id)
                frames = await until(stream, "run.completed")
            assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
            assert frames[-1].data["run_id"] == run.run_id

    asyncio.run(scenario())


def test_tail_and_stream_are_the_whole_while_a_run_waits_and_when_it_has_ended(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session_id = (await client.create_session()).session_id
            first = await client.start_run("script", script({"text": "one"}), session_id)
            whole = [frame async for frame in client.follow(first.run_id)]
            idle = await client.tail(session_id)
            assert idle.cursor == whole[-1].id
            assert [(m.role, m.text, m.run_id) for m in idle.messages] == [
                ("user", "go", first.run_id),
                ("assistant", "one", first.run_id),
            ]
            run = await client.start_run("script", script(APPROVAL, {"text": "two"}), session_id)
            async with aclosing(client.follow_session(session_id, idle.cursor)) as stream:
                before = await until(stream, "run.suspended")
                waiting = await client.tail(session_id)
                assert (waiting.status, [a.tool for a in waiting.pending_approvals]) == (
                    "waiting_for_approval",
                    ["send"],
                )
                assert waiting.active_run is not None
                assert (waiting.active_run.run_id, waiting.active_run.prompt) == (run.run_id, "go")
                async with aclosing(client.follow_session(session_id, waiting.cursor)) as later:
                    assert await until(later, "run.suspended") == before
                    await client.approve(run.run_id, waiting.pending_approvals[0].approval_id)
                    assert await until(later, "run.completed") == await until(stream, "run.completed")
            history = await client.messages(session_id, limit=2)
            earlier = await client.messages(session_id, before=history.next_cursor)
            later_page = await client.messages(session_id, after=earlier.items[-1].message_id)
            assert [m.message_id for m in later_page.items] == [m.message_id for m in history.items]
            assert (await client.tail(session_id, 1)).messages[-1] == history.items[-1]

    asyncio.run(scenario())


def test_one_owner_writes_and_both_see_why(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session_id = (await client.create_session()).session_id
            mine = await client.resume(session_id, "laptop")
            assert (mine.resumed, mine.code, mine.warning) == (True, "RESUMED", None)
            with pytest.raises(SessionOwned) as owned:
                await client.resume(session_id, "phone")
            assert (owned.value.code, owned.value.fields["owner"]) == ("SESSION_BUSY", "laptop")
            with pytest.raises(SessionEpochRequired):
                await client.start_run("script", script(), session_id)
            await client.start_run("script", script({"text": "hi"}), session_id, session_epoch=mine.epoch)
            stream = client.follow_session(session_id, session_epoch=mine.epoch)
            async with aclosing(stream):
                await until(stream, "run.completed")
                theirs = await client.resume(session_id, "phone", takeover=True)
                [news] = await until(stream, "session.superseded")
            assert (news.id, news.data["owner"], news.data["epoch"], news.data["held"]) == (
                None,
                "phone",
                theirs.epoch,
                mine.epoch,
            )
            with pytest.raises(StaleEpoch):
                await client.append_memory(session_id, "late", mine.epoch)
            with pytest.raises(StaleEpoch):
                await client.renew(session_id, mine.epoch)
            assert (await client.renew(session_id, theirs.epoch)).owner == "phone"
            await client.detach(session_id, theirs.epoch)
            assert (await client.session(session_id)).owner is None

    asyncio.run(scenario())


@pytest.mark.parametrize("asked", [None, 7, "", ".", "..", "a/b", "\n", "x" * 500, "ses_", "é", ["a"], "\ud800"])
def test_what_is_no_id_gets_a_new_session_and_a_warning(server: Server, asked: object) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            resumed = await client.resume(asked, "laptop")
            assert (resumed.resumed, resumed.code) == (False, "INVALID_SESSION_ID")
            assert resumed.warning is not None
            assert resumed.tail.session.session_id == resumed.session_id != asked

    asyncio.run(scenario())


def test_an_unknown_and_a_finalized_session_are_replaced(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            assert (await client.resume(UNKNOWN, "laptop")).code == "SESSION_NOT_FOUND"
            old = await client.resume((await client.create_session()).session_id, "laptop")
            assert (await client.finalize(old.session_id, old.epoch)).status == "finalized"
            assert (await client.finalize(old.session_id, old.epoch)).status == "finalized"
            with pytest.raises(SessionFinalized):
                await client.append_memory(old.session_id, "late", old.epoch)
            new = await client.resume(old.session_id, "laptop")
            assert (new.code, new.session_id != old.session_id) == ("SESSION_FINALIZED", True)
            async with aclosing(client.follow_session(new.session_id)) as stream:
                [warning] = await until(stream, "session.warning")
            assert (warning.id, warning.data["code"]) == (None, "SESSION_FINALIZED")
            await client.delete_session(old.session_id, old.epoch)
            with pytest.raises(NotFound):
                await client.delete_session(old.session_id)

    asyncio.run(scenario())


def test_memories_are_one_chain(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session_id = (await client.create_session()).session_id
            for number in range(5):
                key = f"{session_id}-{number}"
                entry = await client.append_memory(session_id, {"number": number}, idempotency_key=key)
                assert await client.append_memory(session_id, {"number": number}, idempotency_key=key) == entry
            first = await client.memories(session_id, limit=3)
            rest = await client.memories(session_id, after=first.next_cursor)
            entries = [*first.items, *rest.items]
            assert first_break(SessionId(session_id), entries) is None
            continuity = (await client.session(session_id)).continuity
            assert (continuity.count, continuity.first, continuity.last) == (5, 1, 5)
            assert continuity.head_hash == entries[-1].hash

    asyncio.run(scenario())


def test_a_planned_handoff(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session_id = (await client.create_session()).session_id
            mine = await client.resume(session_id, "laptop")
            async with aclosing(client.follow_session(session_id, session_epoch=mine.epoch)) as stream:
                handoff = await client.request_handoff(session_id, timeout_s=60)
                assert (await client.request_handoff(session_id, handoff.handoff_id)).handoff_id == handoff.handoff_id
                [asked] = await until(stream, "session.warning")
            assert (asked.data["code"], asked.data["handoff_id"]) == ("HANDOFF_REQUESTED", handoff.handoff_id)
            with pytest.raises(HandoffConflict):
                await client.resume(session_id, "phone", handoff_id=handoff.handoff_id)
            assert (await client.handoff(session_id, handoff.handoff_id)).drained
            assert (await client.ready_handoff(session_id, handoff.handoff_id, mine.epoch)).status == "ready"
            theirs = await client.resume(session_id, "phone", handoff_id=handoff.handoff_id)
            assert theirs.epoch > mine.epoch
            assert (await client.abandon_handoff(session_id, handoff.handoff_id)).status == "completed"
            other = await client.request_handoff(session_id)
            assert (await client.abandon_handoff(session_id, other.handoff_id)).status == "abandoned"

    asyncio.run(scenario())


async def claimed(client: Client, session_id: str) -> SummaryWork:
    """The claim, as soon as the grace of whoever was here is over."""
    while True:
        try:
            return await client.claim_summary(session_id, "w1")
        except SummaryNotDue as early:
            due_at = datetime.fromisoformat(early.fields["due_at"])
            await asyncio.sleep((due_at - datetime.now(UTC)).total_seconds())


def test_a_summary_is_claimed_staged_and_completed(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session_id = (await client.create_session()).session_id
            with pytest.raises(SummaryNotDue):
                await client.claim_summary(session_id, "w1")
            await client.append_memory(session_id, "a")
            work = await claimed(client, session_id)
            assert (work.after, work.through, work.is_staged) == (0, 1, False)
            await client.stage_summary(session_id, work.token, {"gist": "a"})
            with pytest.raises(StaleToken):
                await client.complete_summary(session_id, "another")
            done = await client.complete_summary(session_id, work.token)
            assert (done.watermark, done.result) == (1, {"gist": "a"})
            kept = (await client.session(session_id)).summary
            assert (kept.watermark, kept.result) == (1, {"gist": "a"})

    asyncio.run(scenario())
