"""Connections: what is no HTTP, what has no end, and what no client library would send."""

import socket
import time

import pytest

from reattach.adapters.http.connection import HEAD_BYTES_MAX

from .serving import answer_on, connection, problem_of

OK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def closed(opened: socket.socket) -> bool:
    try:
        return opened.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: x\r\n folded\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_problem_document_too(port: int, request_: bytes) -> None:
    """E1"""
    with connection(port) as opened:
        opened.sendall(request_)
        problem_of(answer_on(opened), 400, "malformed")
        assert closed(opened)


def test_a_bad_chunk_is_no_reason_to_wait(port: int) -> None:
    head = (
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with connection(port) as opened:
        opened.sendall(head + b"zz\r\n{}\r\n0\r\n\r\n")
        problem_of(answer_on(opened), 400, "malformed")
        assert closed(opened)


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nA: ", b"a"),
        (b"GET / HTTP/1.1\r\nA", b"a"),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
        (b"GET /?", b"a=b&"),
        (b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a"),
        (b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"a"),
        (b"", b"\r\n"),
    ],
    ids="url value name headers query trailer extension newlines".split(),
)
def test_a_head_without_end_is_cut_off(port: int, before: bytes, piece: bytes) -> None:
    """E2: the client is told, or at the latest cut off; what is kept of it is bounded."""
    with connection(port) as opened:
        opened.settimeout(5)
        sent = 0
        try:
            opened.sendall(before)
            for _ in range(200):
                opened.sendall(piece * (65_536 // len(piece)))
                sent += 65_536
        except OSError:
            pass
        assert piece == b"\r\n" or sent < 100 * 65_536
    with connection(port) as opened:
        opened.sendall(OK)
        assert answer_on(opened).status_code == 200


@pytest.mark.parametrize("header", [b"A: %b\r\n", b"%b: a\r\n"])
def test_a_head_over_its_limit_is_told_so(port: int, header: bytes) -> None:
    for length, status in ((HEAD_BYTES_MAX - 100, 200), (HEAD_BYTES_MAX + 100, 431)):
        with connection(port) as opened:
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + header % (b"a" * length) + b"\r\n")
            answer = answer_on(opened)
            assert answer.status_code == status
            if status == 431:
                assert problem_of(answer, 431, "head_too_large")["limit"] == HEAD_BYTES_MAX
                assert closed(opened)


def test_limits_begin_anew_with_each_request(port: int) -> None:
    with connection(port) as opened:
        for _ in range(5):
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n")
            assert answer_on(opened).status_code == 200
        head = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        body = b'{"metadata":{"a":"' + b" " * 15_000 + b'"}}'
        opened.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for byte in body:
            opened.sendall(b"1\r\n%c\r\n" % byte)
        opened.sendall(b"0\r\n\r\n")
        assert answer_on(opened).status_code == 201


def test_requests_may_come_in_one_piece_or_byte_by_byte(port: int) -> None:
    with connection(port) as opened:
        opened.sendall(OK * 20)
        buffered = opened.makefile("rb")
        for _ in range(20):
            assert buffered.readline() == b"HTTP/1.1 200 OK\r\n"
            while buffered.readline() != b"\r\n":
                pass
            assert buffered.read(len('{"status":"alive"}')) == b'{"status":"alive"}'
        for byte in OK:
            opened.sendall(bytes([byte]))
        assert buffered.readline() == b"HTTP/1.1 200 OK\r\n"
        buffered.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: \x80\xff\r\n\r\n",
        b"GET /healthz#x HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_odd_but_answered(port: int, request_: bytes) -> None:
    with connection(port) as opened:
        opened.sendall(request_)
        assert answer_on(opened).status_code == 200


def test_paths_that_are_none(port: int) -> None:
    for target in (b"*", b"/v1/../v1/agents", b"//healthz", b"/%2e%2e", b"/healthz%00"):
        with connection(port) as opened:
            opened.sendall(b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            problem_of(answer_on(opened), 404, "not_found")


def test_a_slow_head_does_not_stop_the_others(port: int) -> None:
    with connection(port) as slow, connection(port) as quick:
        slow.sendall(OK[:20])
        begun = time.monotonic()
        quick.sendall(OK)
        assert answer_on(quick).status_code == 200
        slow.sendall(OK[20:])
        assert answer_on(slow).status_code == 200
        assert time.monotonic() - begun < 5
