"""S7: a second turn on a busy session is refused, waits its turn, or takes the run's place; and H7, the end."""

from typing import Any

import httpx
import pytest

from reattach.domain.session import QUEUE_MAX, TURNS_QUEUED_MAX

from .serving import Api, Held, problem_of


def ask(api: Api, session_id: str, text: str, on_busy: str = "enqueue", **headers: str) -> httpx.Response:
    return api.start(session_id, {"agent": "plain", "input": text, "on_busy": on_busy}, **headers)


def session_of(api: Api, session_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/v1/sessions/{session_id}").json()
    return found


def claimable(api: Api) -> list[str]:
    """The runs that a worker gets now, all of them."""
    items = api.post("/v1/work/claim", {"worker": "all", "agents": ["plain"], "limit": 100}).json()["items"]
    return [item["run"]["run_id"] for item in items]


def finished(api: Api, run: dict[str, Any], text: str = "done") -> Held:
    held = api.claim(run)
    assert held.output(*held.says(text)).status_code == 200
    assert held.post("complete").status_code == 200
    return held


def replay(api: Api, session_id: str) -> list[tuple[str, str]]:
    """What the session's stream says of beginnings and ends."""
    text = api.get(f"/v1/sessions/{session_id}/events", params={"follow": "false"}).text
    ids = [line.removeprefix("id: ").split(".")[0] for line in text.splitlines() if line.startswith("id: ")]
    types = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    return [(kind, run) for kind, run in zip(types, ids, strict=True) if kind in ("run.created", "run.cancelled")]


def test_reject_is_the_default_and_leaves_nothing(api: Api) -> None:
    run = api.run()
    before = session_of(api, run["session_id"])
    for answer in (api.start(run["session_id"]), ask(api, run["session_id"], "x", "reject")):
        assert problem_of(answer, 409, "session_busy")["run_id"] == run["run_id"]
    assert session_of(api, run["session_id"]) == before
    assert len(api.get("/v1/runs", params={"session_id": run["session_id"]}).json()["items"]) == 1
    problem_of(ask(api, run["session_id"], "x", "later"), 422, "invalid")


def test_enqueued_inputs_run_one_by_one_in_their_order(api: Api) -> None:
    claimable(api)
    first = api.run(input="0")
    session_id = first["session_id"]
    waiting = [ask(api, session_id, f"{n}").json() for n in (1, 2)]
    assert [run["turn"] for run in waiting] == [2, 3]
    assert session_of(api, session_id)["queue"] == [run["run_id"] for run in waiting]
    for run in (first, *waiting):
        others = [other["run_id"] for other in (first, *waiting) if other is not run]
        claimed = claimable_but(api, run)
        assert [taken for taken in others if taken in claimed] == []
    assert session_of(api, session_id)["queue"] == []
    history = api.get(f"/v1/sessions/{session_id}/messages").json()["items"]
    assert [m["parts"][0]["text"] for m in history] == ["0", "done", "1", "done", "2", "done"]


def claimable_but(api: Api, run: dict[str, Any]) -> list[str]:
    """Finish this run; what else could be claimed before."""
    items = api.post("/v1/work/claim", {"worker": "w", "agents": ["plain"], "limit": 100}).json()["items"]
    (mine,) = (item for item in items if item["run"]["run_id"] == run["run_id"])
    held = Held(api, mine)
    held.output(*held.says("done"))
    assert held.post("complete").status_code == 200
    return [item["run"]["run_id"] for item in items if item is not mine]


def test_what_waits_is_in_no_history_and_no_stream_before_its_turn(api: Api) -> None:
    first = api.run(input="now")
    session_id = first["session_id"]
    second = ask(api, session_id, "later").json()
    path = f"/v1/sessions/{session_id}"

    def texts() -> list[list[str]]:
        tail = api.get(f"{path}/tail").json()["messages"]
        history = api.get(f"{path}/messages").json()["items"]
        return [[m["parts"][0]["text"] for m in messages] for messages in (tail, history)]

    assert texts() == [["now"], ["now"]]
    assert replay(api, session_id) == [("run.created", first["run_id"])]
    assert '"run.created"' in api.get(second["events_url"], params={"follow": "false"}).text  # it has a stream already
    finished(api, first)
    assert texts() == [["now", "done", "later"]] * 2
    assert replay(api, session_id) == [("run.created", first["run_id"]), ("run.created", second["run_id"])]


def test_a_queued_run_that_is_cancelled_is_passed_over_visibly(api: Api) -> None:
    """Its turn comes, too, so that the order of turns is that of the stream."""
    first = api.run()
    session_id = first["session_id"]
    second, third = (ask(api, session_id, f"{n}").json() for n in (2, 3))
    assert api.post(f"/v1/runs/{second['run_id']}/cancel").json()["status"] == "cancelled"
    assert replay(api, session_id) == [("run.created", first["run_id"])]
    finished(api, first)
    session = session_of(api, session_id)
    assert (session["active_run_id"], session["turns"], session["queue"]) == (third["run_id"], 3, [])
    runs = [first["run_id"], second["run_id"], second["run_id"], third["run_id"]]
    kinds = ["run.created", "run.created", "run.cancelled", "run.created"]
    assert replay(api, session_id) == list(zip(kinds, runs, strict=True))


@pytest.mark.parametrize("state", ["pending", "running", "waiting"])
def test_interrupt_cancels_the_run_and_goes_on(api: Api, state: str) -> None:
    first = api.run()
    session_id = first["session_id"]
    if state != "pending":
        held = api.claim(first)
        if state == "waiting":
            held.suspend("rm")
    second = ask(api, session_id, "instead", "interrupt")
    assert second.status_code == 202
    assert (api.read(first)["status"], second.json()["turn"]) == ("cancelled", 2)
    session = session_of(api, session_id)
    assert (session["active_run_id"], session["queue"]) == (second.json()["run_id"], [])
    stream = api.get(first["events_url"], params={"follow": "false"}).text
    assert '"reason":"interrupted"' in stream
    finished(api, second.json())


def test_interrupt_loses_no_input_that_was_accepted_before(api: Api) -> None:
    first = api.run()
    session_id = first["session_id"]
    waits = ask(api, session_id, "waits").json()
    last = ask(api, session_id, "interrupts", "interrupt").json()
    assert session_of(api, session_id)["active_run_id"] == waits["run_id"]
    finished(api, waits)
    assert session_of(api, session_id)["active_run_id"] == last["run_id"]


@pytest.mark.parametrize("on_busy", ["enqueue", "interrupt"])
def test_on_a_free_session_it_begins_at_once(api: Api, on_busy: str) -> None:
    run = ask(api, api.session(), "x", on_busy).json()
    assert session_of(api, run["session_id"])["active_run_id"] == run["run_id"]
    finished(api, run)


def test_the_queue_has_a_limit(api: Api) -> None:
    first = api.run()
    session_id = first["session_id"]
    for n in range(QUEUE_MAX):
        assert ask(api, session_id, f"{n}").status_code == 202
    full = problem_of(ask(api, session_id, "one more"), 409, "session_busy")
    assert full["limit"] == QUEUE_MAX
    assert len(session_of(api, session_id)["queue"]) == QUEUE_MAX
    # an interrupt makes room by what it cancels, or not: it must not cancel and then be refused
    answer = ask(api, session_id, "and now", "interrupt")
    assert (answer.status_code, api.read(first)["status"]) in ((202, "cancelled"), (409, "pending"))


def test_what_was_cancelled_waits_no_more_and_makes_room(api: Api) -> None:
    first = api.run()
    session_id = first["session_id"]
    waiting = [ask(api, session_id, f"{n}").json()["run_id"] for n in range(QUEUE_MAX)]
    gone = waiting[1]
    problem_of(ask(api, session_id, "one more"), 409, "session_busy")
    for _ in range(2):
        api.post(f"/v1/runs/{gone}/cancel")
        assert session_of(api, session_id)["queue"] == [run_id for run_id in waiting if run_id != gone]
    more = ask(api, session_id, "one more")
    assert more.status_code == 202
    told = [waiting[0], *waiting[2:], more.json()["run_id"]]
    assert api.get(f"/v1/sessions/{session_id}/tail").json()["session"]["queue"] == told
    assert problem_of(ask(api, session_id, "too many"), 409, "session_busy")["limit"] == QUEUE_MAX
    finished(api, first)
    finished(api, {"run_id": waiting[0]})
    session = session_of(api, session_id)
    assert (session["active_run_id"], session["turns"], session["queue"]) == (waiting[2], 4, told[2:])


def test_the_turns_ahead_are_bounded_also_if_they_are_cancelled(api: Api) -> None:
    first = api.run()
    session_id = first["session_id"]
    for n in range(TURNS_QUEUED_MAX):
        api.post(f"/v1/runs/{ask(api, session_id, f'{n}').json()['run_id']}/cancel")
    full = problem_of(ask(api, session_id, "one more"), 409, "session_busy")
    assert (full["limit"], "cancelled" in full["detail"]) == (TURNS_QUEUED_MAX, True)
    for method, path in (("POST", f"/v1/sessions/{session_id}/finalize"), ("DELETE", f"/v1/sessions/{session_id}")):
        assert problem_of(api.http.request(method, path), 409, "session_busy")["run_id"] == first["run_id"]
    finished(api, first)
    session = session_of(api, session_id)
    assert (session["active_run_id"], session["turns"], session["queue"]) == (None, 1 + TURNS_QUEUED_MAX, [])
    assert api.post(f"/v1/sessions/{session_id}/finalize").status_code == 200


def test_the_same_key_enqueues_once(api: Api) -> None:
    run = api.run()
    answers = [ask(api, run["session_id"], "x", Idempotency_Key=f"q-{run['run_id']}") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(session_of(api, run["session_id"])["queue"]) == 1


# H7: the end is enforced where it is written.


def test_a_finalized_session_takes_nothing_more(api: Api) -> None:
    session_id = api.session()
    path = f"/v1/sessions/{session_id}"
    api.post(f"{path}/memories", {"content": 1})
    done = api.post(f"{path}/finalize")
    assert (done.status_code, done.json()["status"]) == (200, "finalized")
    assert api.post(f"{path}/finalize").json() == done.json()
    for answer in (
        api.start(session_id),
        ask(api, session_id, "x"),
        ask(api, session_id, "x", "interrupt"),
        api.post(f"{path}/memories", {"content": 2}),
    ):
        assert problem_of(answer, 409, "session_finalized")["session_id"] == session_id
    problem_of(api.post(f"{path}/handoffs"), 409, "illegal_transition")
    assert api.get(f"{path}/memories").json()["items"][-1]["content"] == 1
    assert api.get(f"{path}/tail").status_code == 200


def test_a_session_may_be_finalized_while_its_last_run_goes_on(api: Api) -> None:
    run = api.run()
    session_id = run["session_id"]
    held = api.claim(run)
    assert api.post(f"/v1/sessions/{session_id}/finalize").status_code == 200
    for on_busy in ("reject", "enqueue", "interrupt"):  # no waiting helps
        problem_of(ask(api, session_id, "x", on_busy), 409, "session_finalized")
    assert api.read(run)["status"] == "running"  # what was refused has cancelled nothing
    assert held.output(*held.says("last")).status_code == 200
    assert held.post("complete").status_code == 200
    session = session_of(api, session_id)
    assert (session["status"], session["active_run_id"]) == ("finalized", None)


def test_inputs_that_wait_must_be_done_before_the_end(api: Api) -> None:
    first = api.run()
    session_id = first["session_id"]
    second = ask(api, session_id, "x").json()
    path = f"/v1/sessions/{session_id}"
    assert problem_of(api.post(f"{path}/finalize"), 409, "session_busy")["run_id"] == second["run_id"]
    problem_of(api.http.delete(path), 409, "session_busy")
    finished(api, first)
    finished(api, second)
    assert api.post(f"{path}/finalize").status_code == 200


def test_a_deleted_session_is_gone_for_everybody(api: Api) -> None:
    run = api.run()
    session_id = run["session_id"]
    path = f"/v1/sessions/{session_id}"
    problem_of(api.http.delete(path), 409, "session_busy")
    finished(api, run)
    assert api.http.delete(path).status_code == 204
    for answer in (
        api.get(path),
        api.get(f"{path}/tail"),
        api.get(f"{path}/messages"),
        api.get(f"{path}/memories"),
        api.get(f"{path}/events", params={"follow": "false"}),
        api.start(session_id),
        api.post(f"{path}/memories", {"content": 1}),
        api.post(f"{path}/finalize"),
        api.http.delete(path),
        api.post(f"{path}/summary/claim", {"by": "s"}),
        api.get(f"/v1/runs/{run['run_id']}"),
        api.get(f"/v1/runs/{run['run_id']}/events"),
        api.post(f"/v1/runs/{run['run_id']}/cancel"),
    ):
        problem_of(answer, 404, "not_found")
    listed = api.get("/v1/sessions", params={"limit": "100"}).json()["items"]
    assert session_id not in [session["session_id"] for session in listed]
    assert api.get("/v1/runs", params={"session_id": session_id}).json()["items"] == []
    problem_of(api.get("/v1/sessions", params={"cursor": session_id}), 400, "invalid_cursor")
