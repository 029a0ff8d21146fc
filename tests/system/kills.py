"""The kill campaign: kill -9 at random moments under load; every reader's frames equal the log, every run ends.

python -m tests.system.kills --kills 50 --readers 20 --seed 1
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from .server import CLIENT, TERMINAL, Block, Events, Server, free_port

READERS_PER_RUN = 2
RUNS_AT_ONCE_TIMEOUT_S = 60.0


class Campaign:
    """One server that keeps dying, and readers that keep coming back."""

    def __init__(self, folder: Path, kills: int, readers: int, seed: int, say: Callable[[str], None]) -> None:
        self.server = Server(folder / "reattach.db", free_port())
        self.kills, self.readers, self.random, self.say = kills, readers, random.Random(seed), say
        self.stop = threading.Event()
        self.seen: list[tuple[str, list[Block]]] = []
        self.failures: list[BaseException] = []
        self.resumes = itertools.count()
        self.keys = itertools.count()

    def run(self) -> str:
        """Kill, restart, judge; a sentence about what was seen. Raises AssertionError on the first untruth."""
        self.server.start()
        threads = [threading.Thread(target=self._load, args=(n,)) for n in range(self.readers // READERS_PER_RUN)]
        for thread in threads:
            thread.start()
        for kill in range(1, self.kills + 1):
            time.sleep(self.random.uniform(0.05, 1.2))  # a random moment is what this is about
            self.server.kill()
            self.server.start()
            self.say(f"kill {kill}/{self.kills}, {len(self.seen)} streams ended")
        self.stop.set()
        for thread in threads:
            thread.join(RUNS_AT_ONCE_TIMEOUT_S)
            assert not thread.is_alive(), "a reader hangs"
        if self.failures:
            raise self.failures[0]
        sentence = self._judge()
        self.server.terminate()
        return sentence

    def _judge(self) -> str:
        resets = 0
        for run_id, blocks in self.seen:
            whole = self.server.frames(run_id)
            assert [block.json["seq"] for block in whole] == list(range(1, len(whole) + 1)), run_id
            assert blocks == whole, f"a reader of {run_id} saw something else than the log"
            resets += sum(block.event == "step.reset" for block in whole)
        active = [r["run_id"] for r in self._runs() if r["status"] not in ("completed", "failed", "cancelled")]
        assert not active, f"runs without an end: {active}"
        frames = sum(len(blocks) for _, blocks in self.seen)
        return (
            f"{self.kills} kills, {len(self.seen)} streams by {self.readers} readers at once, {frames} frames, "
            f"{next(self.resumes)} resumes, {resets} take-overs seen: "
            "nothing lost, doubled or reordered; every run ended"
        )

    def _runs(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self.server.get(f"/v1/runs?limit=100{cursor}").json()
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"

    def _load(self, number: int) -> None:
        rng = random.Random(number)
        try:
            while not self.stop.is_set():
                run_id = self._start(rng)
                followers = [threading.Thread(target=self._follow, args=(run_id,)) for _ in range(READERS_PER_RUN)]
                for follower in followers:
                    follower.start()
                for follower in followers:
                    follower.join()
        except BaseException as error:  # noqa: BLE001  - reported by the main thread
            self.failures.append(error)

    def _start(self, rng: random.Random) -> str:
        steps = [
            {"text": "an answer " * rng.randint(1, 8), "chunk": rng.randint(2, 6), "delay_ms": rng.choice([2, 5, 10])}
            for _ in range(rng.randint(1, 6))
        ]
        key = f"start-{next(self.keys)}"
        session = self._post("/v1/sessions", {}, f"{key}-session")["session_id"]
        body = {"agent": "script", "input": {"steps": steps}}
        return str(self._post(f"/v1/sessions/{session}/runs", body, key)["run_id"])

    def _post(self, path: str, body: Any, key: str) -> dict[str, Any]:
        """A client that repeats itself until it is answered; the key makes that harmless."""
        while True:
            try:
                answer = self.server.post(path, body, **{"Idempotency-Key": key})
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code < 500:
                assert answer.status_code in (201, 202), answer.text
                created: dict[str, Any] = answer.json()
                return created

    def _follow(self, run_id: str) -> None:
        blocks: list[Block] = []
        try:
            while not blocks or blocks[-1].event not in TERMINAL:
                try:
                    self._attach(run_id, blocks)
                except (httpx.HTTPError, AssertionError):
                    time.sleep(0.02)
                next(self.resumes)
        except BaseException as error:  # noqa: BLE001  - reported by the main thread
            self.failures.append(error)
        self.seen.append((run_id, blocks))

    def _attach(self, run_id: str, blocks: list[Block]) -> None:
        headers = {"Last-Event-ID": str(blocks[-1].id)} if blocks else {}
        url = f"{self.server.url}/v1/runs/{run_id}/events"
        with CLIENT.stream("GET", url, headers=headers) as answer:
            for block in Events(answer):
                if not block.event.startswith("stream."):
                    blocks.append(block)
                elif block.event != "stream.reconnect":
                    self.failures.append(AssertionError(f"{run_id}: {block}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        say = partial(print, file=sys.stderr)
        print(Campaign(Path(folder), options.kills, options.readers, options.seed, say).run())


if __name__ == "__main__":
    main()
