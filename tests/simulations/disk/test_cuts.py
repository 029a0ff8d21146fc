"""Power cuts under the real SQLite: intact code keeps its promises, and whoever does not sync is found."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from reattach.__main__ import main
from reattach.adapters.cli.exits import Exit
from reattach.infrastructure.sqlite import Durability
from reattach.simulations.disk import cuts
from reattach.simulations.disk.connection import Connection
from reattach.simulations.disk.cuts import CUTS_A_DISK, Disk, run_disk
from reattach.simulations.disk.recording import recording
from reattach.simulations.disk.variants import PLANTED, VARIANTS, Variant
from reattach.simulations.store import SqliteCore
from reattach.simulations.tape import Tape
from reattach.simulations.verdicts import Verdict

DISKS: Final = 50
DISKS_UNTIL_FOUND: Final = 5


@pytest.fixture(scope="module")
def disks() -> list[Disk]:
    return [run_disk(Tape(seed)) for seed in range(DISKS)]


def test_what_was_acknowledged_is_there(disks: list[Disk]) -> None:
    assert [(disk.seed, disk.variant, disk.violation) for disk in disks if disk.violation] == []
    assert {disk.cuts for disk in disks} == {CUTS_A_DISK}
    assert {disk.variant for disk in disks} == set(VARIANTS)


def test_cuts_meet_all_there_is_to_meet(disks: list[Disk]) -> None:
    unsure = sum((disk.unsure for disk in disks), Counter[str]())
    changes = sum((disk.changes for disk in disks), Counter[str]())
    assert set(+unsure) == {"kept", "lost"}
    assert set(+changes) == {"kept", "lost", "torn"}
    assert any(disk.in_recovery for disk in disks)
    assert sum(disk.acknowledged for disk in disks) > 5 * DISKS


def test_only_relaxed_durability_forgets(disks: list[Disk]) -> None:
    assert {disk.variant for disk in disks if disk.forgotten} == {"wal-relaxed"}


def test_a_disk_is_its_tape(disks: list[Disk]) -> None:
    assert [run_disk(Tape(seed)) for seed in range(5)] == disks[:5]


@pytest.mark.parametrize("planted", PLANTED)
def test_whoever_does_not_sync_is_found(planted: str) -> None:
    found = [run_disk(Tape(seed), planted=planted).violation for seed in range(DISKS_UNTIL_FOUND)]
    names = {violation.name for violation in found if violation is not None}
    assert names
    assert names <= {"acknowledged-lost", "database-damaged", "log-rewritten", "commit-torn", "projection-off"}


def test_the_recorded_world_is_worth_it() -> None:
    kept = recording(0)
    assert len(kept.groups) > 40
    assert len(kept.digests) == len(kept.ends) == len(kept.groups) + 1
    assert kept.ends[-1] == len(kept.log) > 50


def another(_: SqliteCore) -> str:
    """The digest of nothing there is."""
    return "another"


def test_a_world_that_sqlite_writes_otherwise_is_no_measure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.cache_clear()
    monkeypatch.setattr(SqliteCore, "digest", another)
    code, _, err = simulated(capsys)
    assert code == Verdict.TROUBLE
    assert "is another one when SQLite writes it again" in err


@dataclass(frozen=True)
class Tampering(Variant):
    """Somebody changes what is there before it is looked at."""

    statement: str = ""

    def prepare(self, connection: Connection) -> None:
        super().prepare(connection)
        connection.execute(self.statement)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE events SET version = version + 1 WHERE rowid = (SELECT max(rowid) FROM events)", "seq-gap"),
        ("UPDATE events SET topic = 'x' || topic WHERE rowid = 1", "log-rewritten"),
        ("UPDATE events SET rowid = rowid + 1000 WHERE rowid = 1", "log-rewritten"),
        ("DELETE FROM events WHERE rowid = (SELECT max(rowid) FROM events)", "acknowledged-lost"),
        ("DELETE FROM events WHERE rowid = (SELECT max(rowid) FROM events)", "commit-torn"),
        ("UPDATE events SET state = x'00' WHERE rowid = 1", "database-damaged"),
        ("DELETE FROM idempotency", "projection-off"),
        ("UPDATE runs SET lease_until = lease_until + 1", "projection-off"),
    ],
)
def test_each_check_can_fail(statement: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    promises: Durability = "relaxed" if name == "commit-torn" else "strict"
    tampering = Tampering("it is changed", promises, statement=statement)
    monkeypatch.setattr(cuts, "PLANTED", {"tampered": tampering})
    found = (run_disk(Tape(seed), planted="tampered").violation for seed in range(20))
    assert name in {violation.name for violation in found if violation is not None}


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(("simulate", "crashpoints", "--disk", *arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = simulated(capsys, "--cuts", "20")
    assert code == Verdict.CLEAN
    assert out.startswith("20 power cuts on 3 disks in ")
    assert out.endswith("no promise was broken\n")
    code, out, _ = simulated(capsys, "--planted", "sync-off")
    assert code == Verdict.VIOLATION
    assert "BROKEN PROMISE" in out
    *_, command = out.splitlines()
    assert main(command.split()[1:]) == Verdict.VIOLATION
    assert capsys.readouterr().out.splitlines()[-1] == command


def test_the_command_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = simulated(capsys, "--cuts", "9", "--json")
    assert code == Verdict.CLEAN
    assert '"cuts": 9' in out


@pytest.mark.parametrize("wrong", [("--planted", "nothing"), ("--store", "model"), ("--agents", "a:b")])
def test_what_a_disk_does_not_know_is_refused(capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    code, _, err = simulated(capsys, *wrong)
    assert code == Exit.USAGE
    assert err


def nothing(_name: str) -> None:
    """As if nothing were installed."""


def test_without_apsw_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(sys.modules):
        if name.startswith(("reattach.simulations.disk", "reattach.simulations.cutting")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", nothing)
    code, _, err = simulated(capsys)
    assert code == Exit.USAGE
    assert "pip install 'reattach[simulate-disk]'" in err
