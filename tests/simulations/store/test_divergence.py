"""Two cores that differ are found out: by what they answer, by what they tell, and by what they keep."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from reattach.domain.agent import Text
from reattach.domain.errors import ReattachError
from reattach.domain.ports import Append
from reattach.domain.run import Run
from reattach.infrastructure.eventstore.writer import Work, Written
from reattach.simulations.store import Divergence, DualCore, InlineCommitter, ModelCore, SqliteCore, open_over

from ...eventstore.world import ManualClock, World


class Forgetful(ModelCore):
    """A model that answers otherwise, in ways that are told."""

    def __init__(self, clock: ManualClock, bug: str) -> None:
        super().__init__(clock)
        self.bug = bug

    def write(self, group: Sequence[Work]) -> Written:
        written = super().write(group)
        if self.bug == "news":
            written.news.clear()
        if self.bug == "result" and not isinstance(group[0], Append):
            written.results[0].value = None
        if self.bug == "error" and isinstance(written.results[0].error, ReattachError):
            written.results[0].error.fields["run_id"] = "another"
        return written

    def lose_leases(self) -> None:
        """Loses what no read shows."""
        self._tables.leases.clear()


@pytest.mark.parametrize("bug", ["news", "result", "error"])
def test_a_difference_is_seen(bug: str) -> None:
    clock = ManualClock()
    sqlite = SqliteCore(clock)
    core = DualCore(Forgetful(clock, bug), sqlite)

    async def main() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with open_over(core, InlineCommitter(core)) as store:
            segment = await World(store, clock).running()
            await segment.write(Text("a"))
            with suppress(ReattachError):
                await store.append(replace(segment.next(Text("b")), epoch=9))

    with pytest.raises(Divergence) as seen, asyncio.Runner() as runner:
        runner.run(main())
    assert seen.value.name == "store-divergence"
    sqlite.end()


def test_a_difference_in_what_is_kept_is_seen() -> None:
    clock = ManualClock()
    model, sqlite = Forgetful(clock, ""), SqliteCore(clock)
    core = DualCore(model, sqlite)

    async def main() -> Run:
        async with open_over(core, InlineCommitter(core)) as store:
            return (await World(store, clock).running()).run

    with asyncio.Runner() as runner:
        run = runner.run(main())
    assert core.digest() == model.digest() == sqlite.digest()
    model.lose_leases()
    with pytest.raises(Divergence, match=run.run_id):
        core.digest()
    sqlite.end()


def test_what_was_read_before_is_compared_again_after_a_write() -> None:
    clock = ManualClock()
    model, sqlite = Forgetful(clock, ""), SqliteCore(clock)
    core = DualCore(model, sqlite)

    async def main() -> Run:
        async with open_over(core, InlineCommitter(core)) as store:
            return (await World(store, clock).running()).run

    with asyncio.Runner() as runner:
        run = runner.run(main())
    assert core.lease_until(run.run_id) is not None
    model.lose_leases()
    core.write([lambda _: None])
    with pytest.raises(Divergence, match="lease_until"):
        core.lease_until(run.run_id)
    sqlite.end()
