"""What clients say to this agent (`run.*`): each event once, whatever happens to the connection.

Invariants:
- the broker delivers a topic's control events in order, and after a reconnect all that nobody has acknowledged; what
  was taken over before is recognised by (epoch, seq) and not given out again;
- an acknowledgement names only a seq, so it goes only over a connection on which the broker has delivered that very
  event; one that may have been lost in a cut is repeated when the event comes again.

Bounds: `REMEMBERED` seqs a topic; topics are forgotten with `forget`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from . import _types as wire

#: Taken events of one topic that can still be acknowledged.
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """A `run.*` event for the agents of a topic."""

    topic: str
    epoch: str
    seq: int
    type: str
    data: Any
    time: int | None = None
    source: str | None = None

    @property
    def message_id(self) -> str | None:
        """The message that it is about; None: the whole run."""
        about = self.data.get("message_id") if isinstance(self.data, dict) else None
        return about if isinstance(about, str) else None


@dataclass(slots=True)
class _Taken:
    acknowledged: bool = False
    #: Delivered on the present connection.
    here: bool = True


@dataclass(slots=True)
class _Topic:
    epoch: str
    #: The highest seq that was taken over.
    last: int = 0
    taken: OrderedDict[int, _Taken] = field(default_factory=OrderedDict)


class ControlInbox:
    """See the module."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def on_frame(self, frame: wire.Control) -> tuple[list[ControlEvent], list[wire.ClientControlAck]]:
        """Takes a frame over: the events that are new, and acknowledgements to repeat."""
        name, epoch = frame["topic"], frame["epoch"]
        topic = self._topics.get(name)
        if topic is None or topic.epoch != epoch:
            topic = self._topics[name] = _Topic(epoch)
        new: list[ControlEvent] = []
        repeated: list[wire.ClientControlAck] = []
        for event in frame["events"]:
            seq = event.get("seq")
            if not isinstance(seq, int):
                continue
            if seq <= topic.last:
                taken = topic.taken.get(seq)
                if taken:
                    taken.here = True
                    if taken.acknowledged:
                        repeated.append(_acknowledgement(name, seq))
                continue
            topic.last = seq
            if len(topic.taken) == REMEMBERED:
                topic.taken.popitem(last=False)
            topic.taken[seq] = _Taken()
            new.append(
                ControlEvent(name, epoch, seq, event["type"], event.get("data"), event.get("time"), event.get("source"))
            )
        return new, repeated

    def acknowledge(self, event: ControlEvent) -> wire.ClientControlAck | None:
        """This agent has dealt with it. The answer is the frame to send, if it can go now."""
        topic = self._topics.get(event.topic)
        taken = topic.taken.get(event.seq) if topic and topic.epoch == event.epoch else None
        if taken is None or taken.acknowledged:
            return None
        taken.acknowledged = True
        return _acknowledgement(event.topic, event.seq) if taken.here else None

    def on_disconnected(self) -> None:
        for topic in self._topics.values():
            for taken in topic.taken.values():
                taken.here = False

    def forget(self, topic: str) -> None:
        """What was not acknowledged may come again, and is new then."""
        self._topics.pop(topic, None)


def _acknowledgement(topic: str, seq: int) -> wire.ClientControlAck:
    return {"op": "control_ack", "topic": topic, "seq": seq}
