"""The disk that loses its power: what survives, what may, and what never does."""

from collections.abc import Sequence

import pytest

from reattach.simulations.disk.platter import File, Platter
from reattach.simulations.tape import Tape

KEPT, LOST, MIXED = 0, 2, 3
SECTOR = 512


def platter(how: int = KEPT, writes: Sequence[int] = (), *, lies: bool = False, **sites: list[int]) -> Platter:
    decisions = {"cut.how": [how] * 9, "cut.write": list(writes)}
    decisions |= {f"cut.{name}": values for name, values in sites.items()}
    return Platter(Tape.replay(decisions), sector_bytes=SECTOR, lies=lies)


def written(disk: Platter, *texts: bytes, name: str = "a") -> File:
    """A synced file, and then these writes over its start, one after the other."""
    file = disk.open(name)
    disk.change(file, 0, b"old" * SECTOR)
    disk.sync(file)
    for text in texts:
        disk.change(file, 0, text)
    return file


def after_a_cut(disk: Platter, name: str = "a") -> bytes:
    disk.cut()
    disk.restore()
    return bytes(disk.open(name).seen)


def test_what_is_synced_survives_everything() -> None:
    disk = platter(LOST)
    file = written(disk, b"new")
    disk.sync(file)
    assert after_a_cut(disk).startswith(b"newold")


@pytest.mark.parametrize(("how", "start"), [(KEPT, b"newold"), (LOST, b"oldold")])
def test_what_is_not_synced_may_be_kept_or_lost(how: int, start: bytes) -> None:
    disk = platter(how)
    file = written(disk, b"new")
    assert file.seen.startswith(b"new")
    assert after_a_cut(disk).startswith(start)


def test_a_later_write_may_be_kept_and_an_earlier_one_lost() -> None:
    disk = platter(MIXED, [1, 0])
    written(disk, b"1st....", b"2nd")
    assert after_a_cut(disk).startswith(b"2nd" + b"oldold"[:4])
    assert (disk.cuts.kept, disk.cuts.lost, disk.cuts.torn) == (1, 1, 0)


def test_a_write_is_torn_between_sectors_and_within_one() -> None:
    disk = platter(MIXED, [2], sector=[0, 1, 0], part=[0, 3])
    written(disk, b"x" * 3 * SECTOR)
    found = after_a_cut(disk)
    old = b"old" * SECTOR
    assert found[:SECTOR] == b"x" * SECTOR
    assert found[SECTOR : 2 * SECTOR] == old[SECTOR : 2 * SECTOR]
    assert found[2 * SECTOR :] == b"x" * (SECTOR // 2) + old[2 * SECTOR + SECTOR // 2 :]


def test_a_truncation_may_be_lost_too() -> None:
    for how, size in ((KEPT, 10), (LOST, 3 * SECTOR)):
        disk = platter(how)
        disk.change(written(disk), 10, None)
        assert len(after_a_cut(disk)) == size


def test_a_write_past_a_lost_one_leaves_a_hole() -> None:
    disk = platter(MIXED, [1, 0])
    file = disk.open("a")
    disk.sync(file)
    disk.change(file, 0, b"lost")
    disk.change(file, 4, b"kept")
    assert after_a_cut(disk) == b"\0\0\0\0kept"


def test_a_new_name_is_there_for_sure_after_a_sync_of_its_file() -> None:
    disk = platter(LOST)
    disk.open("a")
    assert after_a_cut(disk) == b""
    disk.sync(disk.open("a"))
    disk.cut()
    disk.restore()
    assert disk.exists("a")


def test_a_deleted_file_may_come_back_as_it_was_stored() -> None:
    for sync, there in ((False, True), (True, False)):
        disk = platter(LOST)
        written(disk, b"new")
        disk.delete("a", sync=sync)
        assert not disk.exists("a")
        disk.cut()
        disk.restore()
        assert disk.exists("a") is there
    assert platter(KEPT).exists("a") is False


def test_of_two_files_of_one_name_the_old_one_may_be_left() -> None:
    disk = platter(LOST)
    written(disk)
    disk.delete("a", sync=False)
    disk.change(disk.open("a"), 0, b"another")
    assert after_a_cut(disk) == b"old" * SECTOR


def test_the_power_goes_at_the_operation_that_was_drawn() -> None:
    disk = platter(LOST)
    file = written(disk)
    disk.left = 2
    disk.change(file, 0, b"new")
    assert disk.power
    disk.sync(file)  # it goes just now
    assert not disk.power
    assert after_a_cut(disk) == b"old" * SECTOR


def test_without_power_programs_dream() -> None:
    disk = platter(KEPT)
    file = written(disk)
    disk.cut()
    disk.change(file, 0, b"new")
    disk.sync(file)
    disk.delete("b", sync=True)
    other = disk.open("c")
    disk.sync(other)
    assert (bytes(file.seen[:3]), disk.exists("c")) == (b"new", True)
    disk.restore()
    assert disk.power
    assert bytes(disk.open("a").seen) == b"old" * SECTOR
    assert not disk.exists("c")


def test_a_disk_may_lie() -> None:
    disk = platter(LOST, lies=True)
    written(disk)
    assert after_a_cut(disk) == b""
