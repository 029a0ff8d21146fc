"""The client against the real server: filtered runs, snapshots, edited approvals, keys, turns."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from reattach.adapters.client import Client, Frame, fold
from reattach.domain.errors import DecisionConflict, IdempotencyMismatch, NotFound, SessionBusy, UnknownAgent

from ..system.server import Server, free_port
from .ids import CountingIds
from .logs import RUN
from .wire import FAST, gather

TOOL = {"tool": {"name": "add", "arguments": {"a": 1}, "result": {"sum": 2}}}
APPROVAL = {"approvals": [{"tool": "send", "arguments": {"to": "ann"}, "result": "sent"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("client") / "reattach.db", free_port()).start()
    yield running
    running.kill()


@asynccontextmanager
async def connected(server: Server) -> AsyncGenerator[Client]:
    async with Client(server.url, ids=UniqueIds(), patience=FAST) as client:
        yield client


class UniqueIds(CountingIds):
    """Keys that no other test uses: the server outlives a test."""

    made = 0

    def __init__(self) -> None:
        UniqueIds.made += 1
        self.count = UniqueIds.made << 32


def script(*steps: Any) -> dict[str, Any]:
    return {"prompt": "go", "steps": list(steps)}


def ends(frame: Frame, run_id: str) -> bool:
    return frame.type == "run.completed" and frame.data["run_id"] == run_id


def test_a_filtered_run_has_gaps_and_no_splice(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            config = {"kinds": ["tool"], "tool_output": "omit"}
            run = await client.start_run("script", script({"text": "Hello"}, TOOL), request_config=config)
            frames = await gather(client.follow(run.run_id))
            rest = await gather(client.follow(run.run_id, frames[2].id))
            head_seq = (await client.run(run.run_id)).head_seq
        assert not [frame for frame in frames if frame.type.startswith("text.")]
        assert [frame.data["omitted"] for frame in frames if frame.type == "tool.result"] == [True]
        assert len(frames) < head_seq == frames[-1].seq
        assert rest == frames[3:]

    asyncio.run(scenario())


def test_a_snapshot_and_the_rest_fold_to_the_whole(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            run = await client.start_run(
                "script", script({"text": "Hello"}, TOOL, {"reasoning": "hm"}, {"text": "Bye"})
            )
            frames = await gather(client.follow(run.run_id))
            shown = await gather(client.follow(run.run_id, snapshot=True))
            reset = await gather(client.follow(run.run_id, f"{run.run_id}.77.1.3"))
        assert shown[0].type == "stream.snapshot"
        assert [frame.type for frame in reset[:2]] == ["stream.reset", "stream.snapshot"]
        assert fold(shown).state() == fold(reset).state() == fold(frames).state()
        assert len(shown) < 4 < len(frames)

    asyncio.run(scenario())


def test_an_edited_approval_and_its_conflicts(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            run = await client.start_run("script", script(APPROVAL))
            async with aclosing(client.follow(run.run_id)) as frames:
                seen: list[Frame] = []
                async for frame in frames:
                    seen.append(frame)
                    if frame.type == "run.suspended":
                        [approval] = (await client.run(run.run_id)).pending_approvals
                        edited = {"to": "bob"}
                        await client.approve(run.run_id, approval.approval_id, arguments=edited, reason="not ann")
                        await client.approve(run.run_id, approval.approval_id, arguments=edited)
                        with pytest.raises(DecisionConflict):
                            await client.deny(run.run_id, approval.approval_id)
            decided = next(frame.data for frame in seen if frame.type == "approval.decided")
            assert (decided["arguments"], decided["reason"]) == ({"to": "bob"}, "not ann")
            assert fold(seen).pending_approvals == []
            assert (await client.cancel(run.run_id)).status == "completed"

    asyncio.run(scenario())


def test_a_key_starts_once(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            first = await client.start_run("script", script({"text": "once"}), idempotency_key="key-of-mine")
            again = await client.start_run("script", script({"text": "once"}), idempotency_key="key-of-mine")
            assert (again.run_id, again.session_id) == (first.run_id, first.session_id)
            with pytest.raises(IdempotencyMismatch):
                await client.start_run("script", script({"text": "twice"}), idempotency_key="key-of-mine")
            assert len((await client.runs(session_id=first.session_id)).items) == 1

    asyncio.run(scenario())


def test_turns_of_a_session(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            session = await client.create_session({"who": "ann"})
            assert (await client.session(session.session_id)).metadata == {"who": "ann"}
            received: list[Frame] = []
            async with aclosing(client.follow_session(session.session_id)) as frames:
                for turn in (1, 2):
                    run = await client.start_run("script", script({"text": "Hello"}), session.session_id)
                    assert run.turn == turn
                    while (
                        not received or received[-1].type != "run.completed" or run.run_id not in str(received[-1].id)
                    ):
                        received.append(await anext(frames))
            runs = (await client.runs(session_id=session.session_id)).items
            whole = [frame for run in reversed(runs) for frame in await gather(client.follow(run.run_id))]
            assert received == whole
            middle = len(whole) // 3
            async with aclosing(client.follow_session(session.session_id, whole[middle].id)) as frames:
                assert [await anext(frames) for _ in whole[middle + 1 :]] == whole[middle + 1 :]

    asyncio.run(scenario())


def test_refusals(server: Server) -> None:
    async def scenario() -> None:
        async with connected(server) as client:
            assert "script" in [agent.name for agent in await client.agents()]
            with pytest.raises(UnknownAgent):
                await client.start_run("nobody")
            with pytest.raises(NotFound):
                await gather(client.follow(RUN))
            run = await client.start_run("script", script({"wait_ms": 600_000}))
            with pytest.raises(SessionBusy) as busy:
                await client.start_run("script", script(), run.session_id)
            assert busy.value.fields["run_id"] == run.run_id
            assert (await client.session(run.session_id)).active_run_id == run.run_id
            assert (await client.cancel(run.run_id, "enough")).final

    asyncio.run(scenario())
