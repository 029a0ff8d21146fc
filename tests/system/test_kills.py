"""C2, C15, S6 under kill -9: the small version of the campaign in kills.py."""

from pathlib import Path

from .kills import Campaign


def test_kills_under_load(tmp_path: Path) -> None:
    sentence = Campaign(tmp_path, kills=5, readers=8, seed=7, say=lambda _: None).run()
    assert sentence.startswith("5 kills")
