"""`tail`, and `follow SESSION` which starts from it: what there is to show, once, and how to go on."""

import re
import shlex

import pytest

from ..system.server import ROOT, Server
from .command import CommandLine, script

SEND = {"approvals": [{"tool": "send", "arguments": {"to": "ann"}, "result": "sent"}]}


def one_turn_and_one_that_waits(server: Server) -> tuple[str, str]:
    """A session whose second run waits for an approval, and that run."""
    session = server.session()
    server.frames(server.run({"text": "Hello"}, session=session)["run_id"])
    run_id: str = server.run(SEND, {"text": "Bye"}, session=session)["run_id"]
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(block for block in events if block.event == "run.suspended")
    return session, run_id


def words(line: str) -> list[str]:
    """The arguments of a command that was printed to be copied."""
    return shlex.split(line.partition("reattach ")[2])


def test_people_see_what_was_said_and_what_waits(reattach: CommandLine, server: Server) -> None:
    session, run_id = one_turn_and_one_that_waits(server)
    done = reattach("tail", session)
    assert (done.code, done.out) == (0, "Hello\n")
    assert done.err.count("> go") == 2
    approve = next(line for line in done.err.splitlines() if "reattach approve" in line)
    assert f"{session} · open · 2 turns · {run_id} is waiting_for_approval" in done.err
    follow = next(line for line in done.err.splitlines() if line.startswith("Follow it"))
    assert reattach(*words(approve)).code == 0
    server.frames(run_id)
    running = reattach.start(*words(follow))
    running.until("✓ completed")
    running.interrupt()
    assert running.end().out == "Bye\n"
    assert "idle" in reattach("tail", session).err


def test_a_script_reads_what_the_server_says(reattach: CommandLine, server: Server) -> None:
    session, _ = one_turn_and_one_that_waits(server)
    done = reattach("tail", session, "--json", "--limit", "1")
    assert (done.code, done.err) == (0, "")
    assert done.json == [server.get(f"/v1/sessions/{session}/tail?limit=1").json()]


def test_the_example_of_the_page(reattach: CommandLine, server: Server) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```console\n\$ reattach tail \$SESSION\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    session, run_id = one_turn_and_one_that_waits(server)
    done = reattach("tail", session)
    err = re.sub(r"\S+ -m reattach|/\S+/reattach", "reattach", done.err).replace(f" --url {server.url}", "")
    err = err.replace(session, "$SESSION").replace(run_id, "$RUN").replace("> go\n", "> go\nHello\n", 1)
    assert re.sub(r"until \S+ \S+ UTC", "until", err) == re.sub(r"until \S+ \S+ UTC", "until", example)


def test_who_owns_it_and_what_waits_for_its_turn(reattach: CommandLine, server: Server) -> None:
    asked = server.post("/v1/sessions/none/resume", {"client_id": "lap\ntop\u202e"}).json()
    session, epoch = asked["session_id"], {"Session-Epoch": str(asked["epoch"])}
    body = {"agent": "script", "input": {"prompt": "first", "steps": [{"wait_ms": 600_000}]}}
    server.post(f"/v1/sessions/{session}/runs", body, **epoch)
    queued = server.post(f"/v1/sessions/{session}/runs", body | {"on_busy": "enqueue"}, **epoch).json()
    done = reattach("tail", session)
    assert "Owner: lap top\ufffd, with a lease to 20" in done.err
    assert f"1 more wait for their turn: {queued['run_id']}" in done.err
    assert "this is a new, empty session" in done.err


def test_a_follower_sees_every_prompt_once(reattach: CommandLine, server: Server) -> None:
    """One that came in the middle of a turn, with an input behind it in the queue."""
    session, run_id = one_turn_and_one_that_waits(server)
    body = {"agent": "script", "on_busy": "enqueue", "input": {"prompt": "third", "steps": [{"text": "End"}]}}
    server.post(f"/v1/sessions/{session}/runs", body)
    running = reattach.start("follow", session)
    running.until("reattach deny")
    assert reattach("approve", run_id).code == 0
    running.until("turn 3")
    running.until("✓ completed")
    running.interrupt()
    done = running.end()
    assert done.out == "Hello\nBye\nEnd\n"
    assert (done.err.count("> go"), done.err.count("> third")) == (2, 1)


def test_a_follower_in_json_begins_with_the_tail(reattach: CommandLine, server: Server) -> None:
    session, run_id = one_turn_and_one_that_waits(server)
    running = reattach.start("follow", session, "--json")
    running.until_answer('"id":null}\n')
    assert reattach("cancel", run_id).code == 0
    assert running.process.stdout is not None
    while '"run.cancelled"' not in running.out:
        running.out += running.process.stdout.readline()
    running.interrupt()
    tail, *frames = running.end().json
    assert (tail["type"], tail["cursor"].split(".")[0]) == ("session.tail", run_id)
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert {frame["id"].split(".")[0] for frame in frames} == {run_id}


@pytest.mark.parametrize("asked", ["ses_01h455vb4pex5vsknk084sn02q", "nonsense"])
def test_an_unknown_session(reattach: CommandLine, asked: str) -> None:
    done = reattach("tail", asked)
    assert (done.code, done.out) == (4, "")
    assert "no session" in done.err


def test_a_limit_the_server_refuses(reattach: CommandLine, server: Server) -> None:
    done = reattach("tail", server.session(), "--limit", "0")
    assert (done.code, done.out) == (4, "")
    assert "1 to 100" in done.err


def test_run_in_an_owned_session_says_why(reattach: CommandLine, server: Server) -> None:
    session = server.session()
    server.post(f"/v1/sessions/{session}/resume", {"client_id": "laptop"})
    done = reattach("run", "script", "--session", session, "--input", script({"text": "x"}))
    assert done.code == 4
    assert "laptop" in done.err
