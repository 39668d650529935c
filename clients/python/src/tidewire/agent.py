"""An agent: one process that publishes, with a lease, and hears what clients want of it.

    async with Agent(url, key, producer="finance") as agent:
        async with agent.message("/chat/42") as m:
            await m.delta("Hel")

What is published is handed over at once and sent in batches; it is repeated through cuts and restarts of the broker
until it is acknowledged, and is in the log once, in order. Leaving the block waits for that.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal

from .attachment import DEFAULT_LEASE, LEASES
from .control import ControlEvent
from .endpoint import Endpoint, TokenSource
from .errors import BufferFull, Closed, InvalidUse, NotDelivered, Problem, PublishRefused, TidewireError
from .message import AgentMessage, is_cancellation
from .new_event import NewEvent, Other, checked_id, checked_topic, new_event
from .notices import Notices, OnNotice, log
from .publisher import Hooks, Publisher
from .signal import Signal
from .window import Abandoned, Bounds

#: Control events of a topic that wait for `commands`, as many as the broker keeps; then the oldest goes. Topics are
#: bounded by those of a connection.
COMMANDS = 64
#: Seconds for the last words of an agent that is left by an exception.
HURRY = 5.0


class Command:
    """What a client said to the agents of a topic: `run.cancel`, `run.steer`, `run.approve` or another `run.*`."""

    def __init__(self, event: ControlEvent, agent: Agent) -> None:
        self._event = event
        self._agent = agent

    @property
    def topic(self) -> str:
        """Where it was said."""
        return self._event.topic

    @property
    def type(self) -> str:
        """`run.cancel`, `run.steer`, `run.approve` or another `run.*`."""
        return self._event.type

    @property
    def data(self) -> Any:
        """What was said, as the client published it."""
        return self._event.data

    @property
    def message_id(self) -> str | None:
        """The message that it is about; None: the whole run."""
        return self._event.message_id

    @property
    def source(self) -> str | None:
        """Who said it."""
        return self._event.source

    def acknowledge(self) -> None:
        """This agent deals with it: the broker need not keep it for others. Going on in the loop does so by itself,
        unless it names a message that this agent is not writing."""
        self._agent._acknowledge(self._event)

    def __repr__(self) -> str:
        return f"Command({self.type!r}, {self.data!r}, topic={self.topic!r})"


class ToolCall:
    """A tool that is being called. Made by `Agent.tool`."""

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self._members: dict[str, Any] = {}

    def result(self, **members: Any) -> None:
        """What `tool.completed` tells beside the call's id and name."""
        self._members.update(members)


