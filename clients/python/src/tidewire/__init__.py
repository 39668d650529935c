"""Publish and read the live answers of AI agents through a Tidewire broker.

`Agent` publishes, `Client` reads; `tidewire.sync` has both without asyncio. Errors are in `tidewire.errors`.
"""

from .agent import Agent, Command, ToolCall
from .client import Client
from .errors import (
    BufferFull,
    Closed,
    ConnectionEnded,
    Final,
    Interrupted,
    InvalidUse,
    NotDelivered,
    Problem,
    PublishRefused,
    Replaced,
    TidewireError,
    Unauthenticated,
    Unreachable,
)
from .fold import Message
from .message import AgentMessage
from .notices import Back, Disconnected, Draining, Forgotten, NotControlled, Notice
from .position import Position
from .reader import Event, Gap, Item, Lost, Refused, Reset, Unsubscribed
from .subscriber import Subscription
from .window import Bounds

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentMessage",
    "Back",
    "Bounds",
    "BufferFull",
    "Client",
    "Closed",
    "Command",
    "ConnectionEnded",
    "Disconnected",
    "Draining",
    "Event",
    "Final",
    "Forgotten",
    "Gap",
    "Interrupted",
    "InvalidUse",
    "Item",
    "Lost",
    "Message",
    "NotControlled",
    "NotDelivered",
    "Notice",
    "Position",
    "Problem",
    "PublishRefused",
    "Refused",
    "Replaced",
    "Reset",
    "Subscription",
    "TidewireError",
    "ToolCall",
    "Unauthenticated",
    "Unreachable",
    "Unsubscribed",
]
