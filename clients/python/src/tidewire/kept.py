"""What the broker has acknowledged of the messages that are still open, kept so that a broker that forgot its log (a
restart on the memory engine) can be told again.

Invariants: an event is either still outstanding in the window or folded in here, never both; a message leaves with
its end event. Bound: `tally.bound` bytes of text over all windows that share the tally; over it the longest message
of the window that grows loses its beginning, and says so when it is restored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .new_event import Delta, NewEvent, Other
from .parts import Parts

#: Share of the bound that is cut beyond need, so that not every delta moves the whole text.
_SLACK = 8


@dataclass(slots=True)
class Tally:
    """Bytes that several windows hold together."""

    bound: int
    held: int = 0


@dataclass(slots=True)
class _Message:
    started: Other | None = None
    parts: Parts = field(default_factory=Parts)
    #: Its earlier text is in a log that no reader sees any more, and it is open in the new one.
    stranded: bool = False

    @property
    def missing(self) -> int:
        return sum(part.omitted for part in self.parts)


@dataclass(slots=True)
class Restored:
    """What is told again after the broker forgot."""

    events: list[NewEvent] = field(default_factory=list)
    #: UTF-8 bytes of text in them.
    bytes: int = 0
    #: UTF-8 bytes that were not kept any more.
    missing: int = 0


class Kept:
    """See the module."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._messages: dict[str, _Message] = {}

    def __len__(self) -> int:
        """Open messages."""
        return len(self._messages)

    def acknowledged(self, event: NewEvent) -> None:
        """The broker has this event."""
        if isinstance(event, Delta):
            parts = self._message(event.message_id).parts
            before = parts.bytes
            parts.append(event.part, event.kind, event.text)
            self._tally.held += parts.bytes - before
            self._stay_within_the_bound()
        elif event.message_id is None:
            return
        elif event.type == "message.started":
            self._message(event.message_id).started = event
        elif event.ends:
            self.forget(event.message_id)

    def restore(self) -> Restored:
        """The broker's log is gone, and all it knew: everything to tell again, in order. It counts as outstanding from
        now on."""
        restored = Restored()
        for message_id, message in self._messages.items():
            restored.missing += message.missing
            restored.bytes += message.parts.bytes
            if message.started:
                restored.events.append(message.started)
            restored.events.extend(Delta(message_id, p.part, p.kind, p.text) for p in message.parts)
        self._tally.held -= restored.bytes
        self._messages.clear()
        return restored

    def strand(self) -> bool:
        """The log was replaced, but what came after it is already in the new one: nothing can be put before that any
        more. Only the whole text in the end event can still mend it. Says whether any message is concerned."""
        for message in self._messages.values():
            message.stranded = True
        return bool(self._messages)

    def is_stranded(self, message_id: str) -> bool:
        message = self._messages.get(message_id)
        return message is not None and message.stranded

    def whole_text(self, message_id: str) -> str | None:
        """The whole answer of a message (kind `text`), if all of it is kept."""
        message = self._messages.get(message_id)
        return message.parts.text_of("text") if message and not message.missing else None

    def forget(self, message_id: str) -> None:
        message = self._messages.pop(message_id, None)
        if message:
            self._tally.held -= message.parts.bytes

    def clear(self) -> None:
        for message_id in list(self._messages):
            self.forget(message_id)

    def _message(self, message_id: str) -> _Message:
        return self._messages.setdefault(message_id, _Message())

    def _stay_within_the_bound(self) -> None:
        if self._tally.held <= self._tally.bound:
            return
        excess = self._tally.held - self._tally.bound + self._tally.bound // _SLACK
        longest = max(self._messages.values(), key=lambda message: message.parts.bytes)
        self._tally.held -= longest.parts.drop_beginning(excess)
