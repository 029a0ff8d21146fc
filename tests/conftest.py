"""Hypothesis profiles: `fast` by default; HYPOTHESIS_PROFILE=long looks 50 times as far."""

import os

from hypothesis import settings

# `fast` is derandomized: a red test means that the code has changed, not the dice. Nothing is judged by the clock.
settings.register_profile("fast", deadline=None, max_examples=100, stateful_step_count=40, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=5_000, stateful_step_count=120, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
