"""The load clients see what goes wrong: the suite's zeros mean something only if a planted fault is counted."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from . import load as load_module
from .agents import marker
from .load import Load, Reading, Request

RUN = "run_01h455vb4pex5vsknk084sn02q"


def block(seq: int, text: int | None = None) -> str:
    """One frame as the wire has it."""
    piece = marker(seq - 1 if text is None else text)
    return f'event: text.delta\nid: {RUN}.1.1.{seq}\ndata: {{"type":"text.delta","seq":{seq},"text":"{piece}"}}\n\n'


STREAMS = {
    "/good": [block(1), block(2) + block(3), ": keepalive\n\n", block(4)[:40], block(4)[40:]],
    "/lost": [block(1), block(2), block(4, text=2), block(5, text=3)],
    "/duplicated": [block(1), block(2), block(2, text=2), block(3, text=3)],
    "/reordered": [block(1), block(2), block(3), block(1, text=3)],
    "/text": [block(1), block(2), block(3, text=7), block(4)],
    "/reset": [block(1), block(2), block(3), 'event: stream.reset\ndata: {"reason":"ahead"}\n\n', block(4)],
    "/short": [block(1), block(2)],
    "/reconnect": [block(1), block(2), 'event: stream.reconnect\ndata: {"retry_ms":1}\n\n'],
}


class Streams(BaseHTTPRequestHandler):
    """Serves the streams above, a chunk a piece; the one that asks to reconnect goes on at the cursor."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        pieces = STREAMS.get(self.path)
        cursor = self.headers["Last-Event-ID"]
        if cursor is not None:
            pieces = [block(3), block(4)] if cursor == f"{RUN}.1.1.2" else [block(9)]
        self.send_response(200)
        if pieces is None:
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in [*pieces, ""]:
            self.wfile.write(f"{len(piece):x}\r\n{piece}\r\n".encode())
            self.wfile.flush()

    def do_POST(self) -> None:
        """Accept what has seq 3 or less, refuse the rest."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        seq, _, text = body.partition(" ")
        ok = self.headers["Run-Epoch"] == "1" and int(seq) <= 3 and len(text) == len(marker(0))
        self.send_response(200 if ok else 409)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  - the name http.server gives
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Streams) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def nothing(_program: str) -> None:
    """What shutil.which finds on a machine without compilers."""


@pytest.fixture(params=["c", "python"])
def load(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setattr(load_module, "SETTLE_S", 0.0)
    if request.param == "python":
        monkeypatch.setattr(shutil, "which", nothing)
    client = Load(tmp_path)
    if client.is_c != (request.param == "c"):
        pytest.skip("there is no C compiler here")
    return client


def read(load: Load, port: int, path: str) -> Reading:
    return load.readers(port, [path], readers=3, texts=4, limit_s=10).finish()


def test_a_good_stream_has_no_faults(load: Load, port: int) -> None:
    reading = read(load, port, "/good")
    assert (reading.faults, reading.frames, reading.texts) == ("", 12, 12)
    assert 0 < reading.p50_us <= reading.p99_us <= reading.max_us


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("/lost", "lost=3"),
        ("/duplicated", "duplicated=3"),
        ("/reordered", "reordered=3"),
        ("/text", "text_errors=3"),
        ("/reset", "controls=3"),
        ("/short", "incomplete=3"),
    ],
)
def test_a_planted_fault_is_counted(load: Load, port: int, path: str, faults: str) -> None:
    assert read(load, port, path).faults == faults


def test_a_reader_that_is_asked_to_reconnect_comes_back_with_its_cursor(load: Load, port: int) -> None:
    reading = read(load, port, "/reconnect")
    assert (reading.faults, reading.reconnects, reading.texts) == ("", 3, 12)


def test_first_frames_are_timed_and_checked(load: Load, port: int) -> None:
    requests = [
        Request(name="get", path="/healthz", keep_alive=True),
        Request(name="resume", path="/good", frames=1, after=2, header=f"Last-Event-ID: {RUN}.1.1.2"),
        Request(name="all", path="/good", frames=-1, after=0),
        Request(name="lost", path="/lost", frames=-1, after=0),
    ]
    timings = load.first(port, requests, rounds=3)
    assert {name: (timing.errors, timing.frames) for name, timing in timings.items()} == {
        "get": (0, 0),
        "resume": (0, timings["resume"].frames),
        "all": (0, 12),
        "lost": (3, 12),
    }
    assert all(0 < timing.first_p50_us <= timing.last_p50_us for timing in timings.values())


def test_acknowledgements_and_refusals_are_counted(load: Load, port: int) -> None:
    good = load.append(port, ["/a", "/b"], header="Run-Epoch: 1", body="%S %T", after=0, count=3)
    assert (good.acknowledged, good.errors) == (6, 0)
    bad = load.append(port, ["/a"], header="Run-Epoch: 1", body="%S %T", after=3, count=1)
    assert (bad.acknowledged, bad.errors) == (0, 1)
