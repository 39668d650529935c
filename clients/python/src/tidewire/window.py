"""A publisher's outstanding window for one topic: what has been handed over and is not acknowledged yet.

Invariants:
- events leave in the order in which they came, cut into publishes numbered by the producer's seq;
- a publish that was sent once never changes, so repeating it is safe;
- a publish stays until its answer: after a cut, or after a refusal that passes, everything from the first unanswered
  one on is sent again in order, with the same seqs;
- an answer counts only for the latest attempt: earlier ones are settled by their repetition;
- deltas are joined only before they are sent;
- what a person waits for leaves at once, even while publishes are on their way: a first delta, and every event that is
  no delta, with the deltas gathered before it. Further deltas gather for `GATHER`.

When the broker does not know the producer any more (`producer_unknown`: its log is gone), what it had acknowledged of
open messages is told again (see `kept`) and everything is numbered anew from 1. A producer without an attachment
raises its epoch for that. An attached one keeps it, because a raised one would end its open messages in other topics
(`replaced`); it goes on over a new connection, so that nothing numbered before can arrive after. So it does where
only some of what was acknowledged is gone (`producer_gap`), from the seq that the broker expects.

A publish that no repetition mends is raised as `PublishRefused`; `abandon` takes what it concerns out, and the rest
goes on. Bounds: `Room` for what is outstanding (one event over, plus what is told again after a loss), `IN_FLIGHT_*`
for what is on the wire at once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Literal

from . import _types as wire
from .errors import InvalidUse, Problem, PublishRefused
from .kept import Kept, Tally
from .new_event import Delta, NewEvent, Other
from .wire import Limits, encode

#: Seconds for which events are gathered while a publish is on its way.
GATHER = 0.020
#: Publishes of one topic on the wire at once.
IN_FLIGHT_PUBLISHES = 32
#: Bytes of one topic on the wire at once (one publish may exceed it).
IN_FLIGHT_BYTES = 512 << 10
#: Bytes of events in one publish (one event may exceed it).
PUBLISH_BYTES = 128 << 10
#: JSON bytes of text in one delta.
DELTA_BYTES = 32 << 10
#: Seconds to wait after a refusal that passes and does not say for how long.
PAUSE = 0.5
#: And never longer than this, whatever it says.
LONGEST_PAUSE = 60.0
#: Refusals that are about one message or event; any other is about the topic.
_OF_ONE = frozenset(
    {
        "message_ended",
        "message_owned",
        "too_many_open_messages",
        "invalid_event",
        "reserved_type",
        "too_large",
        "id_conflict",
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be outstanding."""

    events: int = 100_000
    bytes: int = 8 << 20
    """As encoded on the wire."""

    def __post_init__(self) -> None:
        if self.events < 1 or self.bytes < 1:
            raise InvalidUse(f"bounds of {self.events} events and {self.bytes} bytes would never let anything through")


@dataclass(slots=True)
class Room:
    """What is outstanding, and what of it is on the wire, over all windows that share it."""

    bounds: Bounds = field(default_factory=Bounds)
    events: int = 0
    bytes: int = 0
    flying_events: int = 0
    flying_bytes: int = 0

    @property
    def left(self) -> bool:
        return self.events < self.bounds.events and self.bytes < self.bounds.bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """The broker had forgotten what was in the log of a topic."""

    kind: Literal["forgotten", "replaced"]
    """`forgotten`: `bytes` of text are told again. `replaced`: the end event will carry the whole text."""
    bytes: int = 0
    missing: int = 0
    """UTF-8 bytes that were not kept any more."""


@dataclass(slots=True)
class Settled:
    """What an answer means to the driver."""

    progress: bool = False
    """Something was acknowledged: there may be room again."""
    loss: Loss | None = None
    renumbered: bool = False
    """Everything has other numbers now; an attached producer goes on over a new connection."""
    ended: list[str] = field(default_factory=list)
    """Messages whose end is in the log."""


@dataclass(slots=True)
class Abandoned:
    """What will never be in the log."""

    events: list[NewEvent]
    whole_topic: bool
    """Nothing of what was outstanding goes on."""


