"""Packets of one direction: first in, first out, at once if they were sent at once, and none past a cut."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from reattach.simulations.exchange import Request
from reattach.simulations.loop import SimLoop
from reattach.simulations.network import Conditions, Network
from reattach.simulations.process import Process
from reattach.simulations.tape import Tape
from reattach.simulations.trace import Trace

PAUSE_S = 0.5
CUT_S = 2.0
PIECES = (b"a", b"b", b"c")


@pytest.fixture
def tape() -> Tape:
    return Tape(7)


@pytest.fixture
def loop(tape: Tape) -> Iterator[SimLoop]:
    loop = SimLoop(tape)
    yield loop
    loop.close()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Two pieces in one go, and one more after a while."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": PIECES[0], "more_body": True})
    await send({"type": "http.response.body", "body": PIECES[1], "more_body": True})
    await asyncio.sleep(PAUSE_S)
    await send({"type": "http.response.body", "body": PIECES[2], "more_body": False})


def arrivals(loop: SimLoop, tape: Tape, conditions: Conditions, cut_s: float = 0.0) -> list[tuple[float, bytes]]:
    """When each piece is read, by a client that waits for it."""
    network = Network(loop, tape, Trace(loop.time, on=False), conditions)
    found: list[tuple[float, bytes]] = []

    async def serve(process: Process) -> None:
        network.serve(process, app)
        await process.stopping.wait()

    async def main() -> None:
        process = Process(loop, "n0", serve)
        process.start()
        await asyncio.sleep(0.1)
        exchange = network.open("c0", "n0", Request("GET", "/"))
        await exchange.head()
        if cut_s:
            network.cut("c0", "n0", cut_s)
        while piece := await exchange.read():
            found.append((loop.time(), piece))
        process.kill()

    loop.run_until_complete(main())
    return found


def test_what_is_sent_at_once_arrives_at_once(loop: SimLoop, tape: Tape) -> None:
    (first, _), (second, _), (third, _) = found = arrivals(loop, tape, Conditions())
    assert tuple(piece for _, piece in found) == PIECES
    assert first == second
    assert third - first == pytest.approx(PAUSE_S, abs=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_late_packets_keep_their_order(seed: int) -> None:
    tape = Tape(seed)
    loop = SimLoop(tape)
    found = arrivals(loop, tape, Conditions(late_s=0.1, late_density=1.0))
    loop.close()
    assert tuple(piece for _, piece in found) == PIECES
    assert sorted(found) == found


def test_a_cut_holds_what_is_sent_meanwhile(loop: SimLoop, tape: Tape) -> None:
    found = arrivals(loop, tape, Conditions(), cut_s=CUT_S)
    assert tuple(piece for _, piece in found) == PIECES
    times = [at for at, _ in found]
    assert times[0] == times[1] < CUT_S < times[2]
