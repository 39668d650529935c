"""Where a reader stands: `EPOCH:SEQ`, or `EPOCH:SEQ~` when it lacks the beginning of open messages."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import InvalidUse

_WORDS = re.compile(r"snapshot|live|start|last:[0-9]{1,19}", re.ASCII)
_SHAPE = re.compile(r"([A-Za-z0-9_-]{8,32}):(0|[1-9][0-9]{0,18})(~?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The last event a reader has; everything after it is owed. Seq 0 matches any epoch."""

    epoch: str
    seq: int
    partial: bool = False
    """The reader lacks the beginning of open messages: reading on is `compact`."""

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """None: the text is no position (it may be another `from`, such as `snapshot`)."""
        found = _SHAPE.fullmatch(text)
        return cls(found[1], int(found[2]), found[3] == "~") if found else None

    def without_text(self) -> Position:
        """For a reader that kept its position but not the text: open messages then come whole."""
        return Position(self.epoch, self.seq, True)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}{'~' if self.partial else ''}"


def checked_begin(begin: str | Position) -> str:
    """Where to begin reading, as it is written on the wire."""
    if isinstance(begin, Position):
        return str(begin)
    if isinstance(begin, str) and (_WORDS.fullmatch(begin) or Position.parse(begin)):
        return begin
    raise InvalidUse(f"{begin!r:.80} is no place to begin: `snapshot`, `live`, `start`, `last:N`, or a stored position")
