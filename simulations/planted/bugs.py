"""All planted bugs, in the order of the road a run takes."""

from typing import Final

from .appends import APPENDS
from .approvals import APPROVALS
from .clients import CLIENTS
from .edit import Planted
from .found import FOUND
from .handed import HANDED
from .leases import OWNERSHIP
from .owners import OWNED
from .reviewed import REVIEWED
from .runs import RUNS
from .sessions import SESSIONS
from .stores import STORES
from .streams import STREAMS
from .views import VIEWS
from .wakeups import WAKEUPS

BUGS: Final[tuple[Planted, ...]] = (
    *(*RUNS, *OWNERSHIP, *APPENDS, *APPROVALS, *STORES),
    *(*STREAMS, *VIEWS, *WAKEUPS, *CLIENTS, *FOUND, *SESSIONS, *OWNED, *REVIEWED, *HANDED),
)