@dataclass(slots=True)
class _Publish:
    seq: int
    events: list[NewEvent]
    bytes: int
    attempt: int | None = None
    """The `id` of the frame that carried it last, if it is on the wire."""
    settled: bool = False
    """It is acknowledged, and one before it is not (answers come in order; this bears it if not)."""


class Window:
    """See the module. All times are seconds by a clock that the caller reads."""

    def __init__(
        self,
        topic: str,
        producer: wire.Producer,
        ids: Iterator[int],
        room: Room,
        keep: Tally,
        *,
        attached: bool = False,
        first_seq: int = 1,
    ) -> None:
        """`ids` numbers the frames of a connection from 1. `first_seq`: the producer has published to this topic in
        this epoch before."""
        self.topic = topic
        self.producer_id = producer["id"]
        self.epoch = producer["epoch"]
        self._ids = ids
        self._room = room
        self._kept = Kept(keep)
        self._attached = attached
        self._limits = Limits()
        self._connected = False
        #: The life of the topic's log that the last answer was about.
        self._log: str | None = None
        #: Not yet cut into a publish.
        self._gathered: deque[NewEvent] = deque()
        self._gathered_bytes = 0
        self._gathered_since: float | None = None
        #: Something that was gathered must not wait for `GATHER`.
        self._urgent = False
        #: The event that was handed over last was a delta: another one behind it may wait.
        self._after_delta = False
        self._publishes: deque[_Publish] = deque()
        #: How many of `_publishes`, from the front, are on the wire.
        self._in_flight = 0
        self._next_seq = first_seq
        self._paused_until: float | None = None

    @property
    def next_seq(self) -> int:
        """Of the next publish that is cut."""
        return self._next_seq

    @property
    def is_empty(self) -> bool:
        """Nothing is outstanding."""
        return not self._gathered and not self._publishes

    @property
    def is_idle(self) -> bool:
        """Nothing is outstanding, and no message that was begun here is open."""
        return self.is_empty and not len(self._kept)

    @property
    def outstanding(self) -> int:
        """Events that are not acknowledged."""
        return len(self._gathered) + sum(len(publish.events) for publish in self._publishes)

    def assign(self, epoch: int) -> None:
        """The epoch that the broker answered an `attach` with; before anything is sent."""
        self._attached = True
        self.epoch = epoch

    def push(self, event: NewEvent, now: float) -> None:
        """Takes an event over. The caller sees to the room first."""
        if self._gathered_since is None:
            self._gathered_since = now
        is_delta = event.type == "token.delta"
        if not (is_delta and self._after_delta):
            self._urgent = True
        self._after_delta = is_delta
        self._gather(event)

    def on_connected(self, limits: Limits) -> None:
        self._connected = True
        self._limits = limits

    def on_disconnected(self) -> None:
        """Whatever was on the wire is sent again on the next connection."""
        self._connected = False
        self._recall_from(0)

    def next_frame(self, now: float) -> str | None:
        """The next frame to send now, if any."""
        if self._paused_until is not None and now < self._paused_until:
            return None
        self._paused_until = None
        if not self._connected or not self._may_fly():
            return None
        while self._in_flight < len(self._publishes) and self._publishes[self._in_flight].settled:
            self._in_flight += 1
        if self._in_flight == len(self._publishes) and not self._cut(now):
            return None
        publish = self._publishes[self._in_flight]
        publish.attempt = next(self._ids)
        self._in_flight += 1
        self._room.flying_events += len(publish.events)
        self._room.flying_bytes += publish.bytes
        return self._frame(publish)

    def next_wake(self) -> float | None:
        """When `next_frame` may have something although nothing else happens."""
        if not self._connected:
            return None
        if self._paused_until is not None:
            return self._paused_until
        if self._gathered_since is not None and self._may_fly() and not self._must_be_alone(self._gathered[0]):
            return self._gathered_since + GATHER
        return None  # an answer comes first

    def on_published(self, answer: wire.Published) -> Settled:
        at = self._in_flight_as(answer.get("id"))
        if at is None:
            return Settled()
        settled = Settled(progress=at == 0)
        if self._log is not None and self._log != answer["epoch"] and self._kept.strand():
            settled.loss = Loss("replaced")
        self._log = answer["epoch"]
        self._land(self._publishes[at])
        self._publishes[at].settled = True
        while self._publishes and self._publishes[0].settled:
            publish = self._publishes.popleft()
            self._in_flight = max(self._in_flight - 1, 0)
            self._count(-len(publish.events), -publish.bytes)
            for event in publish.events:
                self._kept.acknowledged(event)
                if isinstance(event, Other) and event.ends and event.message_id is not None:
                    settled.ended.append(event.message_id)
        return settled

    def on_refused(self, problem: Problem, now: float) -> Settled:
        """A publish was refused. Raises `PublishRefused` for what no repetition mends; the window stays as it is until
        `abandon`."""
        at = self._in_flight_as(problem.frame.get("id"))
        if at is None:
            return Settled()
        first_seq, expected = self._publishes[0].seq, problem.expected_seq
        if problem.passes:
            self._recall_from(at)
            until = now + (PAUSE if problem.retry_after is None else min(problem.retry_after, LONGEST_PAUSE))
            self._paused_until = max(until, self._paused_until or until)
            return Settled()
        if problem.code in ("producer_unknown", "producer_gap") and at > 0:
            # its fate hangs on those before it, which are not answered yet
            self._recall_from(at)
            return Settled()
        if problem.code == "producer_unknown" and first_seq > 1:
            restored = self._kept.restore()
            self._log = None
            self._begin_again(1, restored.events, now)
            return Settled(loss=Loss("forgotten", restored.bytes, restored.missing), renumbered=True)
        if problem.code == "producer_gap" and expected == first_seq:
            # one before it was refused when this arrived, and is acknowledged by now
            self._recall_from(0)
            self._paused_until = now + GATHER
            return Settled()
        if problem.code == "producer_gap" and expected is not None and expected < first_seq:
            # acknowledged publishes are missing from the log, though not all: what is there stays
            stranded = self._kept.strand()
            self._begin_again(expected if self._attached else 1, [], now)
            return Settled(loss=Loss("replaced") if stranded else None, renumbered=True)
        raise PublishRefused(problem.frame)

    def abandon(self, refused: PublishRefused, now: float) -> Abandoned:
        """After `on_refused` raised it: takes out what was refused, and lets the rest go on. A refused publish uses up
        no seq, so what follows takes its number."""
        at = self._in_flight_as(refused.frame.get("id"))
        assert at is not None, "a refusal that was raised is about a publish on the wire"
        publish = self._publishes[at]
        index = refused.index if refused.index is not None and 0 <= refused.index < len(publish.events) else None
        one = publish.events[index] if refused.code in _OF_ONE and index is not None else None
        message_id = one.message_id if one else None
        # those before it are on the wire and keep what they are
        behind = chain.from_iterable(p.events for p in islice(self._publishes, at, None))
        before = [*behind, *self._gathered]
        rest: list[NewEvent]
        if one is None:
            rest = []
            self._kept.clear()
        elif message_id is None:
            rest = [event for event in before if event is not one]
        else:
            rest = [event for event in before if event.message_id != message_id]
            self._kept.forget(message_id)
        stay = {id(event) for event in rest}
        abandoned = Abandoned([event for event in before if id(event) not in stay], one is None)
        self._number_anew(at, publish.seq, rest, now)
        return abandoned

    def _delta_bytes(self) -> int:
        # leave room for the message id (up to 128 characters) and the envelope
        return max(64, min(DELTA_BYTES, self._limits.max_event_bytes - 2048))

    def _gather(self, event: NewEvent) -> None:
        limit = self._delta_bytes()
        for piece in event.divided(limit) if isinstance(event, Delta) else (event,):
            last = self._gathered[-1] if self._gathered else None
            if isinstance(piece, Delta) and isinstance(last, Delta) and last.join(piece, limit):
                self._gathered_bytes += piece.text_bytes
                self._count(0, piece.text_bytes)
                continue
            self._gathered.append(piece)
            self._gathered_bytes += len(piece)
            self._count(1, len(piece))

    def _may_fly(self) -> bool:
        """Another publish may be sent without waiting for an answer."""
        if self._in_flight >= IN_FLIGHT_PUBLISHES:
            return False
        return sum(publish.bytes for publish in islice(self._publishes, self._in_flight)) < IN_FLIGHT_BYTES

    def _cut(self, now: float) -> bool:
        """Cuts the next publish off what was gathered: at once when nothing is on its way or something of it is urgent,
        otherwise when it is full or has waited for `GATHER`."""
        waited = self._gathered_since is not None and now >= self._gathered_since + GATHER
        limit = min(PUBLISH_BYTES, self._limits.max_frame_bytes // 2, max(self._limits.window_bytes, 2) // 2)
        if self._in_flight > 0 and not waited and not self._urgent and self._gathered_bytes < limit:
            return False
        events: list[NewEvent] = []
        size = 0
        while self._gathered:
            event = self._gathered[0]
            takes = len(event)
            full = size + takes > limit or len(events) >= self._limits.max_batch_events
            if (events and full) or (self._must_be_alone(event) and (self._in_flight > 0 or events)):
                break
            self._gathered.popleft()
            self._gathered_bytes -= takes
            event = self._completed_if_stranded(event)
            self._count(0, len(event) - takes)
            size += len(event)
            events.append(event)
        if not events:
            return False
        if not self._gathered:
            self._gathered_since = None
            self._urgent = False
        self._publishes.append(_Publish(self._next_seq, events, size))
        self._next_seq += 1
        return True

    def _must_be_alone(self, event: NewEvent) -> bool:
        """The end of a stranded message goes when everything before it is acknowledged: only then its whole text is
        known to be complete."""
        return (
            isinstance(event, Other)
            and event.completes
            and event.message_id is not None
            and self._kept.is_stranded(event.message_id)
        )

    def _completed_if_stranded(self, event: NewEvent) -> NewEvent:
        if not isinstance(event, Other) or event.message_id is None or not self._must_be_alone(event):
            return event
        data = json.loads(event.data)
        text = self._kept.whole_text(event.message_id)
        if text is None or "text" in data:
            return event
        whole = Other(event.type, encode({**data, "text": text}), event.id, event.message_id)
        # too long to be mended: readers keep what is in the new log
        return whole if len(whole) <= self._limits.max_event_bytes else event

    def _frame(self, publish: _Publish) -> str:
        events = ",".join(event.json() for event in publish.events)
        producer = encode({"id": self.producer_id, "epoch": self.epoch, "seq": publish.seq})
        topic = encode(self.topic)
        return f'{{"op":"publish","id":{publish.attempt},"topic":{topic},"events":[{events}],"producer":{producer}}}'

    def _in_flight_as(self, attempt: object) -> int | None:
        """Which of the publishes on the wire an answer is about; None: an attempt that no longer counts."""
        if attempt is None:
            return None
        flying = islice(self._publishes, self._in_flight)
        return next((at for at, publish in enumerate(flying) if publish.attempt == attempt), None)

    def _recall_from(self, at: int) -> None:
        """From that publish on, nothing counts as being on the wire any more: all is sent again."""
        self._in_flight = min(at, self._in_flight)
        for publish in islice(self._publishes, at, None):
            self._land(publish)

    def _land(self, publish: _Publish) -> None:
        if publish.attempt is not None:
            publish.attempt = None
            self._room.flying_events -= len(publish.events)
            self._room.flying_bytes -= publish.bytes

    def _begin_again(self, first: int, before: list[NewEvent], now: float) -> None:
        if not self._attached:
            self.epoch += 1
        sent = (publish.events for publish in self._publishes)
        self._number_anew(0, first, chain(before, chain.from_iterable(sent), list(self._gathered)), now)

    def _number_anew(self, at: int, first: int, events: Iterable[NewEvent], now: float) -> None:
        """Keeps the first `at` publishes; `events` go from seq `first` on."""
        events = list(events)
        self._recall_from(at)
        self._count(-self.outstanding, -self._gathered_bytes - sum(publish.bytes for publish in self._publishes))
        self._publishes = deque(islice(self._publishes, at))
        for publish in self._publishes:
            self._count(len(publish.events), publish.bytes)
        self._gathered = deque()
        self._gathered_bytes = 0
        self._next_seq = first
        for event in events:
            self._gather(event)
        self._gathered_since = now if self._gathered else None
        self._urgent = self._urgent and bool(self._gathered)

    def _count(self, events: int, size: int) -> None:
        self._room.events += events
        self._room.bytes += size
