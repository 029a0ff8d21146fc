"""The Python client: everything a program needs to start runs and to follow them over every disconnect."""

from .client import Client
from .errors import ClientError, StreamSpliced, UnexpectedAnswer, Unreachable
from .follow import Interruption
from .frame import Frame, fold
from .patience import Patience
from .resources import Agent, Page, PendingApproval, Run, Session

__all__ = [
    "Agent",
    "Client",
    "ClientError",
    "Frame",
    "Interruption",
    "Page",
    "Patience",
    "PendingApproval",
    "Run",
    "Session",
    "StreamSpliced",
    "UnexpectedAnswer",
    "Unreachable",
    "fold",
]
