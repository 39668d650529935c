"""The synchronous façade, as a script uses it: no event loop around."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tidewire import Event, InvalidUse
from tidewire.sync import Agent, Client

from .broker import Broker

TOPIC = "/chat/42"


@pytest.fixture
def url() -> Iterator[str]:
    """A broker that lives on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    broker = asyncio.run_coroutine_threadsafe(Broker().start(), loop).result(30)
    yield broker.url
    asyncio.run_coroutine_threadsafe(broker.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def read(url: str) -> list[Event]:
    events = []
    for item in Client(url).subscribe(TOPIC, start="start"):
        assert isinstance(item, Event)
        events.append(item)
        if item.type == "done.now":
            break
    return events


def test_an_agent_and_a_client(url: str) -> None:
    client = Client(url)
    with Agent(url, producer="finance") as agent:
        with agent.message(TOPIC, "m1") as m:
            m.delta("Hel")
            m.delta("lo")
        with pytest.raises(ZeroDivisionError), agent.message(TOPIC, "m2") as m:
            m.delta("x")
            1 / 0  # noqa: B018
        client.cancel(TOPIC, style="soft")
        for command in agent.commands(TOPIC):
            assert command.type == "run.cancel"
            break
        with agent.tool(TOPIC, "search", call_id="c1") as call:
            call.result(hits=1)
        with pytest.raises(ValueError, match="not found"), agent.tool(TOPIC, "search", call_id="c2"):
            raise ValueError("not found")
        agent.memory(TOPIC, "units")
        agent.navigate(TOPIC, "/home")
        agent.publish(TOPIC, "done.now", None)
        agent.flush()
    events = read(url)
    ended = {e.message.id: (e.message.state, e.message.text) for e in events if e.message}
    assert ended == {"m1": ("completed", "Hello"), "m2": ("interrupted", "x")}
    assert [e.type for e in events if e.type.startswith(("tool", "memory", "nav", "run"))] == [
        "run.cancel",
        "tool.started",
        "tool.completed",
        "tool.started",
        "tool.failed",
        "memory.updated",
        "navigation.requested",
    ]


def test_it_is_used_in_a_block() -> None:
    with pytest.raises(InvalidUse, match="with Agent"):
        Agent("http://127.0.0.1:1", producer="x").flush()


def test_several_threads_write_with_one_agent(url: str) -> None:
    with Agent(url, producer="finance") as agent:

        def write(n: int) -> None:
            with agent.message(f"/chat/{n}", "m") as m:
                for k in range(50):
                    m.delta(f"{k} ")

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    for n in range(4):
        for item in Client(url).subscribe(f"/chat/{n}", start="start", replay="compact"):
            assert isinstance(item, Event) and item.message
            assert item.message.text == "".join(f"{k} " for k in range(50))
            break
