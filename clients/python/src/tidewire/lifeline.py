"""Coming back: one connection after the other, for as long as that can help.

What reading and publishing have in common: the wait before each attempt, patience with the very first one, a token
that is fetched anew where the old one was refused, and what is told about it.
"""

from __future__ import annotations

import asyncio
import random
import time

from .backoff import CAP, Backoff
from .connection import Connection
from .endpoint import Endpoint
from .errors import ConnectionEnded, Disagreement, Unauthenticated
from .notices import Back, Disconnected, Draining, Notices


class Lifeline:
    """See the module."""

    def __init__(self, endpoint: Endpoint, notices: Notices, connect_timeout: float | None, cap: float = CAP) -> None:
        """`connect_timeout`: seconds to try for the very first connection; None: for ever."""
        self._endpoint = endpoint
        self._notices = notices
        self._patience = connect_timeout
        self._begun = time.monotonic()
        self._connected_once = False
        self._told = False
        self._token_refused = False
        self._wait = 0.0
        self.backoff = Backoff(cap)

    async def connect(self) -> Connection:
        """Waits as long as it has to, and opens a connection. Raises what `ended` has to judge."""
        if self._wait:
            await asyncio.sleep(self._wait)
            self._wait = 0.0
        return await Connection.open(self._endpoint)

    def works(self) -> None:
        """The connection is of use."""
        self._connected_once = True
        self._token_refused = False
        if self._told:
            self._told = False
            self._notices.tell(Back())

    def draining(self, after: float) -> None:
        self.backoff.told(after)
        self._notices.tell(Draining(after))

    def renew(self) -> None:
        """The next connection is wanted for a reason of this side's own."""
        self._wait = self.backoff.next_wait(random.random())

    def ended(self, ending: ConnectionEnded) -> None:
        """Raises it if coming back cannot help, or was tried for long enough."""
        elapsed = time.monotonic() - self._begun
        if self._patience is not None and not self._connected_once and elapsed >= self._patience:
            raise ending
        if isinstance(ending, Unauthenticated) and self._endpoint.token_changes and not self._token_refused:
            # another token may be good; if it is refused as well, no third one is tried
            self._token_refused = True
        elif not ending.may_come_back:
            raise ending
        if isinstance(ending, Disagreement):
            self.backoff.disagreed()
        if ending.retry_after is not None:
            self.backoff.told(ending.retry_after)
        self._wait = self.backoff.next_wait(random.random())
        if self._patience is not None and not self._connected_once:
            self._wait = min(self._wait, max(self._patience - elapsed, 0.0))
        if not self._told:
            self._told = True
            self._notices.tell(Disconnected(ending, self._wait))
