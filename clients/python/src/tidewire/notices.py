"""What a person may want to know on the way: it goes to the log, and to the function that the application gave.

A function that throws is logged and changes nothing for the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .errors import ConnectionEnded
from .window import Loss

log = logging.getLogger("tidewire")


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The line is down; the client comes back by itself."""

    why: ConnectionEnded
    retry_in: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Back:
    """Connected again."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The broker is going to close the connection; the client comes back by itself."""

    reconnect_after: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The broker had forgotten what was published to a topic (a restart without a disk); it is told again."""

    topic: str
    loss: Loss


@dataclass(frozen=True, slots=True)
class NotControlled:
    """The broker does not tell this agent about this topic: `run.cancel` is not heard, nor how many read it."""

    topic: str
    why: str


Notice = Disconnected | Back | Draining | Forgotten | NotControlled
OnNotice = Callable[[Notice], object] | None


class Notices:
    """See the module."""

    def __init__(self, on_notice: OnNotice) -> None:
        self._on_notice = on_notice

    def tell(self, notice: Notice) -> None:
        match notice:
            case Disconnected(why, retry_in):
                log.warning("disconnected: %s; back in %.1f s", why, retry_in)
            case Forgotten(topic, loss):
                log.warning("%s: the broker had forgotten (%s), %d bytes are missing", topic, loss.kind, loss.missing)
            case NotControlled(topic, why):
                log.warning("%s: what clients say to agents is not heard: %s", topic, why)
            case _:
                log.info("%s", notice)
        if self._on_notice:
            guarded(self._on_notice, notice)


def guarded(callback: Callable[..., object], *arguments: object) -> None:
    """Calls a function of the application; what it throws is logged."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback threw; the connection goes on")
