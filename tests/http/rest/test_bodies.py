"""Bodies over HTTP: what is JSON and what is not, and that a request costs no more than it is allowed to."""

import time
from typing import Any

import pytest

from reattach.adapters.http.body import JSON_DEPTH_MAX, HttpLimits

from .serving import Api, Backend, answer_on, connection, problem_of

POST = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nope",
        b'{"metadata":}',
        b"{}{}",
        b"{'a':1}",
        b'{"a":1,}',
        b" ",
        b"\xff",
        b"\x00",
        b"\xef\xbb\xbf{}",
        b'{"metadata":{"a":"\xff"}}',
        b'{"metadata":{"a":"\xed\xa0\x80"}}',
        b'{"metadata":{"a":"\\ud800"}}',
        b'{"metadata":{"\\udc00":1}}',
        b'{"metadata":{"a":"\x00"}}',
        b'{"metadata":{"a":NaN}}',
        b'{"metadata":{"a":Infinity}}',
        b'{"metadata":{"a":1e999}}',
        b'{"metadata":{"a":[-1e999]}}',
        b'{"metadata":{"a":' + b"1" * 5000 + b"}}",
        b'{"metadata":{"a":' + b"1" * 400 + b".5}}",
        nested(100000).encode(),
        nested(50000, '{"a":', "}").encode(),
        b"[" * 200000,
    ],
)
def test_what_is_no_json(api: Api, body: bytes) -> None:
    refused = api.http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert len(problem_of(refused, 400, "malformed")["detail"]) < 300


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', "true", "1.5"])
def test_what_is_json_and_no_object(api: Api, body: str) -> None:
    refused = api.http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert problem_of(refused, 422, "invalid")["field"] == "body"


def test_depth_has_a_limit_that_storage_can_stand(api: Api) -> None:
    """What gets in must come out again, wrapped in facts, frames, lists and answers."""
    fits = JSON_DEPTH_MAX - 2  # inside the body and its metadata
    body = '{"metadata":{"deep":%s}}'
    headers = {"Content-Type": "application/json"}
    created = api.http.post("/v1/sessions", content=body % nested(fits), headers=headers)
    assert created.status_code == 201
    assert api.get(created.headers["location"]).json()["metadata"] == created.json()["metadata"]
    refused = api.http.post("/v1/sessions", content=body % nested(fits + 1), headers=headers)
    assert problem_of(refused, 400, "malformed")["limit"] == JSON_DEPTH_MAX


def test_deep_output_can_be_read_by_everybody(api: Api) -> None:
    held = api.claim(api.run())
    deep: Any = 1
    for _ in range(JSON_DEPTH_MAX - 4):
        deep = [deep]
    start, *_, end = held.says("")
    assert held.output(start, {"type": "data", "name": "deep", "value": deep}, end).status_code == 200
    held.post("complete")
    messages = api.get(f"/v1/sessions/{held.assignment['run']['session_id']}/messages").json()["items"]
    assert messages[1]["parts"] == [{"kind": "data", "name": "deep", "value": deep}]
    stream = api.get(f"/v1/runs/{held.run_id}/events", params={"follow": "false", "snapshot": "true"})
    assert (stream.status_code, "[[[[1]]]]" in stream.text) == (200, True)


def test_numbers_and_texts_come_back_as_they_were(api: Api) -> None:
    metadata: dict[str, Any] = {
        "big": 10**4000,
        "float": 5e-324,
        "nul": "\u0000",
        "\u0000": 1,
        "pair": "\U0001f600",
        "": {"": []},
    }
    created = api.post("/v1/sessions", {"metadata": metadata})
    assert created.status_code == 201
    assert api.get(created.headers["location"]).json()["metadata"] == metadata


def test_of_two_equal_keys_the_last_counts(api: Api) -> None:
    created = api.http.post(
        "/v1/sessions",
        content=b'{"metadata":{"a":1},"metadata":{"b":1,"b":2}}',
        headers={"Content-Type": "application/json"},
    )
    assert created.json()["metadata"] == {"b": 2}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json; v=2"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json, text/plain"},
        {"Content-Type": "/" * 1000},
    ],
)
def test_only_json_is_read(api: Api, headers: dict[str, str]) -> None:
    refused = api.http.post("/v1/sessions", content=b"{}", headers=headers)
    problem_of(refused, 415, "unsupported_media_type")
    assert refused.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "media", ["application/json;charset=UTF-8", 'Application/JSON ; charset="utf-8"', "application/json;"]
)
def test_json_has_several_spellings(api: Api, media: str) -> None:
    assert api.http.post("/v1/sessions", content=b"{}", headers={"Content-Type": media}).status_code == 201


