#!/usr/bin/env python3
"""Records schema/vectors/reading/ from a real broker: what it said, and what a client must make of it.

    BROKER_BIN=… python scripts/record_vectors.py

The frames are the broker's own; epochs and times are replaced by fixed ones so that recording again changes little.
What is expected is written here by hand, not taken from this client.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.broker import BOUND, PACKAGE, Broker

TARGET = PACKAGE.parent.parent / "schema" / "vectors" / "reading"
TOPIC = "/chat/1"


def delta(text: str, message: str = "m1", **more: Any) -> dict[str, Any]:
    return {"type": "token.delta", "data": {"message_id": message, "text": text, **more}}


def end(message: str = "m1", **more: Any) -> dict[str, Any]:
    return {"type": "message.completed", "data": {"message_id": message, **more}}


class Recorder:
    def __init__(self, broker: Broker, about: str, begin: str) -> None:
        self.broker = broker
        self.vector: dict[str, Any] = {"about": about, "topics": {TOPIC: begin}, "steps": []}
        self._epochs: dict[str, str] = {"00000000": "00000000"}
        self._socket: ClientConnection | None = None

    async def publish(self, *events: dict[str, Any]) -> None:
        await self.broker.publish(TOPIC, *events)

    async def subscribe(self, begin: str, **options: Any) -> None:
        """Connects (again) and asks for the topic from there."""
        self.step({"subscribe": {TOPIC: begin}})
        real = begin
        for epoch, name in self._epochs.items():
            real = real.replace(name, epoch)
        url = self.broker.url.replace("http", "ws") + "/v1/ws"
        self._socket = await connect(url, subprotocols=[Subprotocol("tidewire.v1.json")], proxy=None)
        await self._socket.recv()
        await self._socket.send(json.dumps({"op": "subscribe", "id": 1, "topic": TOPIC, "from": real, **options}))

    async def upto(self, seq: int, whole: bool = True) -> None:
        """Takes frames until the position is there."""
        assert self._socket
        while True:
            frame = self._fixed(json.loads(await asyncio.wait_for(self._socket.recv(), BOUND)))
            self.step({"in": frame})
            if frame["op"] == "events" and frame["upto"] >= seq and not (whole and frame.get("partial")):
                return

    async def one(self) -> None:
        assert self._socket
        self.step({"in": self._fixed(json.loads(await asyncio.wait_for(self._socket.recv(), BOUND)))})

    async def cut(self) -> None:
        assert self._socket
        self._socket.transport.abort()
        self.step({"cut": True})

    def expect(self, position: str, *messages: dict[str, Any], told: list[Any] | None = None) -> None:
        state: dict[str, Any] = {"positions": {TOPIC: position}, "messages": {TOPIC: list(messages)}}
        state["told"] = told or []
        self.step({"expect": state})

    def step(self, step: dict[str, Any]) -> None:
        self.vector["steps"].append(step)

    def _fixed(self, value: Any) -> Any:
        if isinstance(value, dict):
            fixed = {}
            for key, member in value.items():
                if key == "epoch" and isinstance(member, str):
                    member = self._epochs.setdefault(member, f"recorded-{len(self._epochs)}")
                elif key == "position" and isinstance(member, str):
                    epoch, _, seq = member.partition(":")
                    member = f"{self._epochs.setdefault(epoch, f'recorded-{len(self._epochs)}')}:{seq}"
                elif key == "time":
                    member = 1795233076232
                fixed[key] = self._fixed(member)
            return fixed
        return [self._fixed(one) for one in value] if isinstance(value, list) else value


async def merges(r: Recorder) -> None:
    await r.publish(delta("Hel"), delta("lo, "), delta("wor"), delta("ld"))
    await r.subscribe("start", coalesce_ms=1000)
    await r.upto(4)
    r.expect("recorded-1:4", {"id": "m1", "state": "open", "text": "Hello, world"})
    await r.publish(end(finish_reason="stop"))
    await r.upto(5)
    r.expect("recorded-1:5", {"id": "m1", "state": "completed", "text": "Hello, world", "finish_reason": "stop"})


async def snapshots(r: Recorder) -> None:
    await r.publish({"type": "message.started", "data": {"message_id": "m1", "role": "assistant"}})
    await r.publish(delta("hm", kind="reasoning"), delta("Hel"), delta("lo"), delta("other", "m2", part=3))
    await r.subscribe("snapshot")
    await r.upto(5)
    r.expect(
        "recorded-1:5",
        {
            "id": "m1",
            "state": "open",
            "text": "Hello",
            "parts": [{"part": 0, "kind": "reasoning", "text": "hm"}, {"part": 0, "kind": "text", "text": "Hello"}],
        },
        {"id": "m2", "state": "open", "text": "other", "parts": [{"part": 3, "kind": "text", "text": "other"}]},
    )
    await r.publish(delta("!"))
    await r.upto(6)
    await r.publish({"type": "message.interrupted", "data": {"message_id": "m2", "reason": "cancelled"}})
    await r.upto(7)
    r.expect(
        "recorded-1:7",
        {"id": "m1", "state": "open", "text": "Hello!"},
        {"id": "m2", "state": "interrupted", "text": "other", "reason": "cancelled"},
    )


async def compact(r: Recorder) -> None:
    await r.publish(delta("one "), delta("two"), end(), delta("thr", "m2"))
    await r.publish({"type": "tool.started", "data": {"call_id": "c1"}})
    await r.subscribe("last:4")
    await r.upto(5)
    r.expect(
        "recorded-1:5",
        {"id": "m1", "state": "completed", "text": "one two"},
        {"id": "m2", "state": "open", "text": "thr"},
    )
    await r.publish(delta("ee", "m2"), end("m2", text="three, all of it"))
    await r.upto(7)
    r.expect(
        "recorded-1:7",
        {"id": "m1", "state": "completed", "text": "one two"},
        {"id": "m2", "state": "completed", "text": "three, all of it"},
    )


async def resumes(r: Recorder) -> None:
    await r.publish(delta("a"), delta("b"))
    await r.subscribe("snapshot")
    await r.upto(2)
    await r.cut()
    await r.publish(delta("c"), end())
    await r.subscribe("recorded-1:2")
    await r.upto(4)
    r.expect("recorded-1:4", {"id": "m1", "state": "completed", "text": "abc"})


async def reloads(r: Recorder) -> None:
    await r.publish(delta("é and "), delta("more"))
    await r.subscribe("start")
    await r.upto(2)
    r.expect("recorded-1:2", {"id": "m1", "state": "open", "text": "é and more"})
    await r.cut()
    r.step({"reload": True})
    await r.publish(delta("!"))
    await r.subscribe("recorded-1:2~")
    await r.upto(3)
    r.expect("recorded-1:3", {"id": "m1", "state": "open", "text": "é and more!"})


async def born(r: Recorder) -> None:
    await r.subscribe("snapshot")
    await r.one()
    r.expect("00000000:0")
    await r.publish(delta("first"))
    await r.upto(1)
    r.expect("recorded-1:1", {"id": "m1", "state": "open", "text": "first"})


async def deleted(r: Recorder) -> None:
    await r.publish(delta("gone"))
    await r.subscribe("snapshot")
    await r.upto(1)
    r.expect("recorded-1:1", {"id": "m1", "state": "open", "text": "gone"})
    await r.broker.call(f"/v1/topic?topic={TOPIC}", "DELETE")
    await r.one()
    r.expect("00000000:0~", told=[{"reset": {"topic": TOPIC, "reason": "deleted"}}])
    await r.publish(delta("new", "m2"))
    await r.upto(1)
    r.expect("recorded-2:1", {"id": "m2", "state": "open", "text": "new"})


async def another_life(r: Recorder) -> None:
    await r.publish(delta("old"), delta("er"))
    await r.subscribe("snapshot")
    await r.upto(2)
    await r.cut()
    await r.broker.restart()
    await r.publish(delta("new"))
    await r.subscribe("recorded-1:2")
    await r.one()
    # null: the own position stands until the reset comes
    r.expect("recorded-1:2", {"id": "m1", "state": "open", "text": "older"})
    await r.upto(1)
    r.expect(
        "recorded-2:1",
        {"id": "m1", "state": "open", "text": "new"},
        told=[{"reset": {"topic": TOPIC, "reason": "epoch"}}],
    )


async def gap(r: Recorder) -> None:
    """With a retention of few events."""
    for text, message in (("lost", "m1"), ("stays", "m2"), ("ends", "m3")):
        await r.publish(delta(text, message))
    await r.subscribe("snapshot")
    await r.upto(3)
    await r.cut()
    await r.publish(end("m1"), delta(" and grows", "m2"))
    for n in range(8):
        await r.publish({"type": "a.b", "data": n})
    await r.publish(end("m3"))
    await r.subscribe("recorded-1:3")
    await r.upto(14)
    r.expect(
        "recorded-1:14",
        {"id": "m1", "state": "lost", "text": "lost"},
        {"id": "m2", "state": "open", "text": "stays and grows"},
        {"id": "m3", "state": "completed", "text": "ends"},
        told=[{"gap": {"topic": TOPIC, "from": 4, "to": 9, "reason": "retention"}}],
    )


Scenario = Callable[[Recorder], Awaitable[None]]
SCENARIOS: dict[str, tuple[Scenario, str, str, str]] = {
    "said_by_a_broker_merge": (merges, "start", "", "Deltas that come as one move the position to the last of them."),
    "said_by_a_broker_snapshot": (snapshots, "snapshot", "", "Open messages come whole, and grow from there."),
    "said_by_a_broker_compact_end": (compact, "last:4", "", "A message that ended comes as its end with its text."),
    "said_by_a_broker_resume": (resumes, "snapshot", "", "After a cut it goes on where it stood."),
    "said_by_a_broker_reload": (
        reloads,
        "start",
        "",
        "A page that lost its texts resumes as partial, and gets them whole.",
    ),
    "said_by_a_broker_birth": (born, "snapshot", "", "The first life of a topic begins without a reset."),
    "said_by_a_broker_deleted": (deleted, "snapshot", "", "A topic that is erased is forgotten, and may begin again."),
    "said_by_a_broker_another_life": (another_life, "snapshot", "", "A broker that lost its log says reset."),
    "said_by_a_broker_gap": (
        gap,
        "snapshot",
        "[limits]\nmax_batch_events = 2\n[namespace.chat]\nretention_events = 5\n",
        "What is gone is told, and an open message that got no snapshot is lost.",
    ),
}


async def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        for name, (scenario, begin, settings, about) in SCENARIOS.items():
            config.write_text(settings)
            async with Broker("--config", str(config)) as broker:
                recorder = Recorder(broker, about, begin)
                await scenario(recorder)
            text = json.dumps(recorder.vector, ensure_ascii=False, indent=1)
            (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
