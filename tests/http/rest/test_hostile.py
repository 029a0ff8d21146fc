"""Hostile input at every route: whatever is sent, there is an answer, soon, which is no 500 and says what is wrong."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from reattach.adapters.http.body import HttpLimits

from .serving import Api, Backend, connection
from .test_problems import CODES

ANSWER_S: Final = 5.0
"""Far above what any answer takes; a hang is what is meant."""

hostile = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass
class Target:
    """A server, and the ids of things in every state there."""

    port: int
    operations: list[tuple[str, str]]
    ids: list[str]
    bodies: dict[str, list[dict[str, Any]]]


class Errors(logging.Handler):
    """What the server has to complain about itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@pytest.fixture(scope="module")
def target(backend: Backend) -> Iterator[Target]:
    errors = Errors()
    logging.getLogger().addHandler(errors)
    with backend.serve(limits=HttpLimits(body_wait_s=1.0)) as port:
        api = Api(port)
        yield populated(api, backend.operations)
        assert api.get("/healthz").status_code == 200
        api.http.close()
    logging.getLogger().removeHandler(errors)
    assert errors.found == []


def populated(api: Api, operations: list[tuple[str, str]]) -> Target:
    """Runs in every state, and a valid body for every route that has one."""
    pending, waiting, done, running = (api.run() for _ in range(4))
    asked = api.claim(waiting).suspend("rm")
    api.post(f"/v1/runs/{done['run_id']}/cancel")
    held = api.claim(running)
    runs = [run["run_id"] for run in (pending, waiting, done, running)]
    sessions = [api.session(), *(run["session_id"] for run in (pending, waiting, done, running))]
    checkpoint = [{"type": "step.start", "step": 1}, {"type": "step.end", "step": 1, "checkpoint": 1}]
    repeat = [
        {"repeat": {"times": 2, "steps": [{"text": "a", "chunk": 1, "delay_ms": 1}]}},
        {"data": {"name": "n", "value": 1}},
    ]
    approvals = [
        {"approvals": [{"tool": "t", "arguments": 1, "result": 1}], "timeout_s": 1},
        {"fail": {"type": "a", "message": "m"}},
    ]
    bodies: dict[str, list[dict[str, Any]]] = {
        "sessions": [{"metadata": {"a": [1, {"b": None}]}}],
        "runs": [
            {"agent": "plain", "input": {"prompt": "x"}, "request_config": {"kinds": ["text"], "tool_output": "omit"}},
            {"agent": "script", "input": {"prompt": "x", "steps": repeat}, "on_busy": "reject"},
            {"agent": "script", "input": {"steps": approvals}},
        ],
        "cancel": [{"reason": "because"}],
        "decisions": [
            {"decisions": [{"approval_id": i, "outcome": "approve", "arguments": {}, "reason": "r"} for i in asked]}
        ],
        "claim": [{"worker": "w", "agents": ["plain", "script"], "limit": 1}],
        "output": [
            {"first_seq": 3, "frames": held.says("x")},
            {"first_seq": 3, "frames": checkpoint, "checkpoint": {"step": 1, "state": {"x": 1}}},
        ],
        "suspend": [
            {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1, "timeout_s": 1}], "step": 1, "state": 1}
        ],
        "complete": [{"stop_reason": "end_turn", "usage": {"tokens": 1}}],
        "fail": [{"error": {"type": "late", "message": "m", "retryable": True}}],
        "renew": [{"worker": "w1"}],
    }
    return Target(api.port, operations, [*runs, *sessions], bodies)


# What is sent.

texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "\u0000", "\U0010ffff", "x" * 5000, "-1", "null", "../"]
)
numbers = (
    st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([10**400, -(2**63), 2**63, 1e308, 10**15, 0, -1, 2**31])
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=10
)
raw = st.binary(max_size=200) | st.sampled_from(
    [b"", b"[" * 5000, b"NaN", b'{"a":1e999}', b'"\\ud800"', b"\xff\xfe{}", b"{}" * 1000]
)


def mutated(body: JsonValue, draw: Any) -> JsonValue:
    """The body with one place of it replaced, dropped or repeated."""
    deeper = draw(st.integers(0, 3))
    if isinstance(body, dict) and body and deeper:
        key = draw(st.sampled_from(sorted(body)))
        changed = {**body, key: mutated(body[key], draw)}
        if draw(st.integers(0, 9)) == 0:
            del changed[key]
        return changed
    if isinstance(body, list) and body and deeper:
        at = draw(st.integers(0, len(body) - 1))
        changed = [*body[:at], mutated(body[at], draw), *body[at + 1 :]]
        return changed * draw(st.sampled_from([1, 1, 1, 2]))
    replaced: JsonValue = draw(values)
    return replaced


