"""C18: the database is away for a while. Nobody is told that a run is over or unknown, and nobody loses a frame."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

import httpx
import pytest
from sqlalchemy import make_url

from reattach.simulations.chaos.databases import target_of
from reattach.simulations.chaos.proxy import Link

from ..postgres import NoPostgres, new_database
from .linked import Linked, linked
from .server import CLIENT, TERMINAL, Block, Events, Server, free_port

ASKED = 3
"""Times that a reader comes while the database is away."""


@pytest.fixture(params=[()], ids=["with-a-worker"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Linked]]:
    """A server whose way to its database can be broken."""
    try:
        url = make_url(new_database())
    except NoPostgres as error:
        pytest.skip(str(error))
    with linked(Link(lambda: target_of(url))) as way:
        through = url.set(host="127.0.0.1", port=way.link.port, query={}).render_as_string(hide_password=False)
        server = Server(tmp_path / "unused.db", free_port(), arguments=("--database", through, *request.param)).start()
        yield server, way
        server.kill()


def gone(way: Linked) -> None:
    def cut() -> None:
        way.link.weather.refusing = True
        way.link.reset()

    way.do(cut)


def attach(server: Server, run_id: str, cursor: str | None) -> list[Block]:
    """One connection to a run's stream: whatever happens, it has to be one that a browser comes back from."""
    headers = {"Last-Event-ID": cursor} if cursor is not None else {}
    with CLIENT.stream("GET", f"{server.url}/v1/runs/{run_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.status_code
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = Events(answer)
        blocks = list(events)
        assert events.retry is not None
        return blocks


def test_whoever_attaches_meanwhile_comes_back_and_loses_nothing(away: tuple[Server, Linked]) -> None:
    server, way = away
    over = server.run({"text": "long ago"})["run_id"]
    whole = server.frames(over)
    live = server.run({"text": "0123456789" * 12, "chunk": 1, "delay_ms": 25})["run_id"]
    seen: list[Block] = []
    with server.events(f"/v1/runs/{live}/events") as events:
        for block in events:
            seen.append(block)
            if len(seen) == 20:
                gone(way)
                break
    for _ in range(ASKED):
        for run_id, cursor in ((over, None), (over, whole[3].id), (over, whole[-1].id), (live, seen[-1].id)):
            blocks = attach(server, run_id, cursor)
            assert all(block.event not in TERMINAL for block in blocks if run_id == live)
            assert all(block.id is not None or block.event == "stream.reconnect" for block in blocks)
            assert blocks[-1].event == "stream.reconnect"
        refused = server.get(f"/v1/runs/{over}")
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    way.do(way.link.calm)
    while seen[-1].event not in TERMINAL:
        try:
            more = attach(server, live, seen[-1].id)
        except httpx.HTTPError:
            continue
        seen += [block for block in more if block.event != "stream.reconnect"]
    assert [block.json["seq"] for block in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].event == "run.completed"
    assert server.frames(live) == seen
    assert server.frames(over) == whole


@pytest.mark.parametrize("away", [("--no-worker",)], indirect=True, ids=["serving-only"])
def test_a_server_that_stops_meanwhile_answers_nothing_wrong(away: tuple[Server, Linked]) -> None:
    """C12: what waits for the database when a server would wait no longer gets no answer, and above all no 500."""
    server, way = away
    run_id = server.run({"text": "x"})["run_id"]
    way.do(way.link.silence)
    arrived = Semaphore(0)

    def arrives(_: bytes) -> bool:
        arrived.release()
        return False

    front = Link(lambda: ("127.0.0.1", server.port), arrives)
    with linked(front) as door, ThreadPoolExecutor(3) as pool:
        path = f"{door.url}/v1/runs/{run_id}"
        answers = [
            pool.submit(lambda: CLIENT.post(f"{path}/cancel").status_code),
            pool.submit(lambda: CLIENT.get(path).status_code),
            pool.submit(lambda: [block.event for block in server.blocks(f"{path}/events")]),
        ]
        for _ in answers:
            arrived.acquire()
        server.send_signal(signal.SIGTERM)
        for answer in answers:
            try:
                found = answer.result()
            except httpx.HTTPError:
                continue  # no answer: it asks again, elsewhere
            assert found in (503, ["stream.reconnect"])
        way.do(way.link.calm)  # a process that waits for an answer of the database ends when it knows that none comes
        server.terminate()
