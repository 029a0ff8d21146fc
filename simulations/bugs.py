"""What production itself calls a bug, in its log, is a broken promise."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from .loop import SimLoop
from .violation import Violation


@contextmanager
def bugs_end(loop: SimLoop) -> Generator[None]:
    """Inside, an error that the service logs ends the world with the violation `bug-logged`."""
    ear, logger = _Bugs(loop), logging.getLogger("reattach")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(ear)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagate


class _Bugs(logging.Handler):
    def __init__(self, loop: SimLoop) -> None:
        super().__init__(logging.ERROR)
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Violation):  # a checker's, on its way through code that logs what it did not expect
            self._loop.abort(error)
            return
        what = f" ({type(error).__name__}: {error})" if error is not None else ""
        self._loop.abort(Violation("bug-logged", f"{record.getMessage()}{what}"))
