"""The page explains a world by itself: everything is on it, nothing comes from elsewhere, and a browser draws it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reattach.simulations import words
from reattach.simulations.axis import Axis
from reattach.simulations.picture import Picture, draw
from reattach.simulations.sites import MEANINGS
from reattach.simulations.tape import Tape
from reattach.simulations.timeline import page, told
from reattach.simulations.world import run_world

from . import story

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COMMAND = "reattach simulate replay simulations-found/zombie.json"


def html(command: str = COMMAND) -> str:
    return page(story.zombie().recording(), story.DECISIONS, command)


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def picture() -> Picture:
    return draw(story.zombie().recording())


def test_the_page_names_lanes_violation_decisions_and_the_command() -> None:
    text, data = html(), data_of(html())
    assert "zombie-write" in text
    assert story.DETAIL in text
    assert f"<pre>{COMMAND}</pre>" in text
    assert [lane["label"] for lane in data["picture"]["lanes"]] == ["c0", "n0.1", "n1.1", "log of r1"]
    assert [raw for _, raw in data["decisions"]] == [
        "config.fault.pause[0] = 1",
        "config.nodes[0] = 1",
        "fault.pause:n0[2] = 3",
        "net.reset:c0-n0[6] = 1",
        "wake.drop:n1[1] = 1",
    ]
    assert "the 7th packet of c0-n0 breaks the connection" in text


def test_the_page_needs_no_network() -> None:
    text = html()
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    assert not re.search(r"<(link|img|iframe|script src)|@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_nothing_that_is_told_can_become_markup() -> None:
    events: list[story.Event] = [(1.0, "act", "c0", {"does": "</script><img src=x onerror=alert(1)>"})]
    text = page(story.told(events).recording(), {"a<b>": [1]}, "<b>replay</b>")
    assert "<img" not in text
    assert "<pre>&lt;b&gt;replay" in text
    assert "a<b>" not in text
    assert data_of(text)["picture"]["events"][0]["text"].endswith("onerror=alert(1)>")


def test_a_world_without_a_violation_is_drawn_as_well() -> None:
    text = page(story.told(story.beginning()).recording(), {}, COMMAND)
    assert "No promise was broken" in text
    assert "Nothing but the plainest world" in text
    assert data_of(text)["picture"]["violation"] is None
    assert data_of(page(story.told([]).recording(), {}, COMMAND))["picture"]["events"] == []


def test_commits_carry_seqs_and_the_colour_of_their_epoch() -> None:
    commits = picture().commits
    assert [commit["seqs"] for commit in commits] == ["1", "2", "3\u20135", "6\u20137", "8", "9\u201310"]
    colors = [commit["color"] for commit in commits]
    assert colors == [0, 1, 1, 2, 2, 1]


def test_leases_end_where_the_next_epoch_begins() -> None:
    lanes = {lane.id: lane for lane in picture().lanes}
    (first,), (second,) = lanes["n0.1"].leases, lanes["n1.1"].leases
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert first["to"] == second["from"]
    assert second["to"] == picture().width


def test_a_kill_ends_the_bar_and_its_leases() -> None:
    events: list[story.Event] = [*story.beginning(), (0.5, "down", "n0.1", {"how": "kill"}), (0.9, "up", "n0.2", {})]
    lanes = {lane.id: lane for lane in draw(story.told(events).recording()).lanes}
    (bar,), (lease,) = lanes["n0.1"].bars, lanes["n0.1"].leases
    assert bar["how"] == "kill"
    assert bar["to"] == lease["to"] < lanes["n0.2"].bars[0]["from"]


def test_packets_are_matched_first_in_first_out() -> None:
    seen = picture()
    place = {event["n"]: event["x"] for event in seen.events}
    kinds = {event["n"]: event["kind"] for event in seen.events}
    frames = [packet for packet in seen.packets if packet["label"] == "6\u20137"]
    (packet,) = frames
    assert (packet["a"], packet["b"], packet["lost"]) == ("n1.1", "c0", False)
    assert kinds[next(n for n, x in place.items() if x == packet["x1"])] == "deliver"


def test_what_was_under_way_when_the_connection_broke_is_lost() -> None:
    events: list[story.Event] = [
        (0.0, "up", "n0.1", {}),
        (0.1, "request", "c0", {"x": 1, "to": "n0", "method": "GET", "path": "/"}),
        (0.2, "send", "n0.1", {"x": 1, "bytes": 10}),
        (0.3, "reset", "c0", {"x": 1, "why": "node died"}),
    ]
    assert [packet["lost"] for packet in draw(story.told(events).recording()).packets] == [False, True]


def test_the_axis_gives_every_event_room_and_leaves_dead_time_out() -> None:
    records = story.zombie().recording().records
    axis = Axis(records)
    steps = [b - a for a, b in zip(axis.places, axis.places[1:], strict=False)]
    assert min(steps) >= 4
    assert max(steps) < 90
    assert axis.at(2.0) == pytest.approx((axis.at(1.4) * 0.9 + axis.at(2.9) * 0.6) / 1.5)
    assert [round(seconds, 1) for *_, seconds in axis.gaps] == [1.5, 1.1]


def test_the_violation_points_at_the_guilty() -> None:
    found = picture().violation
    assert found is not None
    assert found["lanes"] == ["log r1", "n0.1"]
    events: list[story.Event] = [
        (0.1, "up", "n0.1", {}),
        (0.2, "act", "c1", {"does": "follow"}),
        (0.3, "violation", None, {"name": "gap", "detail": "c1: this is no block."}),
    ]
    spoken_of = draw(story.told(events).recording()).violation
    assert spoken_of is not None
    assert spoken_of["lanes"] == ["c1"]


def test_a_node_cut_off_from_several_clients_is_one_fault() -> None:
    cuts: list[story.Event] = [
        (0.1, "cut", "world", {"a": f"c{n}", "b": "n0", "s": 1.0, "how": "hold"}) for n in (0, 1)
    ]
    (fault,) = draw(story.told(cuts).recording()).faults
    assert fault["lanes"] == ["c0", "c1", "n0"]
    assert fault["label"] == "c0, c1 \u2013 n0 cut"


def test_the_text_form_tells_the_same() -> None:
    lines = told(story.zombie().recording(), story.DECISIONS, last=3)
    assert lines[0] == "5 decisions that differ from the plainest world:"
    assert lines[2] == "  2. server nodes: 2  [config.nodes[0] = 1]"
    assert len(lines) == 1 + 5 + 1 + 3
    assert "BROKEN PROMISE zombie-write" in lines[-1]


def test_every_event_and_fault_has_words() -> None:
    for record in story.zombie().recording().records:
        assert record["kind"] == "saw" or f": {record['kind']}" not in words.event(record)
    faults = [record["kind"] for record in story.zombie().recording().records if words.is_fault(record)]
    assert faults == ["wake", "cut", "pause", "reset"]
    assert words.event({"t": 0, "n": 0, "kind": "unheard-of", "proc": None, "a": 1}) == "the world: unheard-of (a 1)"
    assert [words.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 112)] == "1st 2nd 3rd 4th 11th 12th 21st 112th".split()


def test_long_identifiers_get_short_names_and_are_listed() -> None:
    ids = [f"run_0{n}h455vb4pex5vsknk084sn02q" for n in range(3)]
    events: list[story.Event] = [
        (0.1, "act", "c0", {"does": "follow", "run": ids[2]}),
        (0.2, "saw", "c0", {"run": ids[0], "first": 1, "last": 2}),
        (0.3, "violation", "c0", {"name": "gap", "detail": f"{ids[2]} has a gap, {ids[1]}.0.1.7 has none."}),
    ]
    seen = draw(story.told(events).recording())
    assert seen.names == {"run 1": ids[2], "run 2": ids[0], "run 3": ids[1]}
    assert seen.violation is not None
    assert seen.violation["detail"] == "run 1 has a gap, run 3.0.1.7 has none."
    assert told(story.told(events).recording(), {})[-3:] == [f"{short} is {long}" for short, long in seen.names.items()]


def test_who_was_killed_does_not_end_again() -> None:
    events: list[story.Event] = [
        (0.0, "up", "n0.1", {}),
        (0.5, "down", "n0.1", {"how": "kill"}),
        (0.5, "down", "n0.1", {"how": "end"}),
    ]
    seen = draw(story.told(events).recording())
    assert [bar["how"] for bar in seen.lanes[0].bars] == ["kill"]
    assert [event["minor"] for event in seen.events] == [False, False, True]


@pytest.fixture
def browser_page(tmp_path: Path) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  - only where there is a browser

    file = tmp_path / "page.html"
    file.write_text(html(), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        shown = browser.new_page()
        wrong: list[str] = []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        shown.on("request", lambda asked: wrong.append(asked.url) if asked.url != file.as_uri() else None)
        shown.goto(file.as_uri())
        yield shown
        assert wrong == []
        browser.close()


@pytest.mark.browser
def test_a_browser_draws_it_and_a_click_picks_an_event(browser_page: Any) -> None:
    drawn = browser_page.evaluate("[...document.querySelectorAll('#chart text, #names text')].map(t => t.textContent)")
    for text in ("zombie-write", "c0", "n0.1", "n1.1", "log of r1", "9\u201310", "works on r1, epoch 2"):
        assert text in drawn
    listed = browser_page.locator("#events button")
    assert "BROKEN PROMISE" in listed.last.inner_text()
    assert browser_page.locator("#chart .sel").count() == 0
    listed.last.click()
    assert browser_page.locator("#chart .sel").count() > 0
    browser_page.locator("#chart [data-n] circle").first.click(force=True)
    assert browser_page.locator("#events .on").count() == 1
    browser_page.click("#out")
    browser_page.click("#fit")
    browser_page.click("#minor")
    assert browser_page.locator("#events button").count() > listed.count() - 1


def test_every_decision_has_a_meaning_in_words() -> None:
    """What the tapes of real worlds ask is told to people in words, not by the names that the code has for it."""
    asked: dict[str, None] = {}
    for seed in range(12):
        tape = Tape(seed)
        run_world(tape, tracing=False)
        asked |= dict.fromkeys(site.partition(":")[0] for site in tape.decisions)
    assert [name for name in asked if name not in MEANINGS and not name.startswith("config.fault.")] == []
    assert len(asked) > 60
