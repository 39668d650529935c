"""The same without asyncio: for scripts, notebooks and threads.

    with Agent(url, key, producer="finance") as agent:
        with agent.message("/chat/42") as m:
            m.delta("Hel")

Each `Agent` and each subscription runs the asynchronous one on an event loop in a thread of its own, so leases and
reconnects go on while the caller thinks. Methods may be called from any thread, also where an event loop runs already
(a notebook). What still waits when the agent or subscription is closed ends with `Closed`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from . import agent as _agent
from . import client as _client
from . import message as _message
from .agent import HURRY, Command, ToolCall
from .attachment import DEFAULT_LEASE
from .control import ControlEvent
from .endpoint import TokenSource
from .errors import Closed, InvalidUse, TidewireError
from .fold import Message
from .notices import OnNotice
from .position import Position
from .reader import Item
from .subscriber import Subscription as _Subscription
from .window import Bounds

__all__ = ["Agent", "AgentMessage", "Client", "Subscription"]

_T = TypeVar("_T")


class _Handed(Generic[_T]):
    """Work that was handed over to a loop of another thread."""

    def __init__(self, work: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> None:
        self.done: Future[_T] = Future()
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[_T] | None = None
        loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.done.set_exception(Closed("it was closed while this waited"))
        elif error := task.exception():
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())

    def cancel(self) -> None:
        """Its caller waits no more (a KeyboardInterrupt): it must not go on unseen, and what comes next must find it
        ended."""
        if not self.done.done():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
            wait([self.done], HURRY)


class _Loop:
    """An event loop in a thread. What is handed over either runs to its end or ends with `Closed`: nobody waits for a
    loop that has stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tidewire", daemon=True)
        self._thread.start()
        self._stopped = False
        #: Held while something is handed over, so that nothing comes behind the last.
        self._gate = threading.Lock()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        with self._gate:
            if self._stopped:
                work.close()
                raise Closed("it was closed, and cannot be used any more: make another one")
            if threading.current_thread() is self._thread:
                work.close()
                raise InvalidUse("this waits, and it was called where nothing may wait: a callback of this very agent")
            handed = _Handed(work, self._loop)
        try:
            return handed.done.result()
        except BaseException:
            handed.cancel()
            raise

    def call(self, function: Callable[[], _T]) -> _T:
        async def called() -> _T:
            return function()

        return self.run(called())

    def stop(self) -> None:
        """Ends what still runs, and the thread."""
        with self._gate:
            if self._stopped:
                return
            self._stopped = True
            last = _Handed(self._end(), self._loop)
        try:
            last.done.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """One piece of work on a loop of its own."""
    loop = _Loop()
    try:
        return loop.run(work)
    finally:
        loop.stop()


class AgentMessage:
    """One answer that an agent writes: see `tidewire.AgentMessage`."""

    def __init__(self, loop: _Loop, message: _message.AgentMessage) -> None:
        self._loop = loop
        self._message = message

    @property
    def id(self) -> str:
        """Its `message_id`."""
        return self._message.id

    @property
    def topic(self) -> str:
        """Where it is written."""
        return self._message.topic

    @property
    def cancelled(self) -> bool:
        """A client asked for it to stop: stop, and leave the block."""
        return self._message.cancelled

    def on_cancel(self, callback: Callable[[ControlEvent], object]) -> None:
        """Calls it, in the agent's thread, when a client asks for it to stop."""
        self._loop.call(lambda: self._message.on_cancel(callback))

    def wait_cancelled(self) -> ControlEvent:
        """Returns when a client asks for it to stop; for a thread of its own."""
        return self._loop.run(self._message.wait_cancelled())

    def delta(self, text: str, *, kind: str = "text", part: int = 0) -> None:
        """Adds text."""
        self._loop.run(self._message.delta(text, kind=kind, part=part))

    def complete(self, *, text: str | None = None, finish_reason: str | None = None, usage: Any = None) -> None:
        """Ends it; leaving the block does so by itself."""
        self._loop.run(self._message.complete(text=text, finish_reason=finish_reason, usage=usage))

    def interrupt(self, reason: str = "error") -> None:
        """Ends it before it was complete."""
        self._loop.run(self._message.interrupt(reason))

    def __enter__(self) -> AgentMessage:
        self._loop.run(self._message.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._message.__aexit__(kind, error, trace))