def test_two_content_types_are_none(api: Api) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    problem_of(api.http.post("/v1/sessions", content=b"{}", headers=headers), 415, "unsupported_media_type")


def test_faults_are_listed_but_not_without_end(api: Api) -> None:
    path = f"/v1/sessions/{api.session()}/runs"
    some = problem_of(api.post(path, {"agent": 1, "x": 1, "y" * 500: 1}), 422, "invalid")
    assert [fault["field"] for fault in some["faults"]] == ["agent", "x", "y" * 100]
    many = api.post(path, {"agent": "plain", **{f"k{n}": 1 for n in range(50_000)}})
    problem_of(many, 422, "invalid")
    assert len(many.content) < 1000
    kinds = {"agent": "plain", "request_config": {"kinds": ["x"] * 100_000}}
    assert problem_of(api.post(path, kinds), 422, "invalid")["field"] == "request_config"


def test_a_body_over_the_limit_is_not_read(port: int) -> None:
    """E2: by its own word, before a byte of it has arrived."""
    for length in (1_048_577, 10**15, 10**18):
        with connection(port) as opened:
            opened.sendall(POST + b"Content-Length: %d\r\n\r\n" % length)
            assert problem_of(answer_on(opened), 413, "too_large")["limit"] == 1_048_576


def test_a_body_without_a_length_is_cut_off(port: int) -> None:
    """E2: the answer comes while the client still sends, and the connection can be used again."""
    with connection(port) as opened:
        opened.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(17):
            opened.sendall(chunk)
        problem_of(answer_on(opened), 413, "too_large")
        opened.sendall(chunk + b"0\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_on(opened).status_code == 200


def test_a_body_of_exactly_the_limit_fits(api: Api) -> None:
    frame = '{"input":"","agent":"plain"}'
    run = f"/v1/sessions/{api.session()}/runs"
    body = frame.replace('""', f'"{"x" * (1_048_576 - len(frame) + 1)}"')
    headers = {"Content-Type": "application/json"}
    assert len(body) == 1_048_577
    problem_of(api.http.post(run, content=body, headers=headers), 413, "too_large")
    # One byte less is read; as a prompt it is then too long for a frame, which its own limit says.
    problem_of(api.http.post(run, content=body.replace("xx", "x", 1), headers=headers), 422, "invalid_frames")


def test_output_has_a_limit_of_its_own(api: Api) -> None:
    held = api.claim(api.run())
    start, text, delta, end, close = held.says("")
    large = {**delta, "text": "x" * 1_000_000}
    assert held.output(start, text, large, large, end, close).status_code == 200
    problem_of(held.output(*[large] * 9, first_seq=9), 413, "too_large")


def test_a_body_that_does_not_come_is_waited_for_so_long(backend: Backend) -> None:
    """A length that lies: shorter than what is sent is the next request's trouble, longer is this one's."""
    with backend.serve(limits=HttpLimits(body_wait_s=0.2)) as port:
        for body in (b"", b"{", b"{}"):
            with connection(port) as opened:
                opened.sendall(POST + b"Content-Length: 100\r\n\r\n" + body)
                assert problem_of(answer_on(opened), 408, "body_timeout")["received"] == len(body)
                assert opened.recv(1) == b""


def test_a_client_that_goes_away_leaves_nothing(backend: Backend, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    before = api.get("/v1/sessions").json()
    with backend.serve() as port:
        for _ in range(10):
            with connection(port) as opened:
                opened.sendall(POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
                assert opened.recv(100) == CONTINUE  # the body is being read
                opened.sendall(b'{"metadata":')
    assert api.get("/v1/sessions").json() == before
    assert caplog.text == ""


def test_a_client_may_ask_before_it_sends(port: int) -> None:
    with connection(port) as opened:
        opened.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert opened.recv(100) == CONTINUE
        opened.sendall(b"{}")
        assert answer_on(opened).status_code == 201


def test_hostile_bodies_do_not_hold_the_server_up(api: Api) -> None:
    """The dearest shapes a body of the limit's size can take; a second is twenty times what they need."""
    shapes = [b"[" + b"1," * 500_000 + b"1]", b'{"metadata":' + b'{"a":[' * 49 + b"1" + b"]}" * 49 + b"}"]
    shapes.append(b'{"metadata":[' + b"[]," * 300_000 + b"1]}")
    shapes.append(b"{" + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}")
    for shape in shapes:
        begun = time.monotonic()
        api.http.post("/v1/sessions", content=shape, headers={"Content-Type": "application/json"})
        assert time.monotonic() - begun < 5
