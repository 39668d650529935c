"""Stopping: leaving blocks early, Ctrl-C, cancellation, and everything that still waits then."""

from __future__ import annotations

import asyncio
import signal
import sys
import textwrap
from typing import Any

import pytest

from tidewire import Agent, BufferFull, Closed, InvalidUse, Replaced
from tidewire.window import Bounds

from .broker import BOUND, PACKAGE, Broker
from .conftest import until
from .proxy import Proxy

TOPIC = "/chat/42"


def ends(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    found = ("message.completed", "message.interrupted")
    return [(event["type"], event["data"].get("reason")) for event in events if event["type"] in found]


async def test_what_waits_for_a_client_ends_when_the_agent_does(broker: Broker) -> None:
    async def each(items: Any) -> str:
        async for _ in items:
            pass
        return "ended"

    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC) as m:
        waiting = [
            asyncio.create_task(each(agent.commands(TOPIC))),
            asyncio.create_task(each(agent.demand("/chat/other"))),
            asyncio.create_task(m.wait_cancelled()),
        ]
        await until(lambda: agent.readers("/chat/other") == 0)
    commands, demand, cancelled = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), BOUND)
    assert (commands, demand) == ("ended", "ended") and isinstance(cancelled, Closed)


async def test_what_waits_for_a_client_fails_when_the_agent_is_replaced(broker: Broker) -> None:
    with pytest.raises(Replaced):
        async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC) as m:
            waiting = [
                asyncio.create_task(agent.commands(TOPIC).__anext__()),  # type: ignore[arg-type]
                asyncio.create_task(m.wait_cancelled()),
            ]
            async with Agent(broker.url, producer="finance"):
                told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), BOUND)
                assert [type(error) for error in told] == [Replaced, Replaced]


async def test_messages_that_other_tasks_still_write_are_interrupted_and_their_tasks_told(broker: Broker) -> None:
    left = asyncio.Event()

    async def write(agent: Agent, name: str, more: bool) -> None:
        async with agent.message(TOPIC, name) as m:
            await m.delta("Hel")
            await left.wait()
            if more:
                await m.delta("lo")

    async with Agent(broker.url, producer="finance") as agent:
        tasks = [asyncio.create_task(write(agent, name, name == "m1")) for name in ("m1", "m2")]
        await until(lambda: agent.outstanding == 0 and agent.readers(TOPIC) is not None)
    left.set()
    told = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), BOUND)
    assert [type(error) for error in told] == [Closed, Closed]
    assert ends(await broker.history(TOPIC)) == [("message.interrupted", "error")] * 2
    for call in (agent.publish(TOPIC, "a.b", 1), agent.flush(), agent.message(TOPIC).__aenter__()):
        with pytest.raises(Closed):
            await call


async def test_publishing_goes_on_while_another_task_leaves_the_agent(broker: Broker) -> None:
    """Nothing is taken over and then dropped."""
    taken = 0

    async def write(agent: Agent) -> None:
        nonlocal taken
        while True:
            await agent.publish(TOPIC, "a.b", taken)
            taken += 1
            await asyncio.sleep(0)

    async with Agent(broker.url, producer="finance") as agent:
        task = asyncio.create_task(write(agent))
        await until(lambda: taken > 100)
    with pytest.raises(Closed):
        await asyncio.wait_for(task, BOUND)
    assert [event["data"] for event in await broker.history(TOPIC)] == list(range(taken))


async def test_a_loop_that_cancels_all_its_tasks_still_lets_the_last_words_out(broker: Broker) -> None:
    """As Python 3.10 does it on Ctrl-C: the tasks inside are cancelled together with those of the program."""
    writing = asyncio.Event()

    async def write() -> None:
        async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "m1") as m:
            await m.delta("Hel")
            await agent.flush()
            writing.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    task = asyncio.create_task(write())
    await asyncio.wait_for(writing.wait(), BOUND)
    for one in asyncio.all_tasks() - before:
        one.cancel()
    done, _ = await asyncio.wait({task}, timeout=BOUND)
    assert done and task.cancelled()
    assert ends(await broker.history(TOPIC)) == [("message.interrupted", "cancelled")]


