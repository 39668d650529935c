"""Notices a dead connection: silence is answered by a ping, and 2.5 × `ping_ms` of it by giving up.

The broker pings after `ping_ms` of its own; this side waits a quarter longer, so that normally only one of the two
speaks. All times are seconds, by a clock that the caller reads.
"""

from __future__ import annotations

from typing import Literal

#: Whatever the broker says, a line is not pinged more often than after so many seconds, nor less often.
SHORTEST, LONGEST = 0.2, 300.0

Beat = Literal["nothing", "ping", "dead"]


class Heartbeat:
    """See the module."""

    def __init__(self, ping: float, now: float) -> None:
        """`ping` is the broker's `ping_ms`, in seconds."""
        self._ping = min(max(ping, SHORTEST), LONGEST)
        self._heard = now
        self._pinged = False

    def heard(self, now: float) -> None:
        """Any byte from the other side, at that time."""
        if now > self._heard:
            self._heard = now
            self._pinged = False

    def due(self, now: float) -> Beat:
        silence = now - self._heard
        if silence >= self.dead_after:
            return "dead"
        if silence >= self._ping * 1.25 and not self._pinged:
            self._pinged = True
            return "ping"
        return "nothing"

    @property
    def next(self) -> float:
        """When to ask `due` again."""
        return self._heard + (self.dead_after if self._pinged else self._ping * 1.25)

    @property
    def dead_after(self) -> float:
        return self._ping * 2.5
