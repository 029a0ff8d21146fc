"""Errors over HTTP: every one of them a problem document, from one table that knows every class."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic_core import from_json
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from reattach.adapters.http import problems
from reattach.adapters.http.auth import Tokens
from reattach.adapters.http.routes import Door, Operation, routes
from reattach.domain import errors
from reattach.domain.errors import ReattachError

from .serving import Api, Backend, problem_of

# What clients match on: a change here breaks them.
CODES: Final = {
    "append_conflict": 409,
    "body_timeout": 408,
    "config_mismatch": 409,
    "configuration": 500,
    "decision_conflict": 409,
    "draining": 503,
    "forbidden": 403,
    "head_too_large": 431,
    "idempotency_mismatch": 422,
    "illegal_transition": 409,
    "internal_error": 500,
    "invalid": 422,
    "invalid_cursor": 400,
    "invalid_frames": 422,
    "malformed": 400,
    "method_not_allowed": 405,
    "not_found": 404,
    "record_damaged": 500,
    "run_closed": 409,
    "session_busy": 409,
    "session_finalized": 409,
    "SESSION_BUSY": 409,
    "handoff_conflict": 409,
    "stale_token": 409,
    "summary_not_due": 409,
    "session_epoch_required": 428,
    "stale_epoch": 412,
    "store_unavailable": 503,
    "too_large": 413,
    "unauthorized": 401,
    "unknown_agent": 422,
    "unknown_approval": 404,
    "unsupported_media_type": 415,
}


BODIES: Final[dict[str, dict[str, Any]]] = {
    "sessions/{session_id}/runs": {"agent": "plain"},
    "resume": {"client_id": "ada"},
    "memories": {"content": 1},
    "claim": {"by": "ada"},
    "stage": {"token": "t", "result": 1},
    "summary/complete": {"token": "t"},
    "{handoff_id}": {"action": "abandon"},
    "decisions": {"decisions": [{"approval_id": "1.1.a1", "outcome": "deny"}]},
    "output": {"first_seq": 1, "frames": [{"type": "step.start", "step": 1}]},
    "runs/{run_id}/renew": {"worker": "w"},
    "suspend": {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1},
    "fail": {"error": {"type": "t", "message": "m"}},
}
"""What the routes that end like this need to look at the id at all."""
NO_FIELDS: Final[dict[str, Any]] = {}


def family(kind: type[ReattachError]) -> Iterator[type[ReattachError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


OF_THE_SERVER: Final = sorted(
    {kind for kind in family(ReattachError) if kind.__module__ in (errors.__name__, problems.__name__)},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", OF_THE_SERVER, ids=lambda kind: kind.__name__)
def test_every_error_has_its_own_row(kind: type[ReattachError]) -> None:
    """E1: a new class can't slip through as a 500 that nobody chose."""
    assert kind in problems.STATUS
    assert CODES[kind.code] == problems.STATUS[kind]
    assert kind.__doc__
    assert kind.title
    assert kind.remedy


def test_the_codes_are_exactly_these() -> None:
    assert {kind.code: problems.STATUS[kind] for kind in OF_THE_SERVER} == CODES
    assert set(problems.STATUS) == set(OF_THE_SERVER)


def test_a_class_without_a_row_is_an_internal_error() -> None:
    class Fresh(ReattachError):
        code = "fresh"

    assert problems.status_of(Fresh()) == 500


def test_fields_stand_beside_the_standard_members_and_never_replace_them() -> None:
    error = errors.IllegalTransition("No.", status="completed", code="x", type="y", command="cancel")
    document = problems.document(error, {"run_id": "run_1"})
    assert (document["status"], document["code"], document["state"]) == (409, "illegal_transition", "completed")
    assert (document["run_id"], document["command"]) == ("run_1", "cancel")
    assert document["detail"].startswith("No. ")


