"""A broken promise, as the checkers report it."""

from typing import Any


class Violation(Exception):
    """`name` says which promise (kebab-case, stable), `detail` what happened, in a sentence a person understands."""

    def __init__(self, name: str, detail: str, **fields: Any) -> None:
        self.name = name
        self.detail = detail
        self.fields = fields
        super().__init__(f"{name}: {detail}")
