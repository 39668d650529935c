"""A client: reads topics, and says things to the agents of a topic.

async for item in Client(url, token).subscribe(["/chat/42"]):
    if isinstance(item, Event) and item.message:
        print(item.message.text)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from . import _types as wire
from . import endings, errors
from .connection import Connection
from .endpoint import Endpoint, TokenSource
from .errors import ConnectionEnded, InvalidUse, Problem, PublishRefused
from .fold import Message
from .lifeline import Lifeline
from .new_event import checked_topic, new_event
from .notices import Notices, OnNotice
from .position import Position
from .reader import Event, Lost, Refused, Unsubscribed
from .subscriber import Subscription
from .wire import encode

#: Seconds in which the broker answers to a publish.
ANSWER = 10.0


class Client:
    """See the module. It holds no connection of its own: each subscription has one."""

    def __init__(
        self,
        url: str,
        token: TokenSource = None,
        *,
        connect_timeout: float | None = 10.0,
        on_notice: OnNotice = None,
    ) -> None:
        """`token`: a token or API key, or a function that gives one (it is asked for each connection). `connect_timeout`:
        seconds to try for the very first connection; None: for ever. `on_notice`: told what happens to the line."""
        self._endpoint = Endpoint(url, token)
        self._connect_timeout = connect_timeout
        self._notices = Notices(on_notice)

    def subscribe(
        self,
        topics: Sequence[str] | Mapping[str, str | Position],
        *,
        start: str | Position = "snapshot",
        replay: Literal["raw", "compact"] | None = None,
        coalesce_ms: int | None = None,
        types: Sequence[str] = (),
    ) -> Subscription:
        """Reads topics. `start` says where: `snapshot` (open messages whole, then what comes), `live`, `start` (all that
        is kept), `last:N`, or a position; a mapping gives each topic its own. `coalesce_ms`: deltas gather for so long.
        `types`: only these, such as `token.*`."""
        if isinstance(topics, str):
            topics = [topics]
        begins: dict[str, str | Position]
        begins = dict(topics) if isinstance(topics, Mapping) else dict.fromkeys(topics, start)
        return Subscription(
            self._endpoint,
            begins,
            replay=replay,
            coalesce_ms=coalesce_ms,
            types=types,
            connect_timeout=self._connect_timeout,
            notices=self._notices,
        )

    async def messages(
        self, topic: str, *, start: str | Position = "snapshot", coalesce_ms: int = 40
    ) -> AsyncIterator[Message]:
        """The messages of a topic, each whenever it grew or ended. It is the same object each time: `text` and `state`
        are what is known now. Raises `Problem` where the broker refuses the topic, or ends the reading of it."""
        async with self.subscribe({topic: start}, coalesce_ms=coalesce_ms) as subscription:
            async for item in subscription:
                if isinstance(item, (Event, Lost)) and item.message:
                    yield item.message
                elif isinstance(item, Refused):
                    raise item.problem
                elif isinstance(item, Unsubscribed):
                    code: Any = item.code
                    raise Problem({"op": "error", "code": code, "message": item.reason, "topic": topic})

    async def publish(self, topic: str, type: str, data: Any) -> int | None:
        """Publishes one event, once, and returns its seq when the broker has it. For what a person does now and then;
        an `Agent` is for streams. What goes wrong on the way is tried again for `connect_timeout`; then it is raised, and
        the event may or may not be in the log."""
        # by the event's id the broker knows a repetition
        event = new_event(type, data, f"e-{secrets.token_hex(12)}").json()
        frame = f'{{"op":"publish","id":1,"topic":{encode(checked_topic(topic))},"events":[{event}]}}'
        lifeline = Lifeline(self._endpoint, self._notices, self._connect_timeout)
        while True:
            connection: Connection | None = None
            try:
                connection = await lifeline.connect()
                answer = await _answered(connection, frame)
                lifeline.works()
                await connection.close()
                return answer["first_seq"]
            except ConnectionEnded as ending:
                lifeline.ended(ending)
            finally:
                if connection:
                    connection.abort()

    async def cancel(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Asks the agents of a topic to stop: that message, or all they do."""
        await self._say("run.cancel", topic, message_id, members)

    async def steer(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Tells the agents of a topic something while they work."""
        await self._say("run.steer", topic, message_id, members)

    async def approve(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Allows the agents of a topic what they asked for."""
        await self._say("run.approve", topic, message_id, members)

    async def _say(self, type: str, topic: str, message_id: str | None, members: dict[str, Any]) -> None:
        await self.publish(topic, type, members if message_id is None else {"message_id": message_id, **members})


async def _answered(connection: Connection, frame: str) -> wire.Published:
    if len(frame.encode()) > connection.limits.max_frame_bytes:
        raise InvalidUse(
            f"an event for a frame of {connection.limits.max_frame_bytes} bytes at most: publish less in one"
        )
    connection.send(frame)
    try:
        return await asyncio.wait_for(_answer(connection), ANSWER)
    except asyncio.TimeoutError:
        raise errors.Disagreement(f"the broker has not answered to a publish for {ANSWER:g} s") from None


async def _answer(connection: Connection) -> wire.Published:
    while True:
        answer = await connection.next()
        if answer["op"] == "published":
            return answer
        if answer["op"] == "error":
            problem = Problem(answer)
            if problem.passes or problem.frame.get("id") is None:
                raise endings.of_problem(problem)
            raise PublishRefused(answer)
