"""Where one subscription stands, and from where it goes on after a cut.

Invariants: the position moves only by what the broker said about it, frame by frame as a whole; a frame that does
not begin where this reading stands is refused (the connection is dropped and the topic read again from here), so
nothing is skipped or taken twice unnoticed.
"""

from __future__ import annotations

from . import _types as wire
from .position import Position


class OutOfStep(Exception):
    """A frame that does not follow on what was read."""


class Reading:
    """The reading of one topic."""

    def __init__(self, topic: str, begin: str) -> None:
        """`begin`: `snapshot`, `live`, `start`, `last:N` or a position."""
        self.topic = topic
        self._begin = begin
        self.position = Position.parse(begin)
        #: Asked for on the present connection, and neither refused nor ended.
        self.subscribed = False

    @property
    def begin(self) -> str:
        """The `from` of the next subscription."""
        return str(self.position) if self.position else self._begin

    def on_subscribed(self, frame: wire.SubscribedTopic) -> None:
        self.subscribed = True
        # null: a reset follows, and until then the own position stands
        if frame["position"] is not None:
            position = Position.parse(frame["position"])
            if position is None:
                raise OutOfStep(f"{self.topic}: `{frame['position']}` is no position")
            self.position = position

    def on_events(self, frame: wire.Events) -> Position:
        held, after, upto, epoch = self.position, frame["after"], frame["upto"], frame["epoch"]
        # seq 0 matches any epoch: a topic's first life begins without a reset
        follows = held is not None and held.seq == after and (held.seq == 0 or held.epoch == epoch)
        if not follows or upto < after:
            raise self._out_of_step(f"events {after}..{upto} of {epoch} came")
        self.position = Position(epoch, upto, frame.get("partial", False))
        return self.position

    def on_gap(self, frame: wire.Gap) -> Position:
        held, first, last = self.position, frame["from"], frame["to"]
        if held is None or first != held.seq + 1 or last < first:
            raise self._out_of_step(f"a gap {first}..{last} came")
        self.position = Position(held.epoch, last, True)
        return self.position

    def on_reset(self, frame: wire.Reset) -> Position:
        self.position = Position(frame["epoch"], 0, True)
        return self.position

    def _out_of_step(self, what: str) -> OutOfStep:
        return OutOfStep(f"{self.topic}: {what}, but this reader stands at {self.position or 'no position'}")
