"""One answer that an agent writes: `async with agent.message(topic) as m: await m.delta("Hel")`.

Invariants: it ends exactly once, with `message.completed` or `message.interrupted`; leaving the block waits until the
broker has the end, unless the block was left by an exception, which nothing must hold up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .control import ControlEvent
from .errors import Closed, InvalidUse, PublishRefused
from .new_event import checked_id, checked_topic, delta, new_event
from .notices import guarded
from .signal import Signal

if TYPE_CHECKING:
    from .agent import Agent


class AgentMessage:
    """See the module. Made by `Agent.message`."""

    def __init__(self, agent: Agent, topic: str, message_id: str, started: dict[str, Any]) -> None:
        self.topic = checked_topic(topic)
        self.id = checked_id(message_id, "a message_id")
        self._agent = agent
        self._started = started
        self._changed = Signal()
        self._begun = self._left = False
        self._ended = False
        #: The agent was closed while it was open.
        self._closed = False
        self._acknowledged = False
        self._refused: PublishRefused | None = None
        self._cancel: ControlEvent | None = None
        self._on_cancel: list[Callable[[ControlEvent], object]] = []

    @property
    def cancelled(self) -> bool:
        """A client asked for it to stop (`run.cancel`): stop, and leave the block."""
        return self._cancel is not None

    def on_cancel(self, callback: Callable[[ControlEvent], object]) -> None:
        """Calls it, on the event loop, when a client asks for it to stop; at once if one has already."""
        self._on_cancel.append(callback)
        if self._cancel:
            guarded(callback, self._cancel)

    async def wait_cancelled(self) -> ControlEvent:
        """Returns when a client asks for it to stop. Raises what makes that impossible: the message has ended or was
        refused, the agent was replaced."""

        def asked() -> bool:
            if self._refused:
                raise self._refused
            if self._left and self._cancel is None:
                raise Closed(f"the message {self.id} has ended: nobody can ask for it to stop any more")
            return self._cancel is not None

        await self._agent._until(asked, self._changed)
        assert self._cancel is not None
        return self._cancel

    async def delta(self, text: str, *, kind: str = "text", part: int = 0) -> None:
        """Adds text. `kind`: `text`, `reasoning` or `tool_input`; `part`: 0 to 65535.

        Waits while the agent's buffer is full, or raises `BufferFull`, as the agent was made. Raises `PublishRefused`
        once the broker has refused the message, for example because it was ended while the line was cut for longer
        than the lease."""
        self._check_open()
        await self._agent._publish(self.topic, delta(self.id, text, kind, part))

    async def complete(self, *, text: str | None = None, finish_reason: str | None = None, usage: Any = None) -> None:
        """Ends it; leaving the block does so by itself. `text`, if given, is the whole answer and replaces the
        deltas. Returns when the broker has it."""
        members = {"text": text, "finish_reason": finish_reason, "usage": usage}
        await self._end("message.completed", {name: value for name, value in members.items() if value is not None})

    async def interrupt(self, reason: str = "error") -> None:
        """Ends it before it was complete. Returns when the broker has it."""
        await self._end("message.interrupted", {"reason": reason})

    async def __aenter__(self) -> AgentMessage:
        if self._begun:
            raise InvalidUse("a message is entered once: begin another one with agent.message(…)")
        started = new_event("message.started", {"message_id": self.id, **self._started}) if self._started else None
        self._agent._begin(self)
        self._begun = True
        try:
            if started:
                await self._agent._publish(self.topic, started)
        except BaseException:
            self._agent._leave(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._closed:
                    self._agent._check_open()
                if not self._ended:
                    await (self.interrupt("cancelled") if self.cancelled else self.complete())
            elif not self._ended and self._refused is None and self._agent.failed is None:
                # handed over and not waited for; closing the agent sees to it
                asked = is_cancellation(error) or self.cancelled
                self._hand_over("message.interrupted", {"reason": "cancelled" if asked else "error"})
        finally:
            self._left = True
            self._agent._leave(self)
            self._changed.changed()

    async def _end(self, type: str, members: dict[str, Any]) -> None:
        self._check_open()
        self._hand_over(type, members)
        await self._agent._until(self._is_settled, self._changed)

    def _hand_over(self, type: str, members: dict[str, Any]) -> None:
        # an end goes beyond the bound: it is one event, and it makes room for others
        self._agent._push(self.topic, new_event(type, {"message_id": self.id, **members}))
        self._ended = True

    def _is_settled(self) -> bool:
        if self._refused:
            raise self._refused
        return self._acknowledged

    def _check_open(self) -> None:
        if self._refused:
            raise self._refused
        if not self._begun:
            raise InvalidUse("the message has not begun: use it in `async with agent.message(…) as m:`")
        if self._ended:
            self._agent._check_open()
            raise InvalidUse(f"the message {self.id} has ended: begin another one with agent.message(…)")

    # what the agent tells it

    def _take_cancel(self, event: ControlEvent) -> None:
        self._cancel = event
        self._changed.changed()
        for callback in self._on_cancel:
            guarded(callback, event)

    def _take_ended(self) -> None:
        self._acknowledged = True
        self._changed.changed()

    def _take_closed(self, reason: str) -> None:
        if not self._ended and self._refused is None and self._agent.failed is None:
            self._hand_over("message.interrupted", {"reason": reason})
            self._closed = True

    def _take_refused(self, error: PublishRefused) -> None:
        self._refused = error
        self._changed.changed()


def is_cancellation(error: BaseException | None) -> bool:
    """Somebody asked the program to stop."""
    return isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit, SystemExit))
