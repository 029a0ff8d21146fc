"""Sessions over HTTP: created, listed and read; their history; and what they say about a run that is active."""

from datetime import datetime

import pytest

from reattach.domain.identifiers import RunId
from reattach.domain.ports import RunView

from .serving import Api, Backend, problem_of


def test_a_session_is_created_and_read(api: Api) -> None:
    created = api.post("/v1/sessions", {"metadata": {"topic": "cats", "nested": {"n": [1, None, "é\u0000"]}}})
    session = created.json()
    assert created.status_code == 201
    assert created.headers["location"] == f"/v1/sessions/{session['session_id']}"
    assert created.headers["cache-control"] == "no-store"
    assert {name: session[name] for name in ("status", "owner", "epoch", "active_run_id")} == {
        "status": "open",
        "owner": None,
        "epoch": 0,
        "active_run_id": None,
    }
    assert session["metadata"] == {"topic": "cats", "nested": {"n": [1, None, "é\u0000"]}}
    assert session["created_at"].endswith("Z")
    assert datetime.fromisoformat(session["created_at"]).utcoffset() is not None
    assert api.get(created.headers["location"]).json() == {**session, "active_run": None}


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_session_needs_no_metadata(api: Api, body: bytes) -> None:
    created = api.http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert created.json()["metadata"] == {}


def test_metadata_has_a_limit(api: Api) -> None:
    fits = {"m": "x" * (16_384 - len('{"m":""}'))}
    assert api.post("/v1/sessions", {"metadata": fits}).status_code == 201
    refused = problem_of(api.post("/v1/sessions", {"metadata": {"m": fits["m"] + "x"}}), 413, "too_large")
    assert refused["limit"] == 16_384


def test_status_tells_run_and_prompt_while_there_is_one(api: Api) -> None:
    """T9: running, waiting, idle and unknown are four different answers."""
    session_id = api.session()
    path = f"/v1/sessions/{session_id}"
    idle = api.get(path)
    assert (idle.status_code, idle.json()["active_run_id"], idle.json()["active_run"]) == (200, None, None)

    run = api.run(session_id, input="what is up?")
    pending = api.get(path).json()
    assert pending["active_run_id"] == pending["active_run"]["run_id"] == run["run_id"]
    assert (pending["active_run"]["status"], pending["active_run"]["prompt"]) == ("pending", "what is up?")
    assert pending["active_run"]["message_id"] == f"{session_id}:{run['run_id']}:0"

    held = api.claim(run)
    assert api.get(path).json()["active_run"]["status"] == "running"
    approvals = held.suspend("shell")
    waiting = api.get(path).json()["active_run"]
    assert (waiting["status"], waiting["prompt"]) == ("waiting_for_approval", "what is up?")
    assert [approval["approval_id"] for approval in waiting["pending_approvals"]] == approvals

    api.post(f"/v1/runs/{run['run_id']}/cancel")
    done = api.get(path)
    assert (done.status_code, done.json()["active_run_id"], done.json()["active_run"]) == (200, None, None)
    assert api.read(run)["status"] == "cancelled"
    problem_of(api.get(f"/v1/sessions/ses_{'0' * 26}"), 404, "not_found")


def test_a_run_that_ends_while_its_session_is_read(backend: Backend, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """C16, T9: session and run are two reads; what lies between them shows in both or in neither."""
    run = api.run()
    application, read = backend.application, backend.application.store.run_view

    async def late(run_id: RunId) -> RunView | None:
        await application.cancel("default", run_id, "between", "test")
        return await read(run_id)

    monkeypatch.setattr(application.store, "run_view", late)
    session = api.get(f"/v1/sessions/{run['session_id']}").json()
    assert (session["active_run_id"], session["active_run"]) == (None, None)


def test_history_comes_in_pages(api: Api) -> None:
    session_id = api.session()
    for turn in (1, 2, 3):
        held = api.claim(api.run(session_id, input=f"question {turn}"))
        assert held.output(*held.says(f"answer {turn}")).status_code == 200
        assert held.post("complete").status_code == 200
    path = f"/v1/sessions/{session_id}/messages"
    whole = api.get(path).json()
    texts = [message["parts"][0]["text"] for message in whole["items"]]
    assert texts == [f"{role} {turn}" for turn in (1, 2, 3) for role in ("question", "answer")]
    assert [message["role"] for message in whole["items"]] == ["user", "assistant"] * 3
    assert whole["next_cursor"] is None

    pages: list[list[dict[str, object]]] = []
    before: dict[str, str] = {}
    while True:
        page = api.get(path, params={"limit": "4", **before}).json()
        pages.insert(0, page["items"])
        if page["next_cursor"] is None:
            break
        before = {"before": page["next_cursor"]}
    assert [len(page) for page in pages] == [2, 4]
    assert [message for page in pages for message in page] == whole["items"]


def test_history_ends_exactly_where_a_page_does(api: Api) -> None:
    session_id = api.session()
    held = api.claim(api.run(session_id))
    held.output(*held.says("answer"))
    held.post("complete")
    page = api.get(f"/v1/sessions/{session_id}/messages", params={"limit": "2"}).json()
    assert (len(page["items"]), page["next_cursor"]) == (2, None)


def test_a_place_in_another_history_is_no_place_here(api: Api) -> None:
    run = api.run()
    other = api.session()
    path = f"/v1/sessions/{other}/messages"
    assert api.get(path).json() == {"items": [], "next_cursor": None}
    for before in (
        f"{run['session_id']}:{run['run_id']}:0",
        f"{other}:{run['run_id']}:0",
        f"{other}:{run['run_id']}:x",
        f"{other}:run_{'0' * 26}:1",
        run["run_id"],
        "1",
    ):
        problem_of(api.get(path, params={"before": before}), 400, "invalid_cursor")


def test_history_is_shown_as_the_run_was_configured(api: Api) -> None:
    """C19: the kinds that the stream hides are hidden here too."""
    session_id = api.session()
    config = {"kinds": ["text", "tool"], "tool_output": "omit"}
    run = api.run(session_id, request_config=config)
    held = api.claim(run)
    say = held.says("spoken", part=2)
    thought = [
        {"type": "reasoning.start", "part": held.part(1), "message_id": held.message(1)},
        {"type": "reasoning.delta", "part": held.part(1), "text": "thought"},
        {"type": "reasoning.end", "part": held.part(1)},
    ]
    call = {"part": held.part(3), "tool_call_id": "c1", "name": "look"}
    tool = [
        {"type": "tool.call.start", **call},
        {"type": "tool.call.ready", **call, "arguments": {"q": 1}},
        {"type": "tool.result", "tool_call_id": "c1", "output": "secret"},
    ]
    assert held.output(say[0], *thought, *say[1:4], *tool, say[4]).status_code == 200
    held.post("complete")
    assert api.read(run)["request_config"] == config
    answer = api.get(f"/v1/sessions/{session_id}/messages").json()["items"][1]
    assert [part["kind"] for part in answer["parts"]] == ["text", "tool", "tool_result"]
    assert answer["parts"][2]["output"] is None
    assert "secret" not in str(answer)
