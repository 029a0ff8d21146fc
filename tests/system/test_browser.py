"""A native browser EventSource through kill -9 and restart of the server: no gap, no double."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from .server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FOLLOW = """
([path, types]) => {
  window.seen = [];
  window.ended = false;
  const source = new EventSource(path);
  for (const type of types) source.addEventListener(type, event => {
    window.seen.push([event.lastEventId, event.data]);
    if (["run.completed", "run.failed", "run.cancelled"].includes(type)) window.ended = true;
  });
  source.onerror = () => { window.drops = (window.drops || 0) + 1; };
}
"""
TYPES = [
    "run.created", "run.claimed", "run.released", "run.completed", "run.failed", "run.cancelled", "step.start",
    "step.end", "step.reset", "message.start", "message.end", "text.start", "text.delta", "text.end",
]  # fmt: skip


@pytest.fixture
def page() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  - only where there is a browser

    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser.new_page(bypass_csp=True)  # the page under test allows no scripts; ours is the test
        browser.close()


@pytest.mark.browser
def test_an_event_source_survives_the_server(page: Any, start: Any) -> None:
    server: Server = start()
    steps = ({"text": f"part {n} of a long answer", "chunk": 1, "delay_ms": 6} for n in range(12))
    run_id = server.run(*steps)["run_id"]
    page.goto(server.url + "/")
    page.evaluate(FOLLOW, [f"/v1/runs/{run_id}/events", TYPES])
    for seen in (40, 120):
        page.wait_for_function(f"window.seen.length > {seen}", timeout=30_000)
        server.kill()
        page.wait_for_function("window.drops > 0", timeout=30_000)
        page.evaluate("window.drops = 0")
        server.start()
    page.wait_for_function("window.ended", timeout=60_000)
    assert page.evaluate("window.seen") == [[block.id, block.data] for block in server.frames(run_id)]
