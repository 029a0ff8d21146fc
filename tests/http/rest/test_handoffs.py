"""Handoffs and summaries over HTTP: answers, refusals, and that the same id again is the same handoff."""

from typing import Any

import httpx
import pytest

from .serving import Api, problem_of
from .test_ownership import owned, remember, resume


def move(api: Api, session_id: str, action: str, handoff_id: str = "h", **headers: str) -> httpx.Response:
    return api.post(f"/v1/sessions/{session_id}/handoffs/{handoff_id}", {"action": action}, **headers)


def request(api: Api, session_id: str, handoff_id: str | None = "h", **fields: Any) -> httpx.Response:
    body = {**fields, **({"handoff_id": handoff_id} if handoff_id else {})}
    return api.post(f"/v1/sessions/{session_id}/handoffs", body)


def test_an_idempotency_key_finds_the_handoff_again(api: Api) -> None:
    """A lost answer is no conflict."""
    session_id, _ = owned(api)
    path = f"/v1/sessions/{session_id}"
    first = api.post(f"{path}/handoffs", {}, Idempotency_Key="k1")
    again = api.post(f"{path}/handoffs", {}, Idempotency_Key="k1")
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    problem_of(api.post(f"{path}/handoffs", {"timeout_s": 9}, Idempotency_Key="k1"), 422, "idempotency_mismatch")
    problem_of(api.post(f"{path}/memories", {"content": 1}, Idempotency_Key="k1"), 422, "idempotency_mismatch")
    problem_of(api.post(f"{path}/handoffs", {}, Idempotency_Key="k2"), 409, "handoff_conflict")
    abandoned = move(api, session_id, "abandon", first.json()["handoff_id"])
    assert (abandoned.status_code, abandoned.json()["status"]) == (200, "abandoned")
    assert api.post(f"{path}/handoffs", {}, Idempotency_Key="k1").json() == abandoned.json()


def test_ready_may_be_said_again_after_the_target_has_come(api: Api) -> None:
    session_id, epoch = owned(api)
    request(api, session_id)
    assert move(api, session_id, "ready", Session_Epoch=epoch).json()["status"] == "ready"
    assert resume(api, session_id, "bob", handoff_id="h").status_code == 200
    again = move(api, session_id, "ready", Session_Epoch=epoch)
    assert (again.status_code, again.json()["status"]) == (200, "completed")


def test_ready_may_be_said_again_by_a_source_that_restarted(api: Api) -> None:
    """Each time it comes back it has another epoch; all of them are its own, until the target has come."""
    session_id, first = owned(api)
    request(api, session_id)
    second = str(resume(api, session_id, "ada").json()["epoch"])
    assert move(api, session_id, "ready", Session_Epoch=second).json()["status"] == "ready"
    third = str(resume(api, session_id, "ada").json()["epoch"])
    assert move(api, session_id, "ready", Session_Epoch=third).json()["status"] == "ready"
    fourth = str(resume(api, session_id, "bob", handoff_id="h").json()["epoch"])
    for epoch in (first, second, third):
        again = move(api, session_id, "ready", Session_Epoch=epoch)
        assert (again.status_code, again.json()["status"]) == (200, "completed")
    problem_of(move(api, session_id, "ready", Session_Epoch=fourth), 409, "handoff_conflict")
    problem_of(move(api, session_id, "ready", Session_Epoch="9"), 412, "stale_epoch")


@pytest.mark.parametrize("name", [".", "..", "-", "~x"])
def test_a_handoff_is_not_named_like_a_step_of_a_path(api: Api, name: str) -> None:
    session_id, _ = owned(api)
    assert problem_of(request(api, session_id, name), 422, "invalid")["field"] == "handoff_id"


def test_an_interrupt_does_not_cut_short_what_a_handoff_waits_for(api: Api) -> None:
    session_id, epoch = owned(api)
    run = api.start(session_id, Session_Epoch=epoch).json()
    request(api, session_id)
    body = {"agent": "plain", "on_busy": "interrupt"}
    assert api.post(f"/v1/sessions/{session_id}/runs", body, Session_Epoch=epoch).status_code == 202
    assert api.read(run)["status"] == "pending"


def test_a_resume_that_is_repeated_after_the_end_finds_nothing(api: Api) -> None:
    session_id = api.session()
    path, body = f"/v1/sessions/{session_id}", {"client_id": "ada"}
    epoch = api.post(f"{path}/resume", body, Idempotency_Key="r1").json()["epoch"]
    assert api.http.delete(path, headers={"Session-Epoch": str(epoch)}).status_code == 204
    problem_of(api.post(f"{path}/resume", body, Idempotency_Key="r1"), 404, "not_found")