class Agent:
    """One process that publishes: see `tidewire.Agent`, whose arguments these are."""

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
        self._agent = _agent.Agent(
            url,
            key,
            producer=producer,
            lease=lease,
            when_full=when_full,
            bounds=bounds,
            keep=keep,
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            on_notice=on_notice,
        )
        self._running: _Loop | None = None

    def __enter__(self) -> Agent:
        if self._running:
            raise InvalidUse("an Agent is entered once: make another one")
        self._running = _Loop()
        try:
            self._running.run(self._agent.__aenter__())
        except BaseException:
            self._running.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loop.run(self._agent.__aexit__(kind, error, trace))
        finally:
            self._loop.stop()

    def message(
        self, topic: str, id: str | None = None, *, role: str | None = "assistant", **members: Any
    ) -> AgentMessage:
        """An answer, to be written in `with`."""
        return AgentMessage(self._loop, self._agent.message(topic, id, role=role, **members))

    def publish(self, topic: str, type: str, data: Any, *, id: str | None = None) -> None:
        """Publishes any event."""
        self._loop.run(self._agent.publish(topic, type, data, id=id))

    def memory(
        self, topic: str, memory_id: str, change: Literal["created", "updated", "deleted"] = "updated", **members: Any
    ) -> None:
        """Tells that something is remembered, has changed, or is forgotten."""
        self._loop.run(self._agent.memory(topic, memory_id, change, **members))

    def navigate(self, topic: str, to: str, *, params: Any = None, replace: bool = False) -> None:
        """Asks the application to move the user somewhere."""
        self._loop.run(self._agent.navigate(topic, to, params=params, replace=replace))

    @contextmanager
    def tool(self, topic: str, name: str, *, call_id: str | None = None, **members: Any) -> Iterator[ToolCall]:
        """Tells that a tool is called, and how it went."""
        around = self._agent.tool(topic, name, call_id=call_id, **members)
        call = self._loop.run(_entered(around))
        try:
            yield call
        except BaseException as error:
            self._loop.run(_left(around, error))
            raise
        self._loop.run(_left(around, None))

    def commands(self, topic: str) -> Iterator[Command]:
        """What clients say to the agents of that topic (`run.*`), each once."""
        return _iterated(self._loop, self._agent.commands(topic))

    def readers(self, topic: str) -> int | None:
        """How many read a topic, as the broker said last. None: not known yet."""
        return self._agent.readers(topic)

    def demand(self, topic: str) -> Iterator[int]:
        """How many read the topic: at once, and whenever that changes."""
        return _iterated(self._loop, self._agent.demand(topic))

    def flush(self) -> None:
        """Waits until the broker has all that was published."""
        self._loop.run(self._agent.flush())

    @property
    def producer(self) -> str:
        """The agent's name."""
        return self._agent.producer

    @property
    def failed(self) -> TidewireError | None:
        """Why nothing can be published any more; None: it can."""
        return self._agent.failed

    @property
    def outstanding(self) -> int:
        """Events that the broker has not acknowledged."""
        return self._agent.outstanding

    @property
    def _loop(self) -> _Loop:
        if self._running is None:
            raise InvalidUse("the agent is not connected: use it in `with Agent(…) as agent:`")
        return self._running


