"""An event to be published, and how many bytes it takes on the wire.

Deltas stay text until they are sent, so that those that wait can be joined and long ones divided; everything else is
JSON from the start, so that what the caller changes afterwards changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .errors import InvalidUse
from .wire import encode

#: Bytes a delta takes beside its text and message id, generously.
_DELTA_OVERHEAD = 112
#: Bytes any other event takes beside its `data`, type and id, generously.
_EVENT_OVERHEAD = 56
_TYPE = re.compile(r"event|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+", re.ASCII)
_TOPIC = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:~-]{1,128}){1,8}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KINDS = ("text", "reasoning", "tool_input")


@dataclass(slots=True)
class Delta:
    message_id: str
    part: int
    kind: str
    text: str
    #: Bytes of `text` as JSON, without quotes.
    text_bytes: int = field(init=False)
    type: ClassVar[str] = "token.delta"

    def __post_init__(self) -> None:
        self.text_bytes = json_len(self.text)

    def __len__(self) -> int:
        """Bytes on the wire, an upper bound."""
        return _DELTA_OVERHEAD + json_len(self.message_id) + self.text_bytes

    def json(self) -> str:
        data: dict[str, Any] = {"message_id": self.message_id, "text": self.text}
        if self.kind != "text":
            data["kind"] = self.kind
        if self.part:
            data["part"] = self.part
        return encode({"type": "token.delta", "data": data})

    def join(self, more: Delta, limit: int) -> bool:
        """Takes `more` in, if it continues this one and both take at most `limit` bytes of JSON."""
        same = self.message_id == more.message_id and self.part == more.part and self.kind == more.kind
        if not same or self.text_bytes + more.text_bytes > limit:
            return False
        self.text += more.text
        self.text_bytes += more.text_bytes
        return True

    def divided(self, limit: int) -> list[Delta]:
        """Pieces whose texts take at most `limit` bytes of JSON each."""
        if self.text_bytes <= limit:
            return [self]
        pieces: list[Delta] = []
        begin = 0
        while begin < len(self.text):
            # a character takes one byte at least
            piece = Delta(self.message_id, self.part, self.kind, self.text[begin : begin + limit])
            while piece.text_bytes > limit and len(piece.text) > 1:
                fits = max(len(piece.text) * limit // piece.text_bytes, 1)
                piece = Delta(self.message_id, self.part, self.kind, piece.text[:fits])
            pieces.append(piece)
            begin += len(piece.text)
        return pieces


@dataclass(slots=True)
class Other:
    """Any event that adds no text."""

    type: str
    #: `data` as JSON.
    data: str
    id: str | None = None
    #: Of `message.started` and the end events.
    message_id: str | None = None

    def __len__(self) -> int:
        return (
            _EVENT_OVERHEAD + len(self.type) + json_len(self.data, raw=True) + (8 + json_len(self.id) if self.id else 0)
        )

    def json(self) -> str:
        identity = f',"id":{encode(self.id)}' if self.id is not None else ""
        return f'{{"type":{encode(self.type)}{identity},"data":{self.data}}}'

    @property
    def ends(self) -> bool:
        return self.message_id is not None and self.type in ("message.completed", "message.interrupted")

    @property
    def completes(self) -> bool:
        return self.message_id is not None and self.type == "message.completed"


NewEvent = Delta | Other


def new_event(type: str, data: Any, id: str | None = None) -> NewEvent:
    """An event as an application says it; what the broker would refuse in any case is refused here."""
    if not isinstance(type, str) or len(type) > 128 or not _TYPE.fullmatch(type):
        raise InvalidUse(f"`{type}` is no event type: write dotted words such as `tool.started`")
    if id is not None:
        checked_id(id, "an event's id")
    if type == "token.delta" and id is None and isinstance(data, Mapping):
        plain = data.keys() <= {"message_id", "text", "kind", "part"}
        if plain and isinstance(data.get("message_id"), str) and isinstance(data.get("text"), str):
            return delta(data["message_id"], data["text"], data.get("kind", "text"), data.get("part", 0))
    try:
        text = encode(data)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidUse(f"the data of `{type}` is no JSON: {error}") from error
    message_id = data.get("message_id") if isinstance(data, Mapping) and type.startswith("message.") else None
    return Other(type, text, id, message_id if isinstance(message_id, str) else None)


def delta(message_id: str, text: str, kind: str = "text", part: int = 0) -> Delta:
    checked_id(message_id, "a message_id")
    if kind not in _KINDS:
        raise InvalidUse(f"`{kind}` is no kind of text: text, reasoning or tool_input")
    if not isinstance(part, int) or not 0 <= part <= 65535:
        raise InvalidUse(f"`{part}` is no part: 0 to 65535")
    if not isinstance(text, str):
        raise InvalidUse(f"the text of a delta is a str, not {text.__class__.__name__}")
    try:
        return Delta(message_id, part, kind, text)
    except UnicodeEncodeError as error:
        raise InvalidUse(f"a text with a lone surrogate is no UTF-8: {error}") from error


def checked_id(text: str, what: str) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= 128 or _CONTROL.search(text):
        raise InvalidUse(f"{what} is 1 to 128 characters without control characters, not {text!r:.80}")
    return text


def checked_topic(topic: str) -> str:
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise InvalidUse(f"{topic!r:.80} is no topic: a topic is like `/chat/42`")
    return topic


def json_len(text: str, raw: bool = False) -> int:
    """UTF-8 bytes of a text as JSON, without quotes; `raw`: of a text that is JSON already."""
    if raw:
        return len(text) if text.isascii() else len(text.encode())
    return len(encode(text).encode()) - 2
