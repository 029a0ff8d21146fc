"""A process of Reattach with a planted bug: `python -m reattach.simulations.chaos.planted BUG serve ...`."""

import sys

from ...__main__ import main
from ..planted import planted_bug

if __name__ == "__main__":
    with planted_bug(sys.argv[1]):
        sys.exit(main(sys.argv[2:]))
