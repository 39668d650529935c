"""The recorded conversations of schema/vectors/, which all clients run."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tidewire import Draining, Event, Gap, Message, Notice, Refused, Reset, Unsubscribed, endings
from tidewire.endpoint import Endpoint
from tidewire.errors import ConnectionEnded, Disagreement, Problem, PublishRefused
from tidewire.kept import Tally
from tidewire.new_event import new_event
from tidewire.notices import Notices
from tidewire.position import Position
from tidewire.reader import Item, Reader
from tidewire.subscriber import Subscription
from tidewire.window import Room, Window
from tidewire.wire import Limits, check

VECTORS = Path(__file__).resolve().parents[3] / "schema" / "vectors"


def vectors(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((VECTORS / kind).glob("*.json"))]


def included(actual: Any, expected: Any) -> bool:
    """Members that are absent in what is expected are not compared."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(included(actual.get(key), value) for key, value in expected.items())
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(expected)
            and all(included(one, other) for one, other in zip(actual, expected, strict=True))
        )
    return bool(actual == expected)


class Reading:
    """A real subscription without its socket."""

    def __init__(self, topics: dict[str, str]) -> None:
        self.told: list[Any] = []
        self.subscription = self._subscription(topics)

    def _subscription(self, topics: dict[str, str]) -> Subscription:
        return Subscription(
            Endpoint("http://127.0.0.1"),
            topics,
            replay=None,
            coalesce_ms=None,
            types=(),
            connect_timeout=None,
            notices=Notices(self._notice),
        )

    @property
    def reader(self) -> Reader:
        return self.subscription._reader

    def subscribe(self) -> dict[str, str]:
        self.reader.on_connected()
        return {one["topic"]: one["from"] for one in self.reader.to_subscribe()}

    def take(self, frame: dict[str, Any]) -> None:
        known = check(frame)
        if known is not None:
            for item in self.subscription._taken(known):
                self._item(item)

    def reload(self) -> None:
        kept = {topic: str(position.without_text()) for topic, position in self.reader.positions.items()}
        self.subscription = self._subscription(kept)

    def state(self) -> dict[str, Any]:
        told, self.told = self.told, []
        return {
            "positions": {topic: str(position) for topic, position in self.reader.positions.items()},
            "messages": {topic: [_message(m) for m in self.reader.messages(topic)] for topic in self.reader._folds},
            "told": told,
        }

    def _item(self, item: Item) -> None:
        match item:
            case Gap(topic, first, last, reason):
                self.told.append({"gap": {"topic": topic, "from": first, "to": last, "reason": reason}})
            case Reset(topic, reason):
                self.told.append({"reset": {"topic": topic, "reason": reason}})
            case Unsubscribed(topic, code, reason):
                self.told.append({"unsubscribed": {"topic": topic, "code": code, "reason": reason}})
            case Refused(topic, problem):
                self.told.append({"error": {"topic": topic, "code": problem.code}})
            case Event():
                pass

    def _notice(self, notice: Notice) -> None:
        if isinstance(notice, Draining):
            self.told.append({"draining": {"reconnect_after_ms": round(notice.reconnect_after * 1000)}})


def _message(message: Message) -> dict[str, Any]:
    parts = []
    for part in message.parts:
        entry: dict[str, Any] = {"part": part.part, "kind": part.kind, "text": part.text}
        if part.omitted:
            entry["omitted"] = part.omitted
        parts.append(entry)
    return {
        "id": message.id,
        "state": message.state,
        "text": message.text,
        "parts": parts,
        "reason": message.reason,
        "finish_reason": message.finish_reason,
    }


@pytest.mark.parametrize("path", vectors("reading"))
async def test_reading(path: Path) -> None:
    vector = json.loads(path.read_text())
    reading = Reading(vector["topics"])
    steps = vector["steps"]
    for at, step in enumerate(steps):
        match step:
            case {"subscribe": topics}:
                assert reading.subscribe() == topics, f"step {at}"
            case {"in": frame}:
                if at + 1 < len(steps) and "out_of_step" in steps[at + 1]:
                    with pytest.raises(Disagreement):
                        reading.take(frame)
                else:
                    reading.take(frame)
            case {"reload": _}:
                reading.reload()
            case {"expect": expected}:
                state = reading.state()
                assert included(state, expected), f"step {at}: {state} is not {expected}"
            case {"cut": _} | {"out_of_step": _}:
                pass
            case _:
                pytest.fail(f"step {at} is unknown: {step}")


@pytest.mark.parametrize("path", vectors("publishing"))
def test_publishing(path: Path) -> None:
    vector = json.loads(path.read_text())
    window = Window(vector["topic"], vector["producer"], count(1), Room(), Tally(1 << 20))
    now, failed, unanswered = 0.0, None, list[int]()
    for at, step in enumerate(vector["steps"]):
        match step:
            case {"connected": limits}:
                window.on_connected(Limits.of(limits))
            case {"publish": events}:
                for event in events:
                    window.push(new_event(event["type"], event["data"], event.get("id")), now)
            case {"after_ms": ms}:
                now = round(now + ms / 1000, 6)
            case {"out": expected}:
                sent = []
                while (text := window.next_frame(now)) is not None:
                    frame = json.loads(text)
                    unanswered.append(frame.pop("id"))
                    sent.append(frame)
                assert sent == expected, f"step {at}"
            case {"in": answer}:
                answer = {**answer, "id": unanswered.pop(0)}
                known = check(answer)
                assert known is not None
                if known["op"] == "published":
                    window.on_published(known)
                elif known["op"] == "error":
                    try:
                        window.on_refused(Problem(known), now)
                    except PublishRefused as refused:
                        failed = refused.code
            case {"cut": _}:
                window.on_disconnected()
                unanswered.clear()
            case {"expect": expected}:
                state = {"outstanding": window.outstanding, "failed": failed, "epoch": window.epoch}
                assert included(state, expected), f"step {at}: {state} is not {expected}"
            case _:
                pytest.fail(f"step {at} is unknown: {step}")


@pytest.mark.parametrize("path", vectors("endings"))
def test_endings(path: Path) -> None:
    vector = json.loads(path.read_text())
    ending: ConnectionEnded
    if "close" in vector:
        ending = endings.closed(vector["close"])
    elif "status" in vector:
        ending = endings.refused(vector["status"], vector.get("body", ""))
    else:
        ending = endings.answered(vector["body"])
    assert {"retry": ending.may_come_back, "kind": ending.kind} == vector["expect"], str(ending)


def test_a_position_is_read_as_it_is_written() -> None:
    for text in ("aaaaaaaa:0", "aaaaaaaa:17~", "00000000:0"):
        assert str(Position.parse(text)) == text
    for text in ("snapshot", "aaaaaaaa:", "aaaaaaaa:01", "a:1", "aaaaaaaa:1~~", "last:5"):
        assert Position.parse(text) is None