def test_a_handoff_from_end_to_end(api: Api) -> None:
    session_id, epoch = owned(api)
    asked = request(api, session_id)
    handoff = asked.json()
    assert asked.status_code == 201
    assert (handoff["handoff_id"], handoff["status"], handoff["source"], handoff["session_id"]) == (
        "h",
        "requested",
        "ada",
        session_id,
    )
    assert (handoff["drained"], handoff["expires_at"][-1]) == (True, "Z")
    again = request(api, session_id)
    assert (again.status_code, again.json()) == (200, handoff)
    assert api.get(f"/v1/sessions/{session_id}/handoffs/h").json() == handoff
    assert api.get(f"/v1/sessions/{session_id}").json()["handoff"] == handoff
    early = problem_of(resume(api, session_id, "bob", handoff_id="h"), 409, "handoff_conflict")
    assert (early["handoff_id"], early["state"]) == ("h", "requested")
    problem_of(move(api, session_id, "ready"), 428, "session_epoch_required")
    problem_of(move(api, session_id, "ready", Session_Epoch="9"), 412, "stale_epoch")
    ready = move(api, session_id, "ready", Session_Epoch=epoch)
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    taken = resume(api, session_id, "bob", handoff_id="h")
    assert (taken.status_code, taken.json()["epoch"]) == (200, 2)
    assert resume(api, session_id, "bob", handoff_id="h").json()["epoch"] == 2
    done = api.get(f"/v1/sessions/{session_id}/handoffs/h").json()
    assert (done["status"], done["target"], done["epoch_after"], done["drained"]) == ("completed", "bob", 2, False)
    problem_of(remember(api, session_id, 1, Session_Epoch=epoch), 412, "stale_epoch")
    assert move(api, session_id, "abandon").json() == done


def test_a_busy_source_is_not_ready(api: Api) -> None:
    session_id, epoch = owned(api)
    run = api.start(session_id, Session_Epoch=epoch).json()
    assert request(api, session_id).json()["drained"] is False
    refused = problem_of(move(api, session_id, "ready", Session_Epoch=epoch), 409, "handoff_conflict")
    assert refused["run_id"] == run["run_id"]
    api.post(f"/v1/runs/{run['run_id']}/cancel")
    busy = problem_of(api.start(session_id, Session_Epoch=epoch), 409, "session_busy")
    assert busy["handoff_id"] == "h"
    assert move(api, session_id, "ready", Session_Epoch=epoch).status_code == 200


def test_a_handoff_can_be_called_off_by_anybody_once(api: Api) -> None:
    session_id, epoch = owned(api)
    request(api, session_id)
    called_off = move(api, session_id, "abandon")
    assert (called_off.json()["status"], called_off.json()["reason"]) == ("abandoned", "abandoned")
    assert move(api, session_id, "abandon").json() == called_off.json()
    problem_of(move(api, session_id, "ready", Session_Epoch=epoch), 409, "handoff_conflict")
    assert remember(api, session_id, 1, Session_Epoch=epoch).status_code == 201


@pytest.mark.parametrize(
    "body",
    [{"handoff_id": h} for h in ("", "a b", "x" * 81, "a/b", 5)]
    + [{"timeout_s": t} for t in (0, -1, 86_401, "5", True)]
    + [{"more": 1}],
)
def test_a_wrong_request_begins_nothing(api: Api, body: Any) -> None:
    session_id, _ = owned(api)
    problem_of(api.post(f"/v1/sessions/{session_id}/handoffs", body), 422, "invalid")
    assert api.get(f"/v1/sessions/{session_id}").json()["handoff"] is None


def test_what_is_not_there_is_unknown(api: Api) -> None:
    session_id, epoch = owned(api)
    for answer in (
        api.get(f"/v1/sessions/{session_id}/handoffs/h"),
        move(api, session_id, "ready", Session_Epoch=epoch),
        move(api, session_id, "abandon"),
        resume(api, session_id, "bob", handoff_id="h"),
    ):
        problem_of(answer, 404, "not_found")
    problem_of(move(api, session_id, "other"), 422, "invalid")
    named = request(api, session_id, None).json()["handoff_id"]
    assert api.get(f"/v1/sessions/{session_id}/handoffs/{named}").status_code == 200
    problem_of(request(api, session_id), 409, "handoff_conflict")


def test_nobody_hands_over_what_nobody_owns(api: Api) -> None:
    problem_of(request(api, api.session()), 409, "handoff_conflict")


def test_a_summary_is_claimed_when_it_is_due(api: Api) -> None:
    session_id = api.session()
    path = f"/v1/sessions/{session_id}/summary"
    problem_of(api.post(f"{path}/claim", {"by": "s"}), 409, "summary_not_due")
    remember(api, session_id, 1)
    refused = problem_of(api.post(f"{path}/claim", {"by": "s"}), 409, "summary_not_due")
    assert refused["due_at"].endswith("Z")
    for verb, body in (("stage", {"token": "t", "result": 1}), ("complete", {"token": "t"})):
        problem_of(api.post(f"{path}/{verb}", body), 409, "stale_token")
        problem_of(api.post(f"{path}/{verb}", {}), 422, "invalid")
    problem_of(api.post(f"{path}/claim", {"by": ""}), 422, "invalid")
    problem_of(api.post(f"{path}/stage", {"token": "t", "result": "x" * 32_768}), 413, "too_large")
