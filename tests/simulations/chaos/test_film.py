"""The film keeps the end of a long chaos, and of a broken promise what belongs to it."""

from reattach.simulations.chaos.film import SHOWN_MAX, Film
from reattach.simulations.picture import draw
from reattach.simulations.violation import Violation

RUN, OTHER = (f"run_0{n}h455vb4pex5vsknk084sn02q" for n in range(2))


def filmed(seconds: float) -> Film:
    """A server that was killed and came back at the beginning, and two readers that read all the time."""
    film = Film(lambda: 1_000.0)
    for t, kind, label, how in ((0.0, "up", "n0.1", ""), (1.0, "down", "n0.1", "kill"), (2.0, "up", "n0.2", "")):
        film.at(1_000 + t, kind, proc=label, how=how)
    for n in range(int(seconds * 100)):
        for reader, run in (("s1r0", RUN), ("s2r0", OTHER)):
            film.at(1_000 + n / 100, "saw", proc=reader, run=run, first=n, last=n)
    return film


def test_the_last_of_it_is_shown_with_who_is_alive_then() -> None:
    recording = filmed(60).recording(None, {"seed": 1})
    assert len(recording.records) <= SHOWN_MAX + 1
    assert recording.records[0]["proc"] == "n0.2"
    assert recording.records[-1]["t"] == 59.99
    assert [record["n"] for record in recording.records] == list(range(len(recording.records)))
    assert "n0.2" in [lane.id for lane in draw(recording).lanes]


def test_of_a_broken_promise_the_run_it_names_and_every_process_is_shown() -> None:
    violation = Violation("delivery-gap", f"after frame 7 of {RUN} came frame 9", run_id=RUN, seq=9)
    recording = filmed(5).recording(violation, {"seed": 1})
    readers = {record["proc"] for record in recording.records if record["kind"] == "saw"}
    assert readers == {"s1r0"}
    assert [record["kind"] for record in recording.records if record["proc"] == "n0.1"] == ["up", "down"]
    drawn = draw(recording)
    assert drawn.violation is not None
    assert drawn.violation["name"] == "delivery-gap"
