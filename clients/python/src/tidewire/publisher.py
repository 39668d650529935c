"""Publishing to any number of topics as one producer, in order, without loss and without doubling: the I/O around
`window`, with one connection that attaches on every reconnect before it publishes.

Invariants:
- a topic that was published to keeps its next seq for the life of the agent: beginning again at 1 in the same epoch
  would be taken for a repetition, and lost;
- nothing is dropped without `on_refused` or `failed`;
- a broker that takes publishes and answers none of them is left after `ANSWER`, and all is sent again.

Bounds: `Room` over all windows; `TOPICS` with something open or outstanding; `SEQS` topics that are remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from . import _types as wire
from . import endings, errors
from .attachment import CLAIM_ID, TOPICS, AnotherEpoch, Claim
from .connection import OPEN_TIMEOUT, Connection
from .control import ControlEvent, ControlInbox
from .endpoint import Endpoint
from .errors import Closed, ConnectionEnded, NotDelivered, Problem, PublishRefused, TidewireError, TooManyTopics
from .kept import Tally
from .lifeline import Lifeline
from .new_event import NewEvent
from .notices import Forgotten, NotControlled, Notices, guarded
from .signal import Signal
from .window import Abandoned, Bounds, Room, Settled, Window
from .wire import Limits, seconds

#: Topics whose next seq is remembered; one more needs another agent.
SEQS = 100_000
#: So that a short cut does not cost the lease.
_RETRIES_IN_A_LEASE = 4
#: Seconds without any answer while publishes wait for one. A line that needs so long for one publish is none.
ANSWER = 60.0


class _Renew(Exception):
    """The conversation goes on over a new connection."""


@dataclass(slots=True)
class Hooks:
    """What the owner is told, on the event loop."""

    on_control: Callable[[ControlEvent], object]
    #: The end of that message is in the log of that topic.
    on_ended: Callable[[str, str], object]
    #: This will never be in the log of that topic.
    on_refused: Callable[[str, Abandoned, PublishRefused], object]
    #: So many read that topic.
    on_demand: Callable[[str, int], object]
    #: The broker does not tell this agent about that topic.
    on_deaf: Callable[[Problem], object]
    #: Nothing goes on for now, or any more: whoever waits looks again.
    on_stopped: Callable[[], object]
    #: That topic is told about no more. What was said and is not acknowledged comes again when it is wanted again.
    on_unheard: Callable[[str], object]


class _Ids:
    """Numbers the publishes of a connection."""

    def __init__(self) -> None:
        self.last = CLAIM_ID

    def __iter__(self) -> _Ids:
        return self

    def __next__(self) -> int:
        self.last += 1
        return self.last


class Publisher:
    """See the module."""

    def __init__(
        self,
        endpoint: Endpoint,
        producer_id: str,
        *,
        lease: float,
        bounds: Bounds,
        keep: int,
        connect_timeout: float | None,
        notices: Notices,
        hooks: Hooks,
    ) -> None:
        self.room = Room(bounds)
        #: Something was acknowledged, attached or refused, or it failed.
        self.progress = Signal()
        #: Why nothing can be published any more.
        self.failed: TidewireError | None = None
        self.ready = False
        self._claim = Claim(producer_id, lease)
        self._keep = Tally(keep)
        self._notices = notices
        self._hooks = hooks
        self._lifeline = Lifeline(endpoint, notices, connect_timeout, lease / _RETRIES_IN_A_LEASE)
        self._ids = _Ids()
        self._windows: dict[str, Window] = {}
        #: The next seq of topics without a window.
        self._seqs: dict[str, int] = {}
        #: Windows that may have something to send, and those that will at some time: with very many topics neither may
        #: cost more than the one that is due.
        self._to_send: OrderedDict[Window, None] = OrderedDict()
        self._later: dict[Window, float] = {}
        #: The times of `_later`, and some that no longer hold.
        self._wakes: list[tuple[float, int, Window]] = []
        self._wake_numbers = count()
        #: Which window a publish on the wire is of.
        self._sent: dict[int, Window] = {}
        self._inbox = ControlInbox()
        #: How many want what is said to the agents of a topic.
        self._controlled: dict[str, int] = {}
        #: Topics of the present connection's claims.
        self._claimed: set[str] = set()
        #: Topics that this connection was refused.
        self._deaf: set[str] = set()
        #: The connection, while it may be published on.
        self._connection: Connection | None = None
        self._limits = Limits()
        #: When an answer came last, or was first waited for.
        self._answered_at = 0.0
        self._overdue: asyncio.TimerHandle | None = None
        #: Why this side dropped the line.
        self._dropped: ConnectionEnded | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._renewing = False
        self._closing = False
        #: The connection that `close` still says good-bye on.
        self._leaving: Connection | None = None
        self._driver = self._driving()

    # what its owner does

    async def until_ready(self) -> None:
        """Waits until the broker has let this producer in for the first time."""
        await self.wait_until(lambda: self.ready)

    async def wait_until(self, reached: Callable[[], bool], told: Signal | None = None) -> None:
        """Raises `failed` as soon as there is one. `told`: what changes where it is not `progress`, so that those who
        wait for one thing are not woken for every other."""

        def looked() -> bool:
            if self.failed:
                raise self.failed
            if self._driver.cancelled() and not self._closing:
                # whoever ends the event loop cancels all tasks at once; the last words are still to be said
                self._driver = self._driving()
            return reached()

        await (told or self.progress).wait_until(looked)

    def push(self, topic: str, event: NewEvent) -> None:
        """Hands an event over, even beyond the bound: the caller sees to the room."""
        if self.failed:
            raise self.failed
        window = self._windows.get(topic) or self._new_window(topic)
        window.push(event, time.monotonic())
        self._to_send[window] = None
        self._send()

    @property
    def is_empty(self) -> bool:
        """All of it is acknowledged, or was refused."""
        return self.room.events == 0

    @property
    def max_event_bytes(self) -> int:
        return self._limits.max_event_bytes

    def listen(self, topic: str) -> None:
        """Wants what clients say to the agents of that topic, and how many read it."""
        if topic not in self._controlled and len(self._controlled) >= TOPICS:
            raise TooManyTopics(f"an agent listens in at most {TOPICS} topics at once: use a second agent")
        self._controlled[topic] = self._controlled.get(topic, 0) + 1
        if self._connection and topic not in self._claimed:
            if len(self._claimed) >= TOPICS:
                # a connection cannot give topics back: a new one claims only those that are still wanted
                self._renewing = True
                self._connection.abort()
                return
            self._claimed.add(topic)
            self._connection.send(self._claim.frame([topic]))

    def release(self, topic: str) -> None:
        """Wants it once less. What is said still comes for as long as this connection lasts."""
        self._controlled[topic] -= 1
        if not self._controlled[topic]:
            del self._controlled[topic]

    def acknowledge(self, event: ControlEvent) -> None:
        """This agent deals with that event: the broker need not keep it for others."""
        acknowledgement = self._inbox.acknowledge(event)
        if acknowledgement and self._connection:
            self._connection.send(acknowledgement)

    async def close(self, patience: float | None) -> None:
        """Waits until everything is acknowledged, at most that many seconds, and says good-bye."""
        try:
            await asyncio.wait_for(self.wait_until(lambda: self.is_empty), patience)
        except asyncio.TimeoutError:
            why = f"the agent was closed after {patience:g} s of waiting; give it a longer `close_timeout`"
            raise NotDelivered(self.room.events, why) from None
        finally:
            connection, self._closing = self._connection, True
            self._leaving = connection
            self._driver.cancel()
            await asyncio.wait({self._driver})
            if connection:
                await connection.close()
            if self._timer:
                self._timer.cancel()
            lost = self.room.events
            closed = NotDelivered(lost, "the agent is closed") if lost else Closed("the agent is closed: make another")
            self.failed = self.failed or closed
            self._stopped()

    # the driver

    def _driving(self) -> asyncio.Task[None]:
        driver = asyncio.create_task(self._run())
        driver.add_done_callback(lambda _: self._stopped())
        return driver

    def _stopped(self) -> None:
        self.progress.changed()
        guarded(self._hooks.on_stopped)

    async def _run(self) -> None:
        try:
            while True:
                connection: Connection | None = None
                try:
                    connection = await self._lifeline.connect()
                    await self._attach(connection)
                    await self._converse(connection)
                except _Renew:
                    self._lifeline.renew()
                except ConnectionEnded as ending:
                    if self._renewing:
                        self._lifeline.renew()
                    else:
                        self._lifeline.ended(self._dropped or ending)
                finally:
                    self._disconnected()
                    if connection and connection is not self._leaving:
                        connection.abort()
        except TidewireError as error:
            self.failed = error
        except Exception as error:
            self.failed = TidewireError(f"a fault of the client, please report it: {error!r}")
            self.failed.__cause__ = error

    async def _attach(self, connection: Connection) -> None:
        wanted = list(self._controlled)
        self._claimed = set(wanted)
        for frame in self._claim.frames(wanted):
            connection.send(frame)
        try:
            await asyncio.wait_for(self._attached(connection), OPEN_TIMEOUT)
        except asyncio.TimeoutError:
            raise errors.Disagreement("the broker does not answer that an agent attaches") from None
        self._connection, self._limits = connection, connection.limits
        for topic in self._controlled.keys() - self._claimed:
            self._claimed.add(topic)
            connection.send(self._claim.frame([topic]))
        self.ready = True
        self._lifeline.works()
        self.progress.changed()

    async def _attached(self, connection: Connection) -> None:
        while True:
            frame = await connection.next()
            if frame["op"] == "attached":
                try:
                    epoch = self._claim.on_attached(frame)
                except AnotherEpoch as error:
                    raise errors.Disagreement(str(error)) from error
                for window in self._windows.values():
                    window.assign(epoch)
                    window.on_connected(connection.limits)
                    self._to_send[window] = None
                return
            if frame["op"] == "error" and frame.get("id") == CLAIM_ID and "topic" not in frame:
                raise endings.of_problem(Problem(frame))
            self._take(connection, frame)

    async def _converse(self, connection: Connection) -> None:
        self._send()
        while True:
            self._take(connection, await connection.next())

    def _disconnected(self) -> None:
        self._connection = None
        self._renewing = False
        self._dropped = None
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None
        self._deaf.clear()
        for topic in self._claimed - self._controlled.keys():
            self._inbox.forget(topic)
            guarded(self._hooks.on_unheard, topic)
        self._claimed.clear()
        self._to_send.clear()
        self._later.clear()
        self._wakes.clear()
        self._sent.clear()
        self._inbox.on_disconnected()
        for window in self._windows.values():
            window.on_disconnected()

    def _take(self, connection: Connection, frame: wire.ServerFrame) -> None:
        match frame["op"]:
            case "published":
                window = self._sent.pop(frame["id"], None) if isinstance(frame.get("id"), int) else None  # type: ignore[arg-type]
                if window:
                    self._answered_at = time.monotonic()
                    self._settle(window, window.on_published(frame))
            case "error":
                self._refused(Problem(frame))
            case "draining":
                self._lifeline.draining(seconds(frame["reconnect_after_ms"]))
            case "demand":
                guarded(self._hooks.on_demand, frame["topic"], frame["readers"])
            case "control":
                new, repeated = self._inbox.on_frame(frame)
                for acknowledgement in repeated:
                    connection.send(acknowledgement)
                for event in new:
                    guarded(self._hooks.on_control, event)

    def _refused(self, problem: Problem) -> None:
        number = problem.frame.get("id")
        window = self._sent.pop(number, None) if isinstance(number, int) else None
        if window is None:
            if problem.topic is None:
                raise endings.of_problem(problem)
            if problem.topic not in self._deaf:
                # told once, though it is refused twice: its commands and its readers
                self._deaf.add(problem.topic)
                self._notices.tell(NotControlled(problem.topic, str(problem)))
                guarded(self._hooks.on_deaf, problem)
            return
        now = self._answered_at = time.monotonic()
        try:
            settled = window.on_refused(problem, now)
        except PublishRefused as refused:
            if refused.code == "producer_fenced":
                raise endings.of_problem(refused) from refused
            abandoned = window.abandon(refused, now)
            guarded(self._hooks.on_refused, window.topic, abandoned, refused)
            settled = Settled(progress=True)
        self._settle(window, settled)

    def _settle(self, window: Window, settled: Settled) -> None:
        if settled.loss:
            self._notices.tell(Forgotten(window.topic, settled.loss))
        if settled.renumbered:
            raise _Renew
        for message_id in settled.ended:
            guarded(self._hooks.on_ended, window.topic, message_id)
        if settled.progress:
            self._lifeline.backoff.worked()
        if self._windows.get(window.topic) is not window:
            pass  # its topic was given up; this answers to a publish that was on its way then
        elif window.is_idle:
            del self._windows[window.topic]
            self._seqs[window.topic] = window.next_seq
            self._to_send.pop(window, None)
            self._later.pop(window, None)
        else:
            self._to_send[window] = None
        self._send()
        if settled.progress:
            self.progress.changed()

    def _new_window(self, topic: str) -> Window:
        if topic not in self._seqs and len(self._seqs) + len(self._windows) >= SEQS:
            raise TooManyTopics(f"an agent publishes to at most {SEQS} topics in its life: begin a new one")
        producer: wire.Producer = {"id": self._claim.producer_id, "epoch": self._claim.epoch or 0}
        first_seq = self._seqs.pop(topic, 1)
        window = Window(topic, producer, self._ids, self.room, self._keep, attached=True, first_seq=first_seq)
        self._windows[topic] = window
        if self._connection:
            window.on_connected(self._connection.limits)
        return window

    def _send(self) -> None:
        """Sends what is due, within the window that the broker named; comes back when something else will be."""
        connection = self._connection
        if connection is None:
            return
        now = time.monotonic()
        limits, room = connection.limits, self.room
        while self._wakes and (self._wakes[0][0] <= now or self._wakes[0][0] != self._later.get(self._wakes[0][2])):
            wake, _, window = heappop(self._wakes)
            if self._later.get(window) == wake:
                del self._later[window]
                self._to_send[window] = None
        while self._to_send:
            window = next(iter(self._to_send))
            while room.flying_events < limits.window_events and room.flying_bytes < limits.window_bytes:
                frame = window.next_frame(now)
                if frame is None:
                    break
                if not self._sent:
                    self._answered_at = now
                self._sent[self._ids.last] = window
                connection.send(frame)
            else:
                break  # the broker reads no further: an answer comes first
            del self._to_send[window]
            then = window.next_wake()
            if then is None:
                self._later.pop(window, None)
            elif self._later.get(window) != then:
                self._later[window] = then
                heappush(self._wakes, (then, next(self._wake_numbers), window))
        if self._sent and self._overdue is None:
            self._overdue = asyncio.get_running_loop().call_later(ANSWER, self._look_for_answers)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._wakes:
            # a timer may come a little early by this clock: what is not due yet is asked for again
            self._timer = asyncio.get_running_loop().call_later(max(self._wakes[0][0] - now, 0.0005), self._send)

    def _look_for_answers(self) -> None:
        """Drops a line on which publishes wait and nothing is answered."""
        self._overdue = None
        connection = self._connection
        if connection is None or not self._sent:
            return
        left = self._answered_at + ANSWER - time.monotonic()
        if left > 0:
            self._overdue = asyncio.get_running_loop().call_later(left, self._look_for_answers)
            return
        self._dropped = errors.Disagreement(f"the broker has answered no publish for {ANSWER:g} s")
        connection.abort()
