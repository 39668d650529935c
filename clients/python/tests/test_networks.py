"""Bad networks: what the agent published is in the log once, whole, in order; a reader ends with the exact text."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from tidewire import Agent, Back, Client, Disconnected, Event, Forgotten, Gap, Lost, Notice, Reset
from tidewire.fold import Fold

from .broker import BOUND, Broker
from .conftest import until
from .proxy import Mood, Proxy

TOPIC = "/chat/42"
TOKENS = [f"{n} tökens " for n in range(400)]
TEXT = "".join(TOKENS)
#: So that a stalled line is found within a second.
QUICK = ("--limits-ping-interval", "300ms")


async def trouble(kind: str, proxy: Proxy, broker: Broker) -> None:
    match kind:
        case "cut":
            proxy.cut()
        case "reset":
            proxy.reset()
        case "refused":
            proxy.refuses = True
            proxy.cut()
            await asyncio.sleep(0.3)
            proxy.refuses = False
        case "stalled":
            # until the clients found out and came again; then the line is good
            before = proxy.connections
            proxy.mood = "stalls"
            await until(lambda: proxy.connections > before)
            proxy.mood = "passes"
        case "delayed" | "held_back":
            mood: Mood = "delays" if kind == "delayed" else "holds_back"
            proxy.mood = mood
            await asyncio.sleep(0.5)
            proxy.mood = "passes"
        case "restarted":
            await broker.restart()
        case "drained":
            await broker.restart(graceful=True)


async def written(agent: Agent, m: Any, proxy: Proxy, broker: Broker, kinds: list[str], pace: float) -> None:
    """Writes all tokens, with trouble in between."""
    at = {(n + 1) * len(TOKENS) // (len(kinds) + 1): kind for n, kind in enumerate(kinds)}
    troubles = []
    for n, piece in enumerate(TOKENS):
        await m.delta(piece)
        if n in at:
            # while it goes on writing
            troubles.append(asyncio.create_task(trouble(at[n], proxy, broker)))
        await asyncio.sleep(pace)
    await asyncio.gather(*troubles)


async def read(url: str, notices: list[Notice]) -> str:
    """What a reader ends with."""
    async for item in Client(url, on_notice=notices.append).subscribe(TOPIC, coalesce_ms=40):
        if isinstance(item, Event) and item.message and item.message.state == "completed":
            return item.message.text
    raise AssertionError("it ended without a message")


def texts(events: list[dict[str, Any]]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "token.delta")


@pytest.mark.parametrize(
    "kinds",
    [
        ["cut", "cut"],
        ["reset", "reset"],
        ["refused"],
        ["stalled"],
        ["delayed"],
        ["held_back"],
        ["cut", "delayed", "reset"],
    ],
    ids="-".join,
)
async def test_an_answer_through_a_bad_network(kinds: list[str]) -> None:
    async with Broker(*QUICK) as broker, Proxy(broker.port) as proxy:
        notices: list[Notice] = []
        reading = asyncio.create_task(read(proxy.url, notices))
        async with Agent(proxy.url, producer="finance", lease=10) as agent, agent.message(TOPIC, "m1") as m:
            await written(agent, m, proxy, broker, kinds, 0.002)
        assert await asyncio.wait_for(reading, BOUND) == TEXT
        events = await broker.history(TOPIC)
        assert texts(events) == TEXT, "once, whole, in order"
        assert [e["type"] for e in events if e["type"] != "token.delta"] == ["message.started", "message.completed"]
        if kinds[0] not in ("delayed", "held_back"):
            assert any(isinstance(notice, Disconnected) for notice in notices), "there was trouble"
            assert any(isinstance(notice, Back) for notice in notices)


@pytest.mark.parametrize("kinds", [["restarted", "restarted"], ["drained"]], ids="-".join)
async def test_a_broker_on_the_disk_engine_that_restarts(tmp_path: Path, kinds: list[str]) -> None:
    arguments = (*QUICK, "--engine", "disk", "--data-dir", str(tmp_path / "data"))
    async with Broker(*arguments) as broker, Proxy(broker.port) as proxy:
        notices: list[Notice] = []
        reading = asyncio.create_task(read(proxy.url, notices))
        async with Agent(proxy.url, producer="finance", lease=30) as agent, agent.message(TOPIC, "m1") as m:
            await written(agent, m, proxy, broker, kinds, 0.003)
        assert await asyncio.wait_for(reading, BOUND) == TEXT
        events = await broker.history(TOPIC)
        fold = Fold()
        for event in events:
            fold.apply(event)  # type: ignore[arg-type]
        message = fold.get("m1")
        assert message and message.text == TEXT and message.state == "completed"
        seqs = [event["seq"] for event in events]
        assert seqs == list(range(1, len(seqs) + 1))
        if kinds == ["drained"]:
            assert texts(events) == TEXT, "a broker that stops in order loses nothing"


async def test_a_broker_on_the_memory_engine_is_told_again(broker: Broker) -> None:
    notices: list[Notice] = []
    async with Proxy(broker.port) as proxy:
        reading = asyncio.create_task(read(proxy.url, []))
        async with Agent(proxy.url, producer="finance", lease=30, on_notice=notices.append) as agent:
            async with agent.message(TOPIC, "m1") as m:
                await written(agent, m, proxy, broker, ["restarted"], 0.003)
        assert await asyncio.wait_for(reading, BOUND) == TEXT
    assert texts(await broker.history(TOPIC)) == TEXT
    forgotten = [notice for notice in notices if isinstance(notice, Forgotten)]
    assert forgotten and forgotten[0].loss.missing == 0


async def test_many_topics_through_cuts(broker: Broker, proxy: Proxy) -> None:
    async def write(agent: Agent, topic: str) -> None:
        async with agent.message(topic) as m:
            for n in range(100):
                await m.delta(f"{n} ")
                await asyncio.sleep(0.003)

    async def cut() -> None:
        while True:
            await asyncio.sleep(0.08)
            proxy.cut()

    topics = [f"/chat/{n}" for n in range(20)]
    async with Agent(proxy.url, producer="finance") as agent:
        cutting = asyncio.create_task(cut())
        await asyncio.wait_for(asyncio.gather(*(write(agent, topic) for topic in topics)), BOUND)
        cutting.cancel()
    for topic in topics:
        assert texts(await broker.history(topic)) == "".join(f"{n} " for n in range(100))
    assert proxy.connections > 2


async def test_a_cancel_is_heard_through_a_cut(broker: Broker, proxy: Proxy) -> None:
    async with Agent(proxy.url, producer="finance") as agent, agent.message(TOPIC, "m1") as m:
        await m.delta("Hel")
        await agent.flush()
        proxy.refuses = True
        proxy.cut()
        await Client(broker.url).cancel(TOPIC, "m1")
        proxy.refuses = False
        await asyncio.wait_for(m.wait_cancelled(), BOUND)


async def test_a_command_is_given_out_once_and_its_acknowledgement_survives_a_cut(broker: Broker, proxy: Proxy) -> None:
    client = Client(broker.url)
    notices: list[Notice] = []
    async with Agent(proxy.url, producer="finance", on_notice=notices.append) as agent:
        commands = agent.commands(TOPIC)
        await client.steer(TOPIC, n=1)
        first = await asyncio.wait_for(commands.__anext__(), BOUND)
        proxy.refuses = True
        proxy.cut()
        await until(lambda: bool(notices))
        first.acknowledge()  # there is no line
        await client.steer(TOPIC, n=2)
        proxy.refuses = False
        second = await asyncio.wait_for(commands.__anext__(), BOUND)
        assert (first.data, second.data) == ({"n": 1}, {"n": 2})
    async with Agent(broker.url, producer="finance") as agent:
        again = await asyncio.wait_for(agent.commands(TOPIC).__anext__(), BOUND)
        assert again.data == {"n": 2}, "only what nobody acknowledged"


async def test_a_reader_resumes_from_a_position_it_stored(broker: Broker) -> None:
    await broker.publish(TOPIC, *({"type": "a.b", "data": n} for n in range(5)))
    client = Client(broker.url)
    async with client.subscribe(TOPIC, start="start") as subscription:
        async for item in itertools_aislice(subscription, 5):
            assert isinstance(item, Event)
        await broker.publish(TOPIC, {"type": "a.b", "data": 5})
        item = await subscription.__anext__()
        assert isinstance(item, Event) and item.data == 5
        stored = str(subscription.position(TOPIC))
    await broker.publish(TOPIC, {"type": "a.b", "data": 6})
    async for item in client.subscribe({TOPIC: stored}):
        assert isinstance(item, Event)
        # the frame of event 5 had not been dealt with when the position was stored
        if item.data == 6:
            break
        assert item.data == 5


async def itertools_aislice(items: Any, count: int) -> Any:
    for _ in itertools.repeat(None, count):
        yield await items.__anext__()


async def test_gaps_resets_and_what_was_lost_are_events(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[limits]\nmax_batch_events = 2\n[namespace.chat]\nretention_events = 5\n")
    async with Broker("--config", str(config)) as broker, Proxy(broker.port) as proxy:
        await broker.publish(TOPIC, {"type": "token.delta", "data": {"message_id": "m1", "text": "lost"}})
        told: list[Any] = []
        async with Client(proxy.url).subscribe(TOPIC) as subscription:
            first = await subscription.__anext__()
            assert isinstance(first, Event) and first.message and first.message.text == "lost"
            proxy.refuses = True
            proxy.cut()
            await broker.publish(TOPIC, {"type": "message.completed", "data": {"message_id": "m1"}})
            for n in range(8):
                await broker.publish(TOPIC, {"type": "a.b", "data": n})
            proxy.refuses = False
            while not any(isinstance(item, Lost) for item in told):
                told.append(await asyncio.wait_for(subscription.__anext__(), BOUND))
            assert told[0] == Gap(TOPIC, 2, 5, "retention") and told[-1].message.id == "m1"
            await broker.call(f"/v1/topic?topic={TOPIC}", "DELETE")
            item = await asyncio.wait_for(subscription.__anext__(), BOUND)
            assert item == Reset(TOPIC, "deleted") and subscription.messages(TOPIC) == []
