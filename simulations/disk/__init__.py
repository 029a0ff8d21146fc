"""Power cuts under the real SQLite: a disk that loses its power, apsw's way to it, and what must be there afterwards.

Needs apsw, the extra `simulate-disk`: the standard library's `sqlite3` lets nobody put a disk under it.
"""

from importlib.util import find_spec
from typing import Final

NEEDED: Final = "Power cuts need apsw: pip install 'reattach[simulate-disk]'."
"""What to do without it."""

if find_spec("apsw") is None:
    raise ModuleNotFoundError(NEEDED, name="apsw")