def test_an_answer_does_not_grow_with_the_question(api: Api) -> None:
    answer = api.post(f"/v1/sessions/{api.session()}/runs", {"agent": "x" * 900_000})
    problem = problem_of(answer, 422, "unknown_agent")
    assert len(answer.content) < 2500
    assert problem["agent"] == "x" * problems.DETAIL_CHARS_MAX


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/runs/",
        "/v1/sessions/",
        "/v1/runs/a/b/c",
        "/healthz/",
        "/healthz%0A",
        "//",
        "/V1/agents",
        "/v1/runs/run_x/events/",
        "/%00",
        "/%ff",
        "/*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_unknown_paths(api: Api, path: str, method: str) -> None:
    """Also what differs by a slash only: nothing is redirected."""
    problem_of(api.http.request(method, f"http://127.0.0.1:{api.port}{path}"), 404, "not_found")


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
def test_a_slash_in_an_id_is_a_part_of_the_id(backend: Backend, api: Api, slash: str) -> None:
    """Every route names the id that it does not know; none is led to another route by it."""
    live = api.session()
    sent = f"{live}{slash}tail"
    for method, path in backend.operations:
        if "{" not in path:
            continue
        kind = path.rpartition("{")[2].partition("_id}")[0]
        asked = path.replace(f"{{{kind}_id}}", sent).replace("{session_id}", live)
        body = next((body for end, body in BODIES.items() if path.endswith(end)), NO_FIELDS)
        answer = api.http.request(method, asked, json=body, headers={"Run-Epoch": "1", "Session-Epoch": "1"})
        if path.endswith("/resume"):
            assert (answer.status_code, answer.json()["code"]) == (201, "INVALID_SESSION_ID")
            assert answer.json()["warning"]["asked"] == f"{live}/tail"
        elif method == "HEAD":
            assert answer.status_code == 404
        else:
            problem = problem_of(answer, 404, "not_found")
            assert problem[f"{kind}_id"] == f"{live}/tail", (method, path)
            assert f"There is no {kind} " in problem["detail"]
    assert api.get(f"/v1/sessions/{live}").json()["status"] == "open"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/sessions", "GET, HEAD, OPTIONS, POST"),
        ("/v1/runs/x", "GET, HEAD, OPTIONS"),
        ("/v1/runs/x/cancel", "OPTIONS, POST"),
        ("/v1/runs/x/events", "GET, OPTIONS"),
        ("/v1/sessions/x/events", "GET, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_methods_that_are_not_there(api: Api, path: str, allowed: str) -> None:
    refused = api.http.request("DELETE", path)
    problem_of(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == allowed
    options = api.http.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/v1/agents", "/v1/runs", "/v1/runs/unknown"])
def test_head_is_get_without_a_body(api: Api, path: str) -> None:
    get, head = api.get(path), api.http.head(path)
    assert head.content == b""
    assert (head.status_code, head.headers["content-length"]) == (get.status_code, get.headers["content-length"])


def test_no_operation_ignores_a_query_parameter(backend: Backend, api: Api) -> None:
    """But for those that health checkers and links add some to."""
    run = api.run()
    for method, path in backend.operations:
        url = path.format(session_id=run["session_id"], run_id=run["run_id"], handoff_id="h1") + "?nonsense=1"
        answer = api.post(url) if method == "POST" else api.http.request(method, url)
        if path in ("/healthz", "/readyz", "/"):
            assert answer.status_code == 200
        elif method == "HEAD":
            assert answer.status_code == 400
        else:
            problem = problem_of(answer, 400, "malformed")
            assert (problem["field"], problem["detail"][:10]) == ("nonsense", "?nonsense ")


def test_a_bug_is_logged_with_its_traceback_and_told_without(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Request) -> ASGIApp:
        raise ZeroDivisionError("a secret of the house")

    (route,) = routes(Door(Tokens(), lambda: False), [Operation("GET", "/v1/x", broken)])
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    request: dict[str, Any] = {"method": "GET", "path": "/v1/x", "query_string": b"", "headers": [], "path_params": {}}

    async def ask() -> None:
        await route.app({"type": "http", **request}, receive, send)

    asyncio.run(ask())
    document = from_json(sent[1]["body"])
    assert (sent[0]["status"], document["code"]) == (500, "internal_error")
    assert "secret" not in str(sent)
    assert "a secret of the house" in caplog.text
