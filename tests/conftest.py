"""What all tests share: Hypothesis profiles (`fast` by default; HYPOTHESIS_PROFILE=long looks 50 times as far), asyncio
as anyio's only backend, and asserts that explain themselves in the store's contract suites, which are no test files.
"""

import os
import signal

import pytest
from hypothesis import settings

for module in (
    "world",
    "contract_appends",
    "contract_facts",
    "contract_reads",
    "contract_sessions",
    "contract_snapshots",
    "recorder_case",
):
    pytest.register_assert_rewrite(f"tests.eventstore.{module}")

# `fast` is derandomized: a red test means that the code has changed, not the dice. Nothing is judged by the clock.
settings.register_profile("fast", deadline=None, max_examples=100, stateful_step_count=40, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=5_000, stateful_step_count=120, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> None:
    """As a process that was just started. A shell's background jobs, and all they start, ignore it; a closed loop of
    uvloop keeps it for itself.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