@st.composite
def payloads(draw: Any, bodies: dict[str, list[dict[str, Any]]], path: bytes) -> bytes:
    """Bytes, JSON of any shape, or nearly what the route expects."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        data: bytes = draw(raw)
        return data
    value = (
        draw(values)
        if kind < 3
        else draw(st.sampled_from(bodies.get(path.partition(b"?")[0].decode().rpartition("/")[2], [{}])))
    )
    if kind > 4:
        value = mutated(value, draw)
    data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode()
    return data[: draw(st.integers(0, len(data)))] if kind == 3 else data


@st.composite
def targets(draw: Any, operations: list[tuple[str, str]], ids: list[str]) -> tuple[str, bytes]:
    """A method, and a path with or without a query."""
    method, path = draw(st.sampled_from(operations))
    names = st.sampled_from(ids) | st.sampled_from(
        ["%00", "%FF", "%2F", "x", "", ".", "run_" + "0" * 26, "%0A", "y" * 300]
    )
    path = re.sub(r"\{\w+\}", lambda _: draw(names), path)
    if draw(st.integers(0, 9)) == 0:
        method = draw(st.sampled_from("GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PROPFIND MKCOL".split()))
    query = draw(
        st.just("")
        | st.sampled_from(
            ["?limit=2", "?cursor=" + ids[0], "?status=pending", "?follow=false", "?limit=%00", "?" + "a=b&" * 600]
        )
        | st.builds(
            "?{}={}".format, st.sampled_from("limit cursor before status agent session_id after config".split()), names
        )
    )
    return method, (path + query).encode()


HEADERS: Final = {
    "Content-Type": ["application/json", "text/plain", "application/json; charset=x", ""],
    "Accept": ["text/event-stream", "*/*", "q=0;;;,"],
    "Run-Epoch": ["1", "2", "-1", "9" * 30, "²"],
    "Idempotency-Key": ["k", "k2", "a b", "x" * 300, "é"],
    "Last-Event-ID": ["", "x", "run_" + "0" * 26 + ".0.0.1", "9" * 100],
    "Authorization": ["Bearer x", "Bearer", "Basic eDp5"],
    "Content-Encoding": ["gzip", "identity"],
    "Expect": ["100-continue"],
    "Connection": ["close", "upgrade", "keep-alive"],
    "Upgrade": ["websocket", "h2c"],
    "X-Junk": ["é" * 2000, "\t"],
}


@st.composite
def heads(draw: Any, length: int) -> bytes:
    """Headers: mostly what a client sends, sometimes twice, sometimes with another length or none."""
    named = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=4))
    lines = [(name, draw(st.sampled_from(HEADERS[name]))) for name in named]
    if draw(st.integers(0, 3)):
        lines += [("Content-Type", "application/json"), ("Run-Epoch", "1")]
    shift = draw(st.sampled_from([0] * 60 + [-1, 1, 10**9]))
    if not draw(st.integers(0, 30)):
        lines.append(("Transfer-Encoding", "chunked"))
    else:
        lines.append(("Content-Length", str(max(0, length + shift))))
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in lines)


@given(data=st.data())
@hostile
def test_any_request_has_a_sane_answer(target: Target, data: st.DataObject) -> None:
    """E1"""
    method, path = data.draw(targets(target.operations, target.ids))
    body = (
        data.draw(payloads(target.bodies, path)) if method not in ("GET", "HEAD") or data.draw(st.booleans()) else b""
    )
    head = data.draw(heads(len(body)))
    check(target.port, b"%b %b HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (method.encode(), path, head, body), method)


@given(
    noise=st.binary(min_size=1, max_size=300),
    before=st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /v1/runs"]),
)
@hostile
def test_noise_has_an_end(target: Target, noise: bytes, before: bytes) -> None:
    """E1, for what may not be HTTP at all."""
    check(target.port, before + noise + b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET")


@given(header=st.binary(max_size=200).filter(lambda header: not {10, 13} & set(header)))
@hostile
def test_no_guess_is_let_in(guarded_port: int, header: bytes) -> None:
    """E4: an Authorization that is not HTTP is 400, every other one 401."""
    request = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n" % header
    assert check(guarded_port, request, "GET") in (400, 401)
    named = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % header
    assert check(guarded_port, named, "GET") in (400, 401)


def check(port: int, request: bytes, method: str) -> int:
    """Send it, judge the answer, give its status."""
    with connection(port) as opened:
        opened.settimeout(ANSWER_S)
        opened.sendall(request)
        with HTTPResponse(opened, method=method) as response:
            response.begin()
            media = response.getheader("content-type", "")
            streams = media.startswith("text/event-stream")
            body = b"" if streams else response.read()
    assert response.status != 500, (request, body)
    if response.status >= 400:
        assert media == "application/problem+json", (request, response.status, media)
        if method != "HEAD":
            problem = json.loads(body)
            assert CODES[problem["code"]] == problem["status"] == response.status, (request, problem)
    elif body:
        assert media in ("application/json", "text/html; charset=utf-8"), (request, media)
        assert media.startswith("text/html") or isinstance(json.loads(body), dict)
    return response.status
