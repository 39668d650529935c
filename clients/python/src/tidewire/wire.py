"""The native JSON frames as text: what comes is checked against the shapes of schema/, what goes is made compact.

Unknown ops and members are ignored, since a later version of the broker may send some. A frame that lacks what it
must have, or has it in another type, is refused: nothing behind this has to ask again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from ._types import SERVER_FRAMES, ServerFrame, Welcome

#: The subprotocol of these frames.
SUBPROTOCOL = "tidewire.v1.json"
PING = '{"op":"ping"}'
#: Milliseconds that anything the broker says may last: a day.
_LONGEST_MS = 86_400_000


class NotAFrame(Exception):
    """The text cannot be read as a frame."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker allows on this connection."""

    max_frame_bytes: int = 1 << 20
    max_event_bytes: int = 256 << 10
    max_batch_events: int = 1000
    window_events: int = 1024
    window_bytes: int = 1 << 20

    @classmethod
    def of(cls, limits: Any) -> Limits:
        """From a `welcome`; what it does not say has its default."""
        # what would let nothing through says nothing either
        said = {name: limits.get(name) for name in cls.__slots__}
        known = {name: value for name, value in said.items() if isinstance(value, int) and value > 0}
        return cls(**known)

    @classmethod
    def of_welcome(cls, welcome: Welcome) -> Limits:
        return cls.of(welcome["limits"])


def parse(text: str) -> ServerFrame | None:
    """None: an op that this version does not know."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAFrame(f"a frame that is no JSON: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("op"), str):
        raise NotAFrame("a frame without an `op`")
    return check(frame)


def check(frame: dict[str, Any]) -> ServerFrame | None:
    """As `parse`, of what is read already."""
    shape = SERVER_FRAMES.get(frame["op"])
    if shape is None:
        return None
    for members, needed in zip(shape, (True, False), strict=True):
        for name, types in members.items():
            if name not in frame:
                if needed:
                    raise NotAFrame(f"a frame `{frame['op']}` without `{name}`")
            elif not isinstance(frame[name], types):
                raise NotAFrame(f"a frame `{frame['op']}` with a wrong `{name}`")
    for event in frame.get("events", ()):
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise NotAFrame("an event without a `type`")
    return cast(ServerFrame, frame)


def encode(frame: Any) -> str:
    """JSON without needless bytes. NaN and infinity are no JSON: they are a ValueError."""
    return json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def seconds(ms: int) -> float:
    """A time that the broker said; what is no sensible one becomes the nearest that is."""
    return max(0, min(ms, _LONGEST_MS)) / 1000
