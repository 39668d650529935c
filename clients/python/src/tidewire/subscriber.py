"""Reading topics: one connection for all of them, which comes back by itself with their positions.

The caller pulls (`async for`): while it does not, little is read from the socket, and the broker keeps what it owes
at the position, not in a queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Literal, cast

from . import _types as wire
from . import endings, errors
from .connection import Connection
from .endpoint import Endpoint
from .errors import ConnectionEnded, InvalidUse, Problem
from .fold import Message
from .lifeline import Lifeline
from .new_event import checked_topic
from .notices import Notices
from .position import Position, checked_begin
from .reader import Item, Reader
from .reading import OutOfStep
from .window import LONGEST_PAUSE
from .wire import seconds

#: Seconds before a topic that was refused for a passing reason is asked for again.
ASK_AGAIN = 1.0
#: Seconds in which the broker answers to each topic that is asked for; after that it is asked over a new connection.
ANSWER = 60.0
#: Seconds of them that are left to a caller who comes late: the answer may lie there already.
_GRACE = 5.0
#: Topics of one frame: with names of any length it stays well within what the broker takes.
_ASKED_AT_ONCE = 200


class Subscription:
    """See the module. Made by `Client.subscribe`; use it in `async for`. Leaving the loop closes it, unless it is used in
    `async with`: then leaving that does."""

    def __init__(
        self,
        endpoint: Endpoint,
        topics: Mapping[str, str | Position],
        *,
        replay: Literal["raw", "compact"] | None,
        coalesce_ms: int | None,
        types: Sequence[str],
        connect_timeout: float | None,
        notices: Notices,
    ) -> None:
        if not topics:
            raise InvalidUse("there is nothing to read: name one topic at least")
        self._replay, self._coalesce_ms, self._types = (
            replay,
            coalesce_ms,
            [types] if isinstance(types, str) else list(types),
        )
        self._reader = Reader(
            {checked_topic(topic): checked_begin(begin) for topic, begin in topics.items()}, self._types
        )
        self._lifeline = Lifeline(endpoint, notices, connect_timeout)
        self._connection: Connection | None = None
        self._items: Iterator[Item] = iter(())
        #: When to ask again for topics that were refused for a while.
        self._ask_again: float | None = None
        #: Topics that were asked for and not answered yet, and when that is too long ago.
        self._asked: set[str] = set()
        self._answers_due = 0.0
        self._next_id = 1
        self._closed = False
        self._entered = False

    def position(self, topic: str) -> Position | None:
        """Where the reading stands with all that was given out applied: store it as text, and give it as `from` to go
        on from there. Where the text of open messages is not stored with it, store `position.without_text()`."""
        return self._reader.positions.get(topic)

    def messages(self, topic: str) -> list[Message]:
        """The messages of a topic as far as they were read, in order of first appearance: all that are open, and the
        last 256 that ended."""
        return self._reader.messages(topic)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self if self._entered else self._until_left()

    async def __anext__(self) -> Item:
        """The next item. Ends when no topic is read any more; an error is final."""
        while not self._closed:
            item = next(self._items, None)
            if item is not None:
                return item
            if not self._reader.topics:
                break
            await self._step()
        await self.close()
        raise StopAsyncIteration

    async def _until_left(self) -> AsyncIterator[Item]:
        try:
            while True:
                try:
                    item = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await self.close()

    async def __aenter__(self) -> Subscription:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Reads no more."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    async def _step(self) -> None:
        try:
            if self._connection is None:
                self._connection = await self._lifeline.connect()
                self._reader.on_connected()
                self._subscribe(self._connection)
                self._lifeline.works()
            frame = await self._next_frame(self._connection)
            if frame is not None:
                self._items = self._taken(frame)
        except ConnectionEnded as ending:
            connection, self._connection = self._connection, None
            if connection:
                connection.abort()
            self._lifeline.ended(ending)

    async def _next_frame(self, connection: Connection) -> wire.ServerFrame | None:
        if self._ask_again is None and not self._asked:
            return await connection.next()
        now = time.monotonic()
        waits = [self._ask_again - now] if self._ask_again is not None else []
        if self._asked:
            waits.append(max(self._answers_due - now, _GRACE))
        try:
            return await asyncio.wait_for(connection.next(), max(min(waits), 0.0))
        except asyncio.TimeoutError:
            if self._ask_again is None:
                raise errors.Disagreement(f"the broker does not answer to a subscription within {ANSWER:g} s") from None
            self._subscribe(connection)
            return None

    def _taken(self, frame: wire.ServerFrame) -> Iterator[Item]:
        if frame["op"] == "draining":
            self._lifeline.draining(seconds(frame["reconnect_after_ms"]))
        elif frame["op"] == "events":
            self._lifeline.backoff.worked()
        elif frame["op"] == "subscribed":
            self._asked.discard(cast(wire.SubscribedTopic, frame).get("topic", ""))
        elif frame["op"] == "error":
            problem = Problem(frame)
            self._asked.discard(problem.topic or "")
            if problem.topic is None:
                raise endings.of_problem(problem)
            if problem.passes:
                after = ASK_AGAIN if problem.retry_after is None else min(problem.retry_after, LONGEST_PAUSE)
                at = time.monotonic() + after
                self._ask_again = max(at, self._ask_again or at)
        try:
            return self._reader.take(frame)
        except OutOfStep as error:
            raise errors.Disagreement(f"the broker said something unexpected: {error}") from error

    def _subscribe(self, connection: Connection) -> None:
        """Asks for every topic that is not read on this connection."""
        self._ask_again = None
        topics = self._reader.to_subscribe()
        if not topics:
            return
        self._asked = {topic["topic"] for topic in topics}
        self._answers_due = time.monotonic() + ANSWER
        for at in range(0, len(topics), _ASKED_AT_ONCE):
            part = topics[at : at + _ASKED_AT_ONCE]
            frame: wire.ClientSubscribe = {"op": "subscribe", "id": self._next_id, "topics": part}
            self._next_id += 1
            if self._replay:
                frame["replay"] = self._replay
            if self._coalesce_ms is not None:
                frame["coalesce_ms"] = self._coalesce_ms
            if self._types:
                frame["types"] = self._types
            connection.send(frame)