class Subscription:
    """What a client reads: see `tidewire.Subscription`. Use it in `for`; leaving the loop closes it, unless it is used in
    `with`: then leaving that does."""

    def __init__(self, subscription: _Subscription) -> None:
        self._subscription = subscription
        #: Begins with the first item.
        self._loop: _Loop | None = None
        self._entered = self._closed = False

    def position(self, topic: str) -> Position | None:
        """Where the reading stands with all that was given out applied."""
        return self._subscription.position(topic)

    def messages(self, topic: str) -> list[Message]:
        """The messages of a topic as far as they were read."""
        return self._subscription.messages(topic)

    def __iter__(self) -> Iterator[Item]:
        try:
            if self._closed:
                return
            if self._loop is None:
                self._loop = _Loop()
            while True:
                try:
                    item = self._loop.run(_next(self._subscription))
                except Closed:
                    return  # by another thread, or by the one that reads
                if item is None:
                    return
                yield item
        finally:
            if not self._entered:
                self.close()

    def __enter__(self) -> Subscription:
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reads no more."""
        self._closed = True
        if self._loop:
            try:
                self._loop.run(self._subscription.close())
            except Closed:
                pass
            finally:
                self._loop.stop()


class Client:
    """Reads topics, and says things to the agents of a topic: see `tidewire.Client`, whose arguments these are."""

    def __init__(
        self, url: str, token: TokenSource = None, *, connect_timeout: float | None = 10.0, on_notice: OnNotice = None
    ) -> None:
        self._client = _client.Client(url, token, connect_timeout=connect_timeout, on_notice=on_notice)

    def subscribe(
        self,
        topics: Sequence[str] | Mapping[str, str | Position],
        *,
        start: str | Position = "snapshot",
        replay: Literal["raw", "compact"] | None = None,
        coalesce_ms: int | None = None,
        types: Sequence[str] = (),
    ) -> Subscription:
        """Reads topics."""
        return Subscription(
            self._client.subscribe(topics, start=start, replay=replay, coalesce_ms=coalesce_ms, types=types)
        )

    def messages(self, topic: str, *, start: str | Position = "snapshot", coalesce_ms: int = 40) -> Iterator[Message]:
        """The messages of a topic, each whenever it grew or ended."""
        loop = _Loop()
        try:
            yield from _iterated(loop, self._client.messages(topic, start=start, coalesce_ms=coalesce_ms))
        finally:
            loop.stop()

    def publish(self, topic: str, type: str, data: Any) -> int | None:
        """Publishes one event, once, and returns its seq when the broker has it."""
        return _run(self._client.publish(topic, type, data))

    def cancel(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Asks the agents of a topic to stop: that message, or all they do."""
        _run(self._client.cancel(topic, message_id, **members))

    def steer(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Tells the agents of a topic something while they work."""
        _run(self._client.steer(topic, message_id, **members))

    def approve(self, topic: str, message_id: str | None = None, **members: Any) -> None:
        """Allows the agents of a topic what they asked for."""
        _run(self._client.approve(topic, message_id, **members))


async def _entered(around: Any) -> ToolCall:
    call = await around.__aenter__()
    assert isinstance(call, ToolCall)
    return call


async def _left(around: Any, error: BaseException | None) -> None:
    try:
        await around.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except BaseException as raised:
        if raised is not error:
            raise


async def _next(subscription: _Subscription) -> Item | None:
    try:
        return await subscription.__anext__()
    except StopAsyncIteration:
        return None


def _iterated(loop: _Loop, items: AsyncIterator[_T]) -> Iterator[_T]:
    async def following() -> tuple[bool, _T | None]:
        try:
            return True, await items.__anext__()
        except StopAsyncIteration:
            return False, None

    async def closed() -> None:
        close = getattr(items, "aclose", None)
        if close:
            await close()

    try:
        while True:
            try:
                more, item = loop.run(following())
            except Closed:
                return  # by another thread
            if not more:
                return
            yield item  # type: ignore[misc]
    finally:
        with suppress(Closed):
            loop.run(closed())