class Agent:
    """See the module."""

    def __init__(
        self,
        url: str,
        key: TokenSource = None,
        *,
        producer: str,
        lease: float = DEFAULT_LEASE,
        when_full: Literal["wait", "raise"] = "wait",
        bounds: Bounds | None = None,
        keep: int = 8 << 20,
        connect_timeout: float | None = 10.0,
        close_timeout: float | None = 60.0,
        on_notice: OnNotice = None,
    ) -> None:
        """`key`: an API key or token, or a function that gives one. `producer`: the agent's name; a newer run of the
        same name replaces this one. `lease`: seconds (1 to 600) that it may be gone before the broker ends its open
        messages. `when_full`: whether publishing waits for room or raises `BufferFull`. `keep`: bytes of acknowledged
        text of open messages that are kept for a broker that forgets. `connect_timeout`: seconds to try for the very
        first connection, and `close_timeout` for the last acknowledgement; None: for ever. `on_notice`: told what
        happens to the line."""
        if not LEASES[0] <= lease <= LEASES[1]:
            raise InvalidUse(f"a lease is {LEASES[0]:g} to {LEASES[1]:g} seconds, not {lease!r}")
        if when_full not in ("wait", "raise"):
            raise InvalidUse(f"when_full is `wait` or `raise`, not {when_full!r}")
        if keep < 0:
            raise InvalidUse(f"`keep` is a number of bytes, not {keep!r}")
        self._endpoint = Endpoint(url, key)
        self.producer = checked_id(producer, "a producer's name")
        self._lease = lease
        self._when_full = when_full
        self._bounds = bounds or Bounds()
        self._keep = keep
        self._connect_timeout = connect_timeout
        self._close_timeout = close_timeout
        self._notices = Notices(on_notice)
        self._running: Publisher | None = None
        self._messages: dict[tuple[str, str], AgentMessage] = {}
        self._commands: dict[str, deque[ControlEvent]] = {}
        self._readers: dict[str, int] = {}
        #: For those who wait for what is told about a topic.
        self._told: dict[str, Signal] = {}
        #: Topics that the broker does not tell this agent about.
        self._deaf: dict[str, Problem] = {}
        #: The block was left: nothing new is taken over.
        self._closing = False
        #: The first refusal that nobody was told of.
        self._untold: PublishRefused | None = None

    async def __aenter__(self) -> Agent:
        """Connects and attaches. Raises `Unreachable`, `Unauthenticated`, `NotTidewire` and other `ConnectionEnded`."""
        if self._running:
            raise InvalidUse("an Agent is entered once: make another one")
        self._running = Publisher(
            self._endpoint,
            self.producer,
            lease=self._lease,
            bounds=self._bounds,
            keep=self._keep,
            connect_timeout=self._connect_timeout,
            notices=self._notices,
            hooks=Hooks(
                self._on_control,
                self._on_ended,
                self._on_refused,
                self._on_demand,
                self._on_deaf,
                self._wake,
                self._on_unheard,
            ),
        )
        try:
            await self._running.until_ready()
        except BaseException:
            await self._close(0.0, quietly=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._publisher.progress.changed()
        self._wake()
        # those that other tasks still write: nobody can go on with them
        reason = "cancelled" if is_cancellation(error) else "error"
        for message in list(self._messages.values()):
            message._take_closed(reason)
        if error is None:
            await self._close(self._close_timeout, quietly=False)
            self._raise_untold()
        else:
            hurry = HURRY if self._close_timeout is None else min(HURRY, self._close_timeout)
            await self._close(hurry, quietly=True)

    def message(
        self, topic: str, id: str | None = None, *, role: str | None = "assistant", **members: Any
    ) -> AgentMessage:
        """An answer, to be written in `async with`. It completes when the block is left, and is interrupted by an
        exception (`error`), by a cancellation, and where it is left after a client's `run.cancel` (`cancelled`).
        `members` go with `message.started`: `agent`, `parent_id`, `metadata`, …; without any, and with `role=None`,
        the first delta begins it."""
        started = {name: value for name, value in {"role": role, **members}.items() if value is not None}
        return AgentMessage(self, topic, id or f"m-{secrets.token_hex(8)}", started)

    async def publish(self, topic: str, type: str, data: Any, *, id: str | None = None) -> None:
        """Publishes any event. Returns when it was handed over: `flush` waits until the broker has it."""
        await self._publish(checked_topic(topic), new_event(type, data, id))

    async def memory(
        self,
        topic: str,
        memory_id: str,
        change: Literal["created", "updated", "deleted"] = "updated",
        **members: Any,
    ) -> None:
        """Tells that something is remembered, has changed, or is forgotten."""
        if change not in ("created", "updated", "deleted"):
            raise InvalidUse(f"a memory is created, updated or deleted, not {change!r}")
        await self.publish(topic, f"memory.{change}", {"memory_id": memory_id, **members})

    async def navigate(self, topic: str, to: str, *, params: Any = None, replace: bool = False) -> None:
        """Asks the application to move the user somewhere."""
        data: dict[str, Any] = {"to": to}
        if params is not None:
            data["params"] = params
        if replace:
            data["replace"] = True
        await self.publish(topic, "navigation.requested", data)

    @asynccontextmanager
    async def tool(
        self, topic: str, name: str, *, call_id: str | None = None, **members: Any
    ) -> AsyncIterator[ToolCall]:
        """Tells that a tool is called, and how it went: `tool.started`, then `tool.completed` with what was given to
        `ToolCall.result`, or `tool.failed` if the block raises."""
        call = ToolCall(call_id or f"c-{secrets.token_hex(8)}")
        about = {"call_id": call.id, "name": name}
        await self.publish(topic, "tool.started", {**about, **members})
        try:
            yield call
        except BaseException as error:
            if self.failed is None:
                why = str(error) or error.__class__.__name__
                self._push(checked_topic(topic), new_event("tool.failed", {**about, "error": why[:4096]}))
            raise
        await self.publish(topic, "tool.completed", {**about, **call._members})

    async def commands(self, topic: str) -> AsyncIterator[Command]:
        """What clients say to the agents of that topic (`run.*`), each once. Ends when the agent is closed. Raises
        `Problem` where the broker does not let this agent hear it."""
        self._listen(topic)
        try:
            waiting = self._commands[topic]
            while await self._hears(topic, lambda: bool(waiting)):
                command = Command(waiting.popleft(), self)
                yield command
                if command.message_id is None or (topic, command.message_id) in self._messages:
                    command.acknowledge()
        finally:
            self._unlisten(topic)

    def readers(self, topic: str) -> int | None:
        """How many read a topic, as the broker said last. Known while a message is written there, or `commands` or
        `demand` are listened to; None: not yet."""
        return self._readers.get(topic)

    async def demand(self, topic: str) -> AsyncIterator[int]:
        """How many read the topic: at once, and whenever that changes (a fall is told after five seconds, so that a
        reload does not look like leaving). At 0 nobody waits for what the agent would say. Ends when the agent is
        closed. Raises `Problem` where the broker does not let this agent know."""
        self._listen(topic)
        try:
            told: int | None = None

            def changed() -> bool:
                return self._readers.get(topic, told) != told

            while await self._hears(topic, changed):
                told = self._readers[topic]
                yield told
        finally:
            self._unlisten(topic)

    async def flush(self) -> None:
        """Waits until the broker has all that was published. Raises `PublishRefused` for what it will never have."""
        await self._until(lambda: self._publisher.is_empty)
        self._raise_untold()

    @property
    def failed(self) -> TidewireError | None:
        """Why nothing can be published any more; None: it can."""
        return self._publisher.failed

    @property
    def outstanding(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._publisher.room.events

    # for its messages

    @property
    def _publisher(self) -> Publisher:
        if self._running is None:
            raise InvalidUse("the agent is not connected: use it in `async with Agent(…) as agent:`")
        return self._running

    async def _publish(self, topic: str, event: NewEvent) -> None:
        publisher = self._publisher
        if publisher.failed:
            raise publisher.failed
        self._check_open()
        if not publisher.room.left:
            if self._when_full == "raise":
                raise BufferFull(
                    f"{publisher.room.events} events of {publisher.room.bytes} bytes wait for the broker: publish it later"
                )
            await publisher.wait_until(lambda: publisher.room.left)
            self._check_open()
        self._push(topic, event)

    def _push(self, topic: str, event: NewEvent) -> None:
        limit = self._publisher.max_event_bytes
        if isinstance(event, Other) and len(event) > limit:
            raise InvalidUse(
                f"a `{event.type}` of {len(event)} bytes: the broker takes {limit}; publish less in one event"
            )
        self._publisher.push(topic, event)

    async def _until(self, reached: Callable[[], bool], told: Signal | None = None) -> None:
        await self._publisher.wait_until(reached, told)

    def _check_open(self) -> None:
        if self._closing:
            raise Closed("the agent's block was left, and it takes nothing over any more: make another one")

    def _begin(self, message: AgentMessage) -> None:
        key = (message.topic, message.id)
        if key in self._messages:
            raise InvalidUse(f"the message {message.id} is being written already")
        self._publisher  # noqa: B018 - it says so if there is none
        self._check_open()
        self._listen(message.topic)
        self._messages[key] = message

    def _leave(self, message: AgentMessage) -> None:
        del self._messages[message.topic, message.id]
        self._unlisten(message.topic)

    def _acknowledge(self, event: ControlEvent) -> None:
        self._publisher.acknowledge(event)

    # what it hears

    def _listen(self, topic: str) -> None:
        self._publisher.listen(checked_topic(topic))
        self._commands.setdefault(topic, deque(maxlen=COMMANDS))

    def _unlisten(self, topic: str) -> None:
        self._publisher.release(topic)

    async def _hears(self, topic: str, reached: Callable[[], bool]) -> bool:
        """Waits for something to be told about a topic; False: the agent is closed."""

        def looked() -> bool:
            if self._closing:
                return True
            if topic in self._deaf:
                raise self._deaf[topic]
            return reached()

        await self._publisher.wait_until(looked, self._told.setdefault(topic, Signal()))
        return not self._closing

    def _wake(self, topic: str | None = None) -> None:
        """Something changed, for those who wait for what is told about a topic, or for all who wait."""
        if topic is not None:
            if topic in self._told:
                self._told[topic].changed()
            return
        for signal in self._told.values():
            signal.changed()
        for message in self._messages.values():
            message._changed.changed()

    def _on_unheard(self, topic: str) -> None:
        self._commands.pop(topic, None)
        self._readers.pop(topic, None)
        self._deaf.pop(topic, None)
        self._told.pop(topic, None)

    def _on_demand(self, topic: str, readers: int) -> None:
        self._readers[topic] = readers
        self._deaf.pop(topic, None)
        self._wake(topic)

    def _on_deaf(self, problem: Problem) -> None:
        if problem.topic is not None and not problem.passes:
            self._deaf[problem.topic] = problem
            self._wake(problem.topic)

    def _on_control(self, event: ControlEvent) -> None:
        about = event.message_id
        if event.type == "run.cancel":
            named = [m for (topic, id), m in self._messages.items() if topic == event.topic and about in (None, id)]
            for message in named:
                message._take_cancel(event)
            if named:
                self._acknowledge(event)
        self._commands.setdefault(event.topic, deque(maxlen=COMMANDS)).append(event)
        self._wake(event.topic)

    def _on_ended(self, topic: str, message_id: str) -> None:
        message = self._messages.get((topic, message_id))
        if message:
            message._take_ended()

    def _on_refused(self, topic: str, abandoned: Abandoned, error: PublishRefused) -> None:
        gone = {event.message_id for event in abandoned.events}
        for (its_topic, its_id), message in self._messages.items():
            if its_topic == topic and (abandoned.whole_topic or its_id in gone):
                message._take_refused(error)
                gone.discard(its_id)
        if gone:
            # no message is being written that could raise it: `flush`, or leaving the agent, does
            log.error("%s: %d events were refused: %s", topic, len(abandoned.events), error)
            self._untold = self._untold or error

    def _raise_untold(self) -> None:
        untold, self._untold = self._untold, None
        if untold:
            raise untold

    async def _close(self, patience: float | None, quietly: bool) -> None:
        try:
            await self._publisher.close(patience)
        except TidewireError as error:
            if not quietly:
                raise
            if isinstance(error, NotDelivered) and error.events:
                log.error("%s", error)
