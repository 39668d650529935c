"""A reader's view of a topic: the text of its messages, folded from what it reads (docs/protocol.md, section 17).

Invariants:
- a snapshot, or an end event with `parts`, replaces what was held but for the beginning it omits;
- a message held open over a `gap` that got no snapshot by the time the position is whole again is `lost`: it
  ended where nobody can read it;
- a `reset` forgets everything.

Bounds: open messages are bounded by the broker (1,024 a topic); of ended ones the last `ENDED_KEPT` are held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from . import _types as wire
from .parts import Parts
from .position import Position

#: Ended messages that are held.
ENDED_KEPT = 256

MessageState = Literal["open", "completed", "interrupted", "lost"]


@dataclass(slots=True)
class Message:
    """One message as far as it was read."""

    id: str
    state: MessageState = "open"
    source: str | None = None
    started: dict[str, Any] | None = None
    """The `data` of `message.started`, if it was seen."""
    end: dict[str, Any] | None = None
    """The `data` of the end event, if it came."""
    parts: Parts = field(default_factory=Parts)
    unsettled: bool = False
    """Held open over a gap, and not yet settled by a snapshot."""

    @property
    def text(self) -> str:
        """The answer: its parts of kind `text`."""
        return self.parts.text_of("text")

    @property
    def reason(self) -> str | None:
        """Why it was interrupted."""
        reason = (self.end or {}).get("reason")
        return reason if isinstance(reason, str) else None

    @property
    def finish_reason(self) -> str | None:
        """Why it was completed, if its agent said so."""
        reason = (self.end or {}).get("finish_reason")
        return reason if isinstance(reason, str) else None


class Fold:
    """The messages of one topic, in order of first appearance."""

    def __init__(self) -> None:
        # a dict keeps the order of insertion; one id has one message at a time
        self._messages: dict[str, Message] = {}
        self._ended = 0

    @property
    def messages(self) -> list[Message]:
        return list(self._messages.values())

    def get(self, message_id: str) -> Message | None:
        return self._messages.get(message_id)

    def apply(self, event: wire.EventEnvelope) -> Message | None:
        """Applies one event; the answer is the message that it changed. None: it is not about a message's text, or it
        cannot be understood."""
        data = event.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("message_id"), str):
            return None
        match event["type"]:
            case "token.delta":
                return self._delta(event, data)
            case "message.started":
                message = self._open(data["message_id"], event.get("source"))
                message.started = data
                return message
            case "message.completed" | "message.interrupted":
                return self._end(event, data)
            case "message.snapshot":
                return self._snapshot(data)
        return None

    def gap(self) -> None:
        """Some of the log is gone: what is held open now must be settled by a snapshot."""
        for message in self._messages.values():
            if message.state == "open":
                message.unsettled = True

    def reset(self) -> None:
        self._messages.clear()
        self._ended = 0

    def at(self, position: Position) -> list[Message]:
        """After everything up to `position` was applied: which messages turned out to be lost."""
        if position.partial:
            return []
        lost = [message for message in self._messages.values() if message.unsettled]
        for message in lost:
            message.unsettled = False
            self._close(message, "lost")
        return lost

    def _delta(self, event: wire.EventEnvelope, data: dict[str, Any]) -> Message | None:
        text, part, kind = data.get("text"), data.get("part", 0), data.get("kind", "text")
        if not isinstance(text, str) or not isinstance(part, int) or not isinstance(kind, str):
            return None
        message = self._open(data["message_id"], event.get("source"))
        message.parts.append(part, kind, text)
        return message

    def _end(self, event: wire.EventEnvelope, data: dict[str, Any]) -> Message:
        message = self._open(data["message_id"], event.get("source"))
        has_parts = isinstance(event.get("parts"), list)
        if has_parts:
            message.parts = message.parts.replaced_by(event["parts"])
        if isinstance(event.get("started"), dict):
            message.started = dict(event["started"])
        message.unsettled = False
        message.end = data
        completed = event["type"] == "message.completed"
        if completed and isinstance(data.get("text"), str) and not has_parts:
            message.parts.complete_with(data["text"])
        self._close(message, "completed" if completed else "interrupted")
        return message

    def _snapshot(self, data: dict[str, Any]) -> Message | None:
        if not isinstance(data.get("parts"), list):
            return None
        source = data.get("source")
        message = self._open(data["message_id"], source if isinstance(source, str) else None)
        message.parts = message.parts.replaced_by(data["parts"])
        message.unsettled = False
        if isinstance(data.get("started"), dict):
            message.started = data["started"]
        return message

    def _open(self, message_id: str, source: str | None) -> Message:
        """The open message of that id. One that ended under it before is another message."""
        held = self._messages.get(message_id)
        if held and held.state == "open":
            return held
        if held:
            del self._messages[message_id]
            self._ended -= 1
        message = self._messages[message_id] = Message(message_id, source=source)
        return message

    def _close(self, message: Message, state: MessageState) -> None:
        message.state = state
        self._ended += 1
        if self._ended > ENDED_KEPT:
            oldest = next(held for held in self._messages.values() if held.state != "open")
            del self._messages[oldest.id]
            self._ended -= 1
