"""The resume tail over HTTP (T1-T9): one bounded answer, and its cursor goes on exactly where it ends."""

import json
from typing import Any

import pytest

from reattach.domain.errors import StoreUnavailable
from reattach.domain.identifiers import SessionId
from reattach.domain.snapshot import Snapshot

from .serving import Api, Backend, Held, problem_of
from .test_queue import ask

Tail = dict[str, Any]


def tail(api: Api, session_id: str, **query: str) -> Tail:
    answer = api.get(f"/v1/sessions/{session_id}/tail", params=query)
    assert answer.status_code == 200, answer.text
    found: Tail = answer.json()
    return found


def stream(api: Api, session_id: str, cursor: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Ids and frames after the cursor."""
    headers = {"Last-Event-ID": cursor} if cursor is not None else {}
    text = api.get(f"/v1/sessions/{session_id}/events", params={"follow": "false"}, headers=headers).text
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return [(block["id"], json.loads(block["data"])) for block in blocks]


def folded(frames: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The messages of these frames by id, run after run."""
    found: dict[str, dict[str, Any]] = {}
    run = Snapshot.empty()
    for frame in frames:
        if frame["type"] == "run.created":
            run = Snapshot.empty()
        run.apply(frame)
        found |= {message["message_id"]: message for message in run.messages.as_json()}
    return found


def check_whole(api: Api, session_id: str) -> None:
    """T1: tail + stream(cursor) is the whole: the same messages in the same order, none lost, none changed."""
    whole = [frame for _, frame in stream(api, session_id)]
    full = folded(whole)
    for limit in ("1", "2", "100"):
        shown = tail(api, session_id, limit=limit)
        rest = [frame for _, frame in stream(api, session_id, shown["cursor"])]
        joined = {message["message_id"]: message for message in shown["messages"]} | folded(rest)
        assert list(joined) == list(full)[-len(joined) :]
        assert joined == {name: full[name] for name in joined}
        assert limit != "100" or joined == full
        prompts = [m["message_id"] for m in shown["messages"] if m["role"] == "user"]
        assert len(prompts) == len(set(prompts))
        if shown["active_run"] is None:
            assert (rest, shown["status"], shown["pending_approvals"]) == ([], "idle", [])
            continue
        run = api.read(shown["active_run"])
        assert rest == whole[-len(rest) :]
        assert (rest[0]["type"], rest[0]["run_id"]) == ("run.created", run["run_id"])
        assert rest[0]["message_id"] == shown["messages"][-1]["message_id"] == shown["active_run"]["message_id"]
        assert (shown["status"], shown["pending_approvals"]) == (run["status"], run["pending_approvals"])


def test_tail_and_stream_are_the_whole_after_every_commit(api: Api) -> None:
    """T1, T7 with several turns, an approval, a release (reset), cancels and a queue."""
    session_id = api.session()
    check_whole(api, session_id)

    def step(work: Any, *statuses: int) -> Any:
        answer = work()
        assert answer.status_code in (statuses or (200, 202)), answer.text
        check_whole(api, session_id)
        return answer.json()

    first = step(lambda: ask(api, session_id, "same text"))
    queued = [step(lambda: ask(api, session_id, "same text")) for _ in range(2)]
    held = api.claim(first)
    check_whole(api, session_id)
    say = held.says("I call")
    call = {"part": held.part(2), "tool_call_id": "c-rm", "name": "rm"}
    calling = [
        *say[:4],
        {"type": "tool.call.start", **call},
        {"type": "tool.call.ready", **call, "arguments": {"for": "rm"}},
    ]
    seq = held.assignment["next_seq"]
    for n, frame in enumerate(calling):
        step(lambda frame=frame, n=n: held.output(frame, first_seq=seq + n))
    (approval_id,) = held.suspend("rm")
    check_whole(api, session_id)
    assert [a["approval_id"] for a in tail(api, session_id)["pending_approvals"]] == [approval_id]
    step(lambda: api.decide(first["run_id"], {"approval_id": approval_id, "outcome": "approve"}))
    held = api.claim(first)
    seq = held.assignment["next_seq"]
    message = {"message_id": held.message(2), "role": "assistant"}
    for n, frame in enumerate(
        [{"type": "message.start", **message}, {"type": "tool.result", "tool_call_id": "c-rm", "output": 1}]
    ):
        step(lambda frame=frame, n=n: held.output(frame, first_seq=seq + n))
    step(lambda: held.post("release"))  # what it said since the checkpoint is void
    held = api.claim(first)
    check_whole(api, session_id)
    step(lambda: held.post("fail", {"error": {"type": "llm_error", "message": "no", "retryable": False}}))
    step(lambda: api.post(f"/v1/runs/{queued[1]['run_id']}/cancel"))
    step(lambda: ask(api, session_id, "instead", "interrupt"))
    last = api.claim(tail(api, session_id)["active_run"])
    step(lambda: last.output(*last.says("done")))
    step(lambda: last.post("complete"))
    prompts = [m["parts"][0]["text"] for m in tail(api, session_id)["messages"] if m["role"] == "user"]
    assert prompts == ["same text"] * 3 + ["instead"]


def test_an_empty_session_has_a_cursor(api: Api) -> None:
    session_id = api.session()
    shown = tail(api, session_id)
    assert (shown["messages"], shown["status"], shown["active_run"]) == ([], "idle", None)
    run = api.run(session_id)
    frames = [frame for _, frame in stream(api, session_id, shown["cursor"])]
    assert [(frame["type"], frame["run_id"]) for frame in frames] == [("run.created", run["run_id"])]
    foreign = api.get(
        f"/v1/sessions/{api.session()}/events", params={"follow": "false"}, headers={"Last-Event-ID": shown["cursor"]}
    )
    assert '"reason":"foreign"' in foreign.text
    restored = {"Last-Event-ID": f"{session_id}.9.0.0"}
    reset = api.get(f"/v1/sessions/{session_id}/events", params={"follow": "false"}, headers=restored)
    assert '"reason":"generation"' in reset.text
    problem_of(api.get(f"/v1/runs/{run['run_id']}/events", params={"after": "ses_x.1.0.0"}), 400, "invalid_cursor")


def test_an_idle_tails_cursor_is_the_last_terminal_frame(api: Api) -> None:
    run = api.run()
    shown = tail(api, run["session_id"])
    assert shown["cursor"].rpartition(".")[2] == "0"
    held = api.claim(run)
    held.output(*held.says("x"))
    held.post("complete")
    shown = tail(api, run["session_id"])
    assert shown["cursor"] == stream(api, run["session_id"])[-1][0]
    assert api.get(f"/v1/runs/{run['run_id']}/events", headers={"Last-Event-ID": shown["cursor"]}).status_code == 204


def test_two_calls_in_one_message_of_which_one_is_answered(api: Api) -> None:
    """T2, T3: exactly the open one is pending, also where the tail's cut would fall inside that message."""
    run = api.run()
    held = api.claim(run)
    first, second = held.suspend("a", "b")
    api.decide(run["run_id"], {"approval_id": first, "outcome": "approve"})
    for limit in ("1", "20"):
        shown = tail(api, run["session_id"], limit=limit)
        assert [a["approval_id"] for a in shown["pending_approvals"]] == [second]
        assert (shown["status"], shown["active_run"]["pending_approvals"]) == (
            "waiting_for_approval",
            shown["pending_approvals"],
        )
    api.decide(run["run_id"], {"approval_id": second, "outcome": "deny"})
    shown = tail(api, run["session_id"])
    assert (shown["pending_approvals"], shown["status"]) == ([], "pending")


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"cursor": "x"}, {"after": "x"}])
def test_a_wrong_query_is_refused(api: Api, query: dict[str, str]) -> None:
    refused = problem_of(api.get(f"/v1/sessions/{api.session()}/tail", params=query), 400, "malformed")
    assert "limit" in query or "is not known here; limit is." in refused["detail"]
    problem_of(api.get(f"/v1/sessions/ses_{'0' * 26}/tail"), 404, "not_found")
    problem_of(api.get("/v1/sessions/nope/tail"), 404, "not_found")


