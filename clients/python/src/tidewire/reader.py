"""What a reader of several topics makes of the broker's frames: positions, folds, and what the application is told.

It has no socket and no clock. `take` checks at once that a frame follows on what was read, and applies it event by
event as the caller asks for its items; the position that the application sees moves when the last of them was given
out, so that what it stores is never ahead of what it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from . import _types as wire
from .errors import Problem
from .fold import Fold, Message
from .position import Position
from .reading import OutOfStep, Reading


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a topic."""

    topic: str
    type: str
    data: Any
    seq: int | None
    """None for `message.snapshot`, which has no place in the order of its own."""
    time: int | None
    """Unix milliseconds by the broker's clock."""
    source: str | None
    id: str | None
    """The publisher's own id, if it gave one."""
    first_seq: int | None
    """Of a merge: the first of the consecutive seqs that it joins."""
    message: Message | None
    """The message that it is about, as it stands after this event; None for events about no message."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The events `first` to `last` (both included) are gone. What is still open comes whole again."""

    topic: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget all of the topic: what the broker has of it now follows."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The message ended in a gap: it has no known end."""

    topic: str
    message: Message


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The broker ended the subscription of the topic: it is not read any more."""

    topic: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The topic is not read: the broker refused it."""

    topic: str
    problem: Problem


#: What an application learns, in order.
Item = Event | Gap | Reset | Lost | Unsubscribed | Refused


class Reader:
    """See the module."""

    def __init__(self, topics: Mapping[str, str], types: Sequence[str] = ()) -> None:
        """`topics`: each with its `from`: `snapshot`, `live`, `start`, `last:N` or a position."""
        self._readings = {topic: Reading(topic, begin) for topic, begin in topics.items()}
        self._folds = {topic: Fold() for topic in topics}
        #: Where each topic stands with all that was given out applied.
        self.positions: dict[str, Position] = {
            topic: reading.position for topic, reading in self._readings.items() if reading.position
        }
        # without deltas there are no snapshots, and nothing can be told to be lost
        self._sees_deltas = not types or any(admits(pattern, "token.delta") for pattern in types)

    @property
    def topics(self) -> list[str]:
        """Those that are still read."""
        return list(self._readings)

    def messages(self, topic: str) -> list[Message]:
        """The messages of a topic, in order of first appearance."""
        fold = self._folds.get(topic)
        return fold.messages if fold else []

    def on_connected(self) -> None:
        for reading in self._readings.values():
            reading.subscribed = False

    def to_subscribe(self) -> list[wire.ClientTopicFrom]:
        """Every topic that is not read on this connection, and from where."""
        return [
            {"topic": reading.topic, "from": reading.begin}
            for reading in self._readings.values()
            if not reading.subscribed
        ]

    def take(self, frame: wire.ServerFrame) -> Iterator[Item]:
        """Raises `OutOfStep` at once; the items apply as they are asked for, and all of them must be."""
        match frame["op"]:
            case "subscribed":
                # the answer to a pattern has no topic; this client asks for none
                return self._subscribed(cast(wire.SubscribedTopic, frame)) if "topic" in frame else iter(())
            case "events":
                reading = self._readings.get(frame["topic"])
                return self._events(frame, reading.on_events(frame)) if reading else iter(())
            case "gap":
                reading = self._readings.get(frame["topic"])
                return self._gap(frame, reading.on_gap(frame)) if reading else iter(())
            case "reset":
                reading = self._readings.get(frame["topic"])
                return self._reset(frame, reading.on_reset(frame)) if reading else iter(())
            case "unsubscribed":
                return self._unsubscribed(cast(wire.UnsubscribedTopic, frame)) if "topic" in frame else iter(())
            case "error" if "topic" in frame:
                return self._refused(Problem(frame))
        return iter(())

    def _subscribed(self, frame: wire.SubscribedTopic) -> Iterator[Item]:
        if "position" not in frame or "epoch" not in frame:
            raise OutOfStep(f"{frame['topic']}: a `subscribed` without a position")
        reading = self._readings.get(frame["topic"])
        if reading:
            reading.on_subscribed(frame)
            if reading.position and frame["position"] is not None:
                self.positions[frame["topic"]] = reading.position
        return iter(())

    def _events(self, frame: wire.Events, position: Position) -> Iterator[Item]:
        topic = frame["topic"]
        fold = self._folds[topic]
        for event in frame["events"]:
            yield Event(
                topic,
                event["type"],
                event.get("data"),
                event.get("seq"),
                event.get("time"),
                event.get("source"),
                event.get("id"),
                event.get("first_seq"),
                fold.apply(event),
            )
        self.positions[topic] = position
        for message in fold.at(position):
            yield Lost(topic, message)

    def _gap(self, frame: wire.Gap, position: Position) -> Iterator[Item]:
        topic = frame["topic"]
        if self._sees_deltas:
            self._folds[topic].gap()
        self.positions[topic] = position
        yield Gap(topic, frame["from"], frame["to"], frame["reason"])

    def _reset(self, frame: wire.Reset, position: Position) -> Iterator[Item]:
        topic = frame["topic"]
        self._folds[topic].reset()
        self.positions[topic] = position
        yield Reset(topic, frame["reason"])

    def _unsubscribed(self, frame: wire.UnsubscribedTopic) -> Iterator[Item]:
        if self._readings.pop(frame["topic"], None):
            reason = frame.get("reason", "the broker ended the subscription")
            yield Unsubscribed(frame["topic"], frame.get("code", "unsubscribed"), reason)

    def _refused(self, problem: Problem) -> Iterator[Item]:
        topic = problem.topic or ""
        reading = self._readings.get(topic)
        if reading is None:
            return
        reading.subscribed = False
        if not problem.passes:
            del self._readings[topic]
            yield Refused(topic, problem)


def admits(pattern: str, type: str) -> bool:
    """Whether a pattern of `types` lets a type through: `a.b`, `a.*` (at any depth below), `*`."""
    return pattern in ("*", type) or (pattern.endswith(".*") and type.startswith(pattern[:-1]))