async def test_an_agent_that_is_left_while_it_attaches_leaves_no_line(broker: Broker, proxy: Proxy) -> None:
    async with Agent(proxy.url, producer="finance", close_timeout=0.1) as agent:
        before = proxy.connections
        proxy.mood = "stalls"
        proxy.cut()
        await until(lambda: proxy.connections > before)
        assert agent.outstanding == 0
    proxy.mood = "passes"
    await until(lambda: not proxy.lines)


async def test_a_message_that_cannot_begin_may_begin_later(broker: Broker, proxy: Proxy) -> None:
    bounds = Bounds(events=1)
    async with Agent(proxy.url, producer="finance", bounds=bounds, when_full="raise") as agent:
        proxy.mood = "stalls"
        await agent.publish(TOPIC, "a.b", 1)
        with pytest.raises(BufferFull):
            async with agent.message(TOPIC, "m1"):
                pytest.fail("there was no room")
        proxy.mood = "passes"
        await agent.flush()
        async with agent.message(TOPIC, "m1"):
            pass
    assert ends(await broker.history(TOPIC)) == [("message.completed", None)]


async def test_misuse_is_told_in_words(broker: Broker) -> None:
    agent = Agent(broker.url, producer="finance")
    for call in (
        agent.publish(TOPIC, "a.b", 1),
        agent.message(TOPIC).__aenter__(),
        agent.message(TOPIC).delta("x"),
        agent.commands(TOPIC).__anext__(),
        agent.demand(TOPIC).__anext__(),
    ):
        with pytest.raises(InvalidUse, match="async with"):
            await call
    async with agent:
        with pytest.raises(InvalidUse, match="entered once"):
            await agent.__aenter__()
        with pytest.raises(InvalidUse, match="async with"):
            await agent.message(TOPIC).delta("x")
        m = agent.message(TOPIC)
        async with m:
            pass
        with pytest.raises(InvalidUse, match="entered once"):
            await m.__aenter__()
    with pytest.raises(InvalidUse, match="entered once"):
        await agent.__aenter__()
    with pytest.raises(InvalidUse):
        Bounds(events=0)


ASYNC = """
    import asyncio
    from tidewire import Agent

    async def main():
        async with Agent(URL, producer="finance") as agent, agent.message("/chat/42") as m:
            await m.delta("Hel")
            await agent.flush()
            print("writing", flush=True)
            await asyncio.sleep(3600)

    asyncio.run(main())
"""
SYNC = """
    import time
    from tidewire.sync import Agent

    with Agent(URL, producer="finance") as agent, agent.message("/chat/42") as m:
        m.delta("Hel")
        agent.flush()
        print("writing", flush=True)
        time.sleep(3600)
"""
SYNC_WAITING = """
    from tidewire.sync import Agent

    with Agent(URL, producer="finance") as agent, agent.message("/chat/42") as m:
        m.delta("Hel")
        agent.flush()
        print("writing", flush=True)
        for command in agent.commands("/chat/42"):
            pass
"""


@pytest.mark.parametrize("program", [ASYNC, SYNC, SYNC_WAITING], ids=["asyncio", "sync", "sync-waiting"])
async def test_ctrl_c_interrupts_the_message_and_ends_the_program(broker: Broker, program: str) -> None:
    # whoever runs the tests in the background has SIGINT ignored, and what it starts inherits that
    heard = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = f"{heard}URL = {broker.url!r}\n" + textwrap.dedent(program)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "dev",
        "-c",
        code,
        cwd=PACKAGE / "src",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), BOUND) == b"writing\n"
    process.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(process.communicate(), BOUND)
    assert said.decode().rstrip().endswith("KeyboardInterrupt"), said.decode()
    assert b"never" not in said and b"destroyed" not in said and b"Warning" not in said, said.decode()
    assert process.returncode == -signal.SIGINT
    assert ends(await broker.history(TOPIC)) == [("message.interrupted", "cancelled")]
