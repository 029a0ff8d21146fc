"""The trace: cheap to write, the same text everywhere, and two of them show where they part."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reattach.simulations.trace import Recording, Trace, UnreadableTrace, first_divergence

from . import story

ROOT = Path(__file__).parents[2]
IN_A_PROCESS = "from tests.simulations import story; print(story.zombie().digest())"


def test_lines_are_json_with_header_and_footer() -> None:
    header, *records, footer = [json.loads(line) for line in story.zombie().lines()]
    assert header["format"] == "reattach-trace/1"
    assert (header["seed"], header["planted"], header["knobs"]) == (2026, "epoch-not-checked", {"nodes": 2})
    assert [record["n"] for record in records] == list(range(len(records)))
    assert records[3] == {"t": 0.2, "n": 3, "kind": "act", "proc": "c0", "does": "start"}
    assert footer["marks"] == {"reset-mid-stream": 1}
    assert footer["counters"]["commit"] == sum(1 for record in records if record["kind"] == "commit")
    assert footer["digest"] == story.zombie().digest()


def test_who_runs_is_asked_unless_it_is_told() -> None:
    trace = Trace(lambda: 1.23456789, lambda: "n0.1")
    trace.emit("up")
    trace.emit("act", proc="c0", after=0.1234567891)
    first, second = trace.recording().records
    assert (first["proc"], second["proc"]) == ("n0.1", "c0")
    assert (first["t"], second["after"]) == (1.234568, 0.123457)


def test_a_field_that_is_not_plain_is_refused() -> None:
    for value in ({1, 2}, object(), b"bytes"):
        trace = Trace(lambda: 0.0)
        trace.emit("act", value=value)
        with pytest.raises(TypeError):
            list(trace.lines())


def test_the_digest_is_the_same_under_every_hash_seed() -> None:
    digests: set[str] = set()
    for hash_seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / '.src'}{os.pathsep}{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout.strip())
    assert digests == {story.zombie().digest()}


def test_the_digest_sees_every_record_and_the_schedule() -> None:
    events = [*story.beginning(), *story.trouble()]
    told = story.told(events).digest()
    assert story.told(events[:-1]).digest() != told
    assert story.told([*events[:5], events[6], events[5], *events[7:]]).digest() != told
    other = story.told(events)
    other.finish(schedule="0ther", marks={"reset-mid-stream": 1})
    assert other.digest() != told


def test_a_trace_that_is_off_only_counts() -> None:
    on, off = story.zombie(), story.told([*story.beginning(), *story.trouble()], on=False)
    assert off.counts == on.counts
    assert len(off) == len(on) == sum(on.counts.values())
    assert off.recording().records == []
    assert off.digest() != story.told(story.beginning(), on=False).digest()


def test_a_file_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    story.zombie().write(file)
    assert Recording.read(file) == story.zombie().recording()


@pytest.mark.parametrize("text", ["", "{}", "[]\n[]", '{"format":"other/1"}\n{"digest":""}', "no JSON\n{}"])
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableTrace):
        Recording.read(file)


def test_the_first_divergence_is_found_with_what_is_around_it() -> None:
    left = [f"line {n}" for n in range(20)]
    right = [*left[:12], "another", *left[13:]]
    found = first_divergence(left, right, context=2)
    assert found is not None
    assert (found.line, found.before) == (13, ("line 10", "line 11"))
    assert (found.left, found.right) == (("line 12", "line 13"), ("another", "line 13"))
    assert "< line 12" in str(found)
    assert "> another" in str(found)


def test_a_trace_that_stops_sooner_diverges_there() -> None:
    found = first_divergence(["a", "b"], ["a", "b", "c"])
    assert found is not None
    assert (found.line, found.left, found.right) == (3, (), ("c",))
    assert "(end)" in str(found)


def test_equal_traces_do_not_diverge() -> None:
    assert first_divergence(story.zombie().lines(), story.zombie().lines()) is None