def test_a_store_that_fails_is_never_nothing_pending(
    backend: Backend, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T6: whichever of the reads fails."""
    run = api.run()
    api.claim(run).suspend("rm")
    store = backend.application.store

    async def fails(*_: object) -> None:
        raise StoreUnavailable

    for name in ("tail", "session_view"):
        with monkeypatch.context() as broken:
            broken.setattr(store, name, fails)
            problem_of(api.get(f"/v1/sessions/{run['session_id']}/tail"), 503, "store_unavailable")
    assert len(tail(api, run["session_id"])["pending_approvals"]) == 1


def test_ids_are_the_same_everywhere(backend: Backend, api: Api) -> None:
    """T8"""
    run = api.run()
    session_id = run["session_id"]
    held = api.claim(run)
    held.output(*held.says("x"))
    live = list(folded([frame for _, frame in stream(api, session_id)]))
    held.post("complete")
    names = [f"{session_id}:{run['run_id']}:{n}" for n in (0, 1)]
    assert live == names
    assert [m["message_id"] for m in tail(api, session_id)["messages"]] == names
    assert [m["message_id"] for m in api.get(f"/v1/sessions/{session_id}/messages").json()["items"]] == names
    stored = backend.call(backend.application.store.tail(SessionId(session_id), 9))
    assert stored is not None
    assert [fields["message_id"] for _, fields, _ in stored.messages] == names


def test_history_pages_both_ways_while_turns_land(api: Api) -> None:
    session_id = api.session()

    def turn(n: int) -> Held:
        held = api.claim(api.run(session_id, input=f"q{n}"))
        held.output(*held.says(f"a{n}"))
        held.post("complete")
        return held

    for n in range(3):
        turn(n)
    path = f"/v1/sessions/{session_id}/messages"
    newest = api.get(path, params={"limit": "2"}).json()
    turn(3)
    older = api.get(path, params={"limit": "2", "before": newest["next_cursor"]}).json()
    texts = [[m["parts"][0]["text"] for m in page["items"]] for page in (older, newest)]
    assert texts == [["q1", "a1"], ["q2", "a2"]]
    newer = api.get(path, params={"limit": "1", "after": newest["items"][-1]["message_id"]}).json()
    assert [m["parts"][0]["text"] for m in newer["items"]] == ["q3"]
    last = api.get(path, params={"limit": "1", "after": newer["next_cursor"]}).json()
    assert ([m["parts"][0]["text"] for m in last["items"]], last["next_cursor"]) == (["a3"], None)
    end = api.get(path, params={"after": last["items"][-1]["message_id"]}).json()
    assert end == {"items": [], "next_cursor": None}
    problem_of(api.get(path, params={"after": "x", "before": "y"}), 400, "malformed")
