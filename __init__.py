"""Reattach keeps AI-agent runs alive across every disconnect. What an agent's author and a client's author need."""

from .adapters.agents.loading import agent
from .adapters.agents.remote import RemoteAgent
from .adapters.client import Client
from .domain.agent import (
    Agent,
    AgentFailure,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Context,
    Data,
    EndPart,
    File,
    Finish,
    Output,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolResult,
)
from .domain.errors import Invalid, ReattachError
from .domain.run_facts import Approval

__all__ = [
    "Agent",
    "AgentFailure",
    "Approval",
    "ApprovalRequest",
    "Approvals",
    "Checkpoint",
    "Client",
    "Context",
    "Data",
    "EndPart",
    "File",
    "Finish",
    "Invalid",
    "Output",
    "Reasoning",
    "ReattachError",
    "RemoteAgent",
    "Source",
    "Text",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStart",
    "ToolResult",
    "agent",
]
