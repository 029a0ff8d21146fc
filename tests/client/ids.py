"""Identifiers that a test can foresee."""

from uuid import UUID


class CountingIds:
    """1, 2, 3, ... as UUIDs."""

    def __init__(self) -> None:
        self.count = 0

    def uuid(self) -> UUID:
        self.count += 1
        return UUID(int=self.count)
