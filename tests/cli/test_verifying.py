"""`verify`: silent on a healthy store; else it names stream and seq (B7)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reattach.infrastructure.codec import stream_id

from ..system.server import Server, free_port
from .command import CommandLine


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A database with memories and turns, its session, and a run."""
    path = tmp_path_factory.mktemp("verify") / "reattach.db"
    server = Server(path, free_port()).start()
    try:
        session = server.session()
        for number in range(4):
            server.post(f"/v1/sessions/{session}/memories", {"content": number})
        server.post(f"/v1/sessions/{session}/resume", {"client_id": "ada"})
        for handoff in ("off", "on"):
            server.post(f"/v1/sessions/{session}/handoffs", {"handoff_id": handoff})
            server.post(f"/v1/sessions/{session}/handoffs/{handoff}", {"action": "abandon"})
        server.post(f"/v1/sessions/{session}/handoffs", {"handoff_id": "asked"})
        server.post(f"/v1/sessions/{session}/resume", {"client_id": "bob", "takeover": True})
        server.post(f"/v1/sessions/{session}/detach", **{"Session-Epoch": "2"})
        run = server.run({"text": "Hello"}, {"text": "Bye"}, session=session)
        server.frames(run["run_id"])
        server.run({"approvals": [{"tool": "send", "arguments": {}, "result": "sent"}]})
    finally:
        server.terminate()
    return path, session, str(run["run_id"])


@pytest.fixture
def damaged(written: tuple[Path, str, str], tmp_path: Path) -> Callable[..., str]:
    """The URL of a copy in which this was done."""

    def damage(statement: str, *parameters: object) -> str:
        copy = tmp_path / "copy.db"
        with closing(sqlite3.connect(written[0])) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            assert target.execute(statement, parameters).rowcount == 1
            target.commit()
        return f"sqlite:///{copy}"

    return damage


def test_a_healthy_store_is_silent(reattach: CommandLine, written: tuple[Path, str, str]) -> None:
    done = reattach("verify", "--database", f"sqlite:///{written[0]}")
    assert (done.code, done.out, done.err) == (0, "", "")


ALTER = "UPDATE memories SET body = replace(body, '\"content\":2', '\"content\":9') "
HERE = " WHERE stream_id = ?1 AND version = "


@pytest.mark.parametrize(
    ("change", "place", "seq", "what"),
    [
        ("DELETE FROM events", "3", 3, "is missing"),
        ("DELETE FROM events", "(SELECT max(version) FROM events WHERE stream_id = ?1)", None, "is missing"),
        ("UPDATE events SET state = substr(state, 2)", "2", 2, "is torn or altered"),
        ("UPDATE events SET epoch = 7", "1", 1, "is torn or altered"),
        ("UPDATE events SET frames = 2", "1", 1, "is torn or altered"),
    ],
)
@pytest.mark.parametrize("which", ["session", "run"])
def test_a_damaged_record_is_named(
    *,
    reattach: CommandLine,
    written: tuple[Path, str, str],
    damaged: Callable[..., str],
    which: str,
    change: str,
    place: str,
    seq: int | None,
    what: str,
) -> None:
    stream = written[1] if which == "session" else written[2]
    done = reattach("verify", "--database", damaged(change + HERE + place, stream_id(stream)))
    assert done.code == 5
    named = f"{stream} seq {seq}:" if seq is not None else f"{stream} seq "
    assert any(line.startswith(named) and what in line for line in done.out.splitlines()), done.out
    assert {line.split()[0] for line in done.out.splitlines()} == {stream}


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("DELETE FROM memories WHERE session_id = ? AND sequence = 2", 2),
        ("DELETE FROM memories WHERE session_id = ? AND sequence = 4", 4),
        (ALTER + "WHERE session_id = ? AND sequence = 3", 3),
        ("UPDATE memories SET body = 'torn' WHERE session_id = ? AND sequence = 1", 1),
    ],
)
def test_a_broken_memory_is_named(
    reattach: CommandLine, written: tuple[Path, str, str], damaged: Callable[..., str], statement: str, sequence: int
) -> None:
    done = reattach("verify", "--database", damaged(statement, stream_id(written[1])))
    assert done.code == 5
    assert done.out.splitlines()[0].startswith(f"{written[1]} seq {sequence}: ")


@pytest.mark.parametrize(
    ("statement", "seqs"),
    [
        ("DELETE FROM handoffs WHERE session_id = ?1 AND handoff_id = 'off'", [8]),
        ("DELETE FROM handoffs WHERE session_id = ?1 AND handoff_id = 'asked'", [12]),
        ("UPDATE handoffs SET state = replace(state, 'abandoned', 'completed') WHERE handoff_id = 'on'", [10]),
        ("UPDATE handoffs SET state = 'torn' WHERE handoff_id = 'on'", [10]),
        ("UPDATE handoffs SET handoff_id = 'other' WHERE handoff_id = 'on'", [0, 10]),
        ("UPDATE sessions SET state = replace(state, '\"epoch\":2', '\"epoch\":7') WHERE session_id = ?1", [16]),
        ("UPDATE sessions SET state = 'torn' WHERE session_id = ?1", [16]),
        ("UPDATE memories SET sequence = 5 WHERE session_id = ?1 AND sequence = 4", [4]),
        ("INSERT INTO memories SELECT session_id, 5, body FROM memories WHERE session_id = ?1 AND sequence = 4", [5]),
    ],
)
def test_a_row_that_its_facts_do_not_say_is_named(
    reattach: CommandLine,
    written: tuple[Path, str, str],
    damaged: Callable[..., str],
    statement: str,
    seqs: list[int],
) -> None:
    """Handoffs, memories and the session itself as they are served, against what was recorded."""
    named = [stream_id(written[1])] if "?1" in statement else []
    done = reattach("verify", "--database", damaged(statement, *named))
    assert done.code == 5
    told = [line.split(":")[0] for line in done.out.splitlines()]
    assert told == [f"{written[1]} seq {seq}" for seq in seqs], done.out


@pytest.mark.parametrize("table", ["handoffs", "memories"])
def test_a_row_of_no_session_is_named(
    reattach: CommandLine, written: tuple[Path, str, str], damaged: Callable[..., str], table: str
) -> None:
    nobody = "ses_01h455vb4pex5vsknk084sn02q"
    which = "handoff_id = 'off'" if table == "handoffs" else "sequence = 1"
    change = f"UPDATE {table} SET session_id = ? WHERE {which}"  # noqa: S608  the test's own words
    done = reattach("verify", "--database", damaged(change, stream_id(nobody)))
    assert done.code == 5
    assert any(line.startswith(nobody) and "no session" in line for line in done.out.splitlines()), done.out


def test_what_is_no_database_of_ours(reattach: CommandLine, tmp_path: Path) -> None:
    missing = reattach("verify", "--database", f"sqlite:///{tmp_path / 'none.db'}")
    assert (missing.code, missing.out) == (2, "")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "words.db").write_text("no database at all, however long one looks at it" * 100)
    assert reattach("verify", "--database", f"sqlite:///{tmp_path / 'words.db'}").code == 5
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE x (y)")
    assert reattach("verify", "--database", f"sqlite:///{tmp_path / 'other.db'}").code == 2
