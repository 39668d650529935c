"""The synchronous façade, as a script uses it: no event loop around."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from tidewire import Closed, Event, InvalidUse
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


def test_it_works_where_an_event_loop_runs_already(url: str) -> None:
    """As in a notebook."""

    async def cell() -> int | None:
        with Agent(url, producer="finance") as agent, agent.message(TOPIC) as m:
            m.delta("Hel")
        return Client(url).publish(TOPIC, "done.now", None)

    assert asyncio.run(cell()) == 4
    assert asyncio.run(cell()) == 8, "and again, on another loop"


def test_the_facade_has_all_that_the_asynchronous_ones_have() -> None:
    import inspect

    import tidewire
    import tidewire.sync

    def said(kind: type, name: str) -> list[tuple[str, object]]:
        member = getattr(kind, name)
        if isinstance(member, property):
            return []
        return [(p.name, p.default) for p in inspect.signature(member).parameters.values()]

    for name in tidewire.sync.__all__:
        kind, other = getattr(tidewire, name), getattr(tidewire.sync, name)
        for member in [m for m in vars(kind) if not m.startswith("_") and m != "producer"]:
            assert said(kind, member) == said(other, member), f"{name}.{member}"
        if name in ("Agent", "Client"):
            assert said(kind, "__init__") == said(other, "__init__")


def test_readers_and_messages(url: str) -> None:
    seen: list[str] = []

    def read() -> None:
        for message in Client(url).messages(TOPIC, coalesce_ms=0):
            seen.append(message.text)
            if message.state != "open":
                return

    thread = threading.Thread(target=read)
    with Agent(url, producer="finance") as agent:
        assert agent.producer == "finance" and agent.readers(TOPIC) is None
        with agent.message(TOPIC) as m:
            numbers = agent.demand(TOPIC)
            assert next(numbers) == 0 and agent.readers(TOPIC) == 0
            thread.start()
            assert next(numbers) == 1
            m.delta("Hello")
            agent.flush()
            assert agent.outstanding == 0 and agent.failed is None
        thread.join(30)
    assert seen[-1] == "Hello"


def test_what_waits_in_other_threads_ends_when_the_agent_does(url: str) -> None:
    ended: dict[str, object] = {}
    begun = [threading.Event() for _ in range(3)]

    def waits(name: str, at: int, work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            begun[at].set()
            try:
                ended[name] = work()
            except Exception as error:
                ended[name] = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with Agent(url, producer="finance") as agent, agent.message(TOPIC) as m:

        def publish() -> None:
            while True:
                agent.publish("/chat/other", "a.b", 1)

        threads = [
            waits("commands", 0, lambda: list(agent.commands(TOPIC))),
            waits("cancelled", 1, m.wait_cancelled),
            waits("publish", 2, publish),
        ]
        for one in begun:
            assert one.wait(30)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert ended["commands"] == [] and isinstance(ended["cancelled"], Closed) and isinstance(ended["publish"], Closed)
    for call in (
        agent.flush,
        lambda: m.delta("x"),
        lambda: agent.publish(TOPIC, "a.b", 1),
        lambda: next(agent.demand(TOPIC)),
    ):
        with pytest.raises((Closed, StopIteration)):
            call()
    with pytest.raises(InvalidUse, match="entered once"):
        agent.__enter__()


def test_a_subscription_is_read_in_parts_and_closed_by_another_thread(url: str) -> None:
    client = Client(url)
    for n in range(3):
        client.publish(TOPIC, "a.b", n)
    assert not list(threads_of_the_client()), "each call leaves nothing behind"
    got = []
    with client.subscribe(TOPIC, start="start") as subscription:
        for item in subscription:
            got.append(item)
            break
        for item in subscription:
            got.append(item)
            if len(got) == 3:
                break
        assert [item.data for item in got if isinstance(item, Event)] == [0, 1, 2]
        reading = threading.Thread(target=lambda: got.extend(subscription))
        reading.start()
        client.publish(TOPIC, "a.b", 3)
        for _ in range(3000):
            if len(got) == 4:
                break
            reading.join(0.01)
        subscription.close()
        reading.join(30)
        assert not reading.is_alive() and len(got) == 4
    assert list(subscription) == []
    client.subscribe(TOPIC)  # never read: nothing was begun
    assert not list(threads_of_the_client())


def threads_of_the_client() -> Iterator[threading.Thread]:
    return (thread for thread in threading.enumerate() if thread.name == "tidewire")


def test_a_callback_that_waits_for_its_own_agent_is_told_so(url: str) -> None:
    told: list[Exception] = []
    called = threading.Event()

    with Agent(url, producer="finance") as agent, agent.message(TOPIC, "m1") as m:

        def stop(_: object) -> None:
            try:
                m.delta("it would wait for itself")
            except InvalidUse as error:
                told.append(error)
            called.set()

        m.on_cancel(stop)
        Client(url).cancel(TOPIC, "m1")
        assert called.wait(30)
    assert len(told) == 1
