"""The Python client: everything a program needs to start runs and to follow them over every disconnect."""

from .client import Client
from .errors import ClientError, StreamSpliced, UnexpectedAnswer, Unreachable
from .follow import Interruption
from .frame import Frame, fold
from .in_process import InProcess
from .patience import Patience
from .resources import (
    ActiveRun,
    Agent,
    Continuity,
    Handoff,
    Memory,
    Message,
    Page,
    PendingApproval,
    Resumption,
    Run,
    Session,
    Summary,
    SummaryWork,
    Tail,
)

__all__ = [
    "ActiveRun",
    "Agent",
    "Client",
    "ClientError",
    "Continuity",
    "Frame",
    "Handoff",
    "InProcess",
    "Interruption",
    "Memory",
    "Message",
    "Page",
    "Patience",
    "PendingApproval",
    "Resumption",
    "Run",
    "Session",
    "StreamSpliced",
    "Summary",
    "SummaryWork",
    "Tail",
    "UnexpectedAnswer",
    "Unreachable",
    "fold",
]
