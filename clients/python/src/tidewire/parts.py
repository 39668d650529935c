"""The text of one message: one entry per (part, kind), in the order in which they first appeared.

`omitted` counts UTF-8 bytes, as the broker does, so beginnings are cut and kept as bytes, at character borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Part:
    """One text of a message."""

    part: int
    kind: str
    #: The text, in the pieces in which it came: joined when it is asked for, so that a long answer costs what it is long.
    _pieces: list[str] = field(default_factory=list)
    omitted: int = 0
    """UTF-8 bytes that are missing at the start."""
    bytes: int = 0
    """UTF-8 bytes held."""

    @classmethod
    def of(cls, part: int, kind: str, text: str, omitted: int = 0) -> Part:
        return cls(part, kind, [text], omitted, _length(text))

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def append(self, text: str) -> None:
        self._pieces.append(text)
        self.bytes += _length(text)


class Parts:
    """See the module."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes held."""
        return sum(part.bytes for part in self._parts)

    def append(self, part: int, kind: str, text: str) -> None:
        # the one that grows is nearly always the last
        held = next((p for p in reversed(self._parts) if p.part == part and p.kind == kind), None)
        if held:
            held.append(text)
        else:
            self._parts.append(Part.of(part, kind, text))

    def text_of(self, kind: str) -> str:
        """The text of one kind, its parts joined."""
        return "".join(part.text for part in self._parts if part.kind == kind)

    def replaced_by(self, snapshot: Sequence[Any]) -> Parts:
        """What a snapshot or a compact end event says, replacing all but the beginnings that it omits and that are
        held here. What is no part is left out."""
        new = Parts()
        for entry in snapshot:
            if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
                continue
            part, kind, omitted = entry.get("part", 0), entry.get("kind", "text"), entry.get("omitted", 0)
            if not (isinstance(part, int) and isinstance(kind, str) and isinstance(omitted, int) and omitted >= 0):
                continue
            missing, head = self._beginning(part, kind, omitted)
            new._parts.append(Part.of(part, kind, head + entry["text"], missing))
        return new

    def complete_with(self, text: str) -> None:
        """`message.completed` with `text`: the whole answer replaces the parts of kind `text`."""
        place = next((at for at, part in enumerate(self._parts) if part.kind == "text"), None)
        number = 0 if place is None else self._parts[place].part
        others = [part for part in self._parts if part.kind != "text"]
        # only other kinds stand before the first of kind text, so its place is still right
        others.insert(len(others) if place is None else place, Part.of(number, "text", text))
        self._parts = others

    def drop_beginning(self, wanted: int) -> int:
        """Drops text from the beginning until at least `wanted` bytes are gone; says how many went."""
        gone = 0
        for part in self._parts:
            if gone >= wanted:
                break
            whole = part.text.encode()
            cut = min(wanted - gone, len(whole))
            while cut < len(whole) and whole[cut] & 0xC0 == 0x80:
                cut += 1
            part._pieces = [whole[cut:].decode()]
            part.bytes -= cut
            part.omitted += cut
            gone += cut
        return gone

    def _beginning(self, part: int, kind: str, upto: int) -> tuple[int, str]:
        """What is missing before the held text of (part, kind) up to byte `upto` of the whole, and that text. Where
        it is not held: all of it is missing."""
        held = next((p for p in self._parts if p.part == part and p.kind == kind), None)
        if not upto or held is None or upto < held.omitted or upto - held.omitted > held.bytes:
            return upto, ""
        try:
            held_bytes = held.text.encode("utf-8", "surrogatepass")
            return held.omitted, held_bytes[: upto - held.omitted].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # not at a character border: it is another text
            return upto, ""


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
