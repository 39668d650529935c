"""How long to wait before connecting again: full jitter up to a bound that doubles from 0.5 s to 20 s.

The first retry after a connection that worked comes almost at once (a restarted broker, a cut line), yet spread
over `FIRST`, so that many clients do not return in the same instant. All times are seconds.
"""

from __future__ import annotations

#: The bound of the first, quick retry.
FIRST = 0.15
#: The bound of the second retry; it doubles with each further one.
BASE = 0.5
#: What the bound never exceeds.
CAP = 20.0


class Backoff:
    """Counts failures in a row."""

    def __init__(self, cap: float = CAP) -> None:
        """No wait is longer than `cap`, unless the broker asks for it."""
        self._cap = min(cap, CAP)
        self._failures = 0
        self._told: float | None = None

    def worked(self) -> None:
        """The connection did what it is for: the next retry is a first one again."""
        self._failures = 0

    def disagreed(self) -> None:
        """The two sides disagree; coming back quickly would only repeat it."""
        self._failures = max(self._failures, 3)

    def told(self, after: float) -> None:
        """The broker said when to come back (`reconnect_after_ms`, `retry_after_ms`); it counts once."""
        self._told = min(after, CAP)

    def next_wait(self, random: float) -> float:
        """The next wait. `random` is uniform in 0..1."""
        random = min(max(random, 0.0), 1.0)
        if self._told is not None:
            told, self._told = self._told, None
            return told + FIRST * random
        bound = FIRST if not self._failures else BASE * 2 ** min(self._failures - 1, 16)
        self._failures += 1
        return min(bound, self._cap) * random
