"""What can go wrong, each as a type of its own that says what to do.

Two kinds are told apart by type, so that a program never has to read a text:
- `Interrupted`: the connection is down, and coming back may help. The client does that by itself; it raises one
  only where it was told to be patient no longer (the very first connection).
- `Final`: coming back cannot help until somebody mends something. The client stops.
"""

from __future__ import annotations

from ._types import Error as ErrorFrame
from .wire import seconds

__all__ = [
    "BufferFull",
    "Busy",
    "Closed",
    "ClosedByBroker",
    "ConnectionEnded",
    "Cut",
    "Disagreement",
    "Final",
    "Forbidden",
    "Interrupted",
    "InvalidUse",
    "NewerServer",
    "NotDelivered",
    "NotTidewire",
    "NotTrusted",
    "Problem",
    "ProtocolViolation",
    "PublishRefused",
    "Replaced",
    "Silent",
    "TidewireError",
    "TooManyTopics",
    "Unauthenticated",
    "Unreachable",
]

#: Refusals after which the same request may succeed; what was refused left nothing behind, and with
#: `outcome_unknown` the repetition settles it.
PASSING = frozenset({"rate_limited", "storage_unavailable", "outcome_unknown", "draining"})


class TidewireError(Exception):
    """Everything that this package raises."""


class InvalidUse(TidewireError, ValueError):
    """The program asks for what cannot be: an address that is none, an event that is no JSON. Nothing was sent."""


class ConnectionEnded(TidewireError):
    """Why a connection could not be opened, or is no more."""

    kind = "ended"
    """One word for the kind of ending, for programs and logs."""
    may_come_back = False
    """Whether the same attempt may succeed later."""

    def __init__(self, message: str, *, code: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        #: The close code or HTTP status, if there was one.
        self.code = code
        #: Seconds after which the broker wants to be asked again, if it said so.
        self.retry_after = retry_after


class Interrupted(ConnectionEnded):
    """Coming back may help, and the client does."""

    kind = "interrupted"
    may_come_back = True


class Unreachable(Interrupted):
    """Nobody answers at that address."""

    kind = "unreachable"


class Cut(Interrupted):
    """The line broke."""

    kind = "cut"


class Silent(Interrupted):
    """Nothing came for so long that the line counts as dead."""

    kind = "silent"


class Busy(Interrupted):
    """The broker, or a proxy before it, asked to come later."""

    kind = "busy"


class ClosedByBroker(Interrupted):
    """The broker closed the connection and is fine with coming back."""

    kind = "closed"


class Disagreement(Interrupted):
    """The broker said something that contradicts what both sides know; it is read anew."""

    kind = "disagreement"


class Final(ConnectionEnded):
    """Coming back cannot help until somebody mends something."""

    kind = "final"


class Unauthenticated(Final):
    """The token or key is missing, wrong, expired or revoked: bring another one."""

    kind = "unauthenticated"


class Forbidden(Final):
    """This token or key may not do that here: get one with wider grants."""

    kind = "forbidden"


class Replaced(Final):
    """A newer run of the same producer took over: this one must stop."""

    kind = "replaced"


class NotTidewire(Final):
    """Something else answers at that address: a login page of the network, another server, a proxy."""

    kind = "not_tidewire"


class NotTrusted(NotTidewire):
    """The certificate of that address is not signed by anyone whom this machine trusts, or is for another name."""


class NewerServer(Final):
    """The broker does not speak this version of the protocol: update this package."""

    kind = "version"


class ProtocolViolation(Final):
    """The broker refuses what this client says: a bug, here or there."""

    kind = "protocol"


class Problem(TidewireError):
    """The broker refused a command. `code` is stable; what to do for each is in docs/protocol.md, section 13."""

    def __init__(self, frame: ErrorFrame) -> None:
        super().__init__(f"{frame['message']} ({frame['code']})")
        self.frame = frame
        self.code: str = frame["code"]
        self.topic: str | None = frame.get("topic")
        self.index: int | None = frame.get("index")
        self.expected_seq: int | None = frame.get("expected_seq")

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in PASSING

    @property
    def retry_after(self) -> float | None:
        """Seconds."""
        after = self.frame.get("retry_after_ms")
        return None if after is None else seconds(after)


class PublishRefused(Problem):
    """An event was refused for good, and is not in the log. What to do stands in `code` and the message."""


class BufferFull(TidewireError):
    """The broker takes less than is published, and the agent was made with `when_full="raise"`. The event was not
    taken over: publish it again later, or give the agent larger `bounds`."""


class NotDelivered(TidewireError):
    """The agent was closed, or told to stop, before all of it was acknowledged: `events` are not known to be in the
    log."""

    def __init__(self, events: int, why: str) -> None:
        super().__init__(f"{events} events were not acknowledged: {why}")
        self.events = events


class Closed(TidewireError):
    """The agent was closed, or its block was left, and cannot be used any more: make another one."""


class TooManyTopics(TidewireError):
    """One agent writes to too many topics at once: use a second agent with another producer id."""
