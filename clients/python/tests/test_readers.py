"""How many read a topic, as an agent is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidewire import Agent, Client, NotControlled, Notice, Problem

from .broker import BOUND, Broker, token
from .conftest import until
from .proxy import Proxy

TOPIC = "/chat/42"
SECRET = "0123456789abcdef0123456789abcdef-of-a-test"


async def comes(numbers: AsyncIterator[int]) -> int:
    return await asyncio.wait_for(numbers.__anext__(), BOUND)


async def test_how_many_read_is_known_while_a_message_is_written(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent:
        assert agent.readers(TOPIC) is None
        async with agent.message(TOPIC):
            await until(lambda: agent.readers(TOPIC) == 0)
            async with Client(broker.url).subscribe(TOPIC) as subscription:
                reading = asyncio.create_task(subscription.__anext__())
                await until(lambda: agent.readers(TOPIC) == 1)
                await reading


async def test_a_change_is_told_and_after_a_cut_it_is_told_again(broker: Broker, proxy: Proxy) -> None:
    async with Agent(proxy.url, producer="finance") as agent:
        numbers = agent.demand(TOPIC)
        assert await comes(numbers) == 0
        async with Client(broker.url).subscribe(TOPIC) as one:
            first = asyncio.create_task(one.__anext__())
            assert await comes(numbers) == 1
            proxy.refuses = True
            proxy.cut()
            async with Client(broker.url).subscribe(TOPIC) as other:
                second = asyncio.create_task(other.__anext__())

                async def both() -> bool:
                    return bool((await broker.call(f"/v1/topic?topic={TOPIC}"))["readers"] == 2)

                await until(both)
                proxy.refuses = False
                assert await comes(numbers) == 2 and agent.readers(TOPIC) == 2
                await agent.publish(TOPIC, "a.b", 1)
                await asyncio.wait_for(asyncio.gather(first, second), BOUND)
        # readers that left are told after five seconds, perhaps one by one
        while await comes(numbers):
            pass
        assert agent.readers(TOPIC) == 0


async def test_what_an_agent_may_not_hear_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[auth]\nsecret = "{SECRET}"\n')
    notices: list[Notice] = []
    async with Broker("--config", str(config)) as broker:
        key = token(SECRET, "--subject", "ada", "--publish", "/chat/*")
        async with Agent(broker.url, key, producer="finance", on_notice=notices.append) as agent:
            with pytest.raises(Problem, match="publish") as refused:
                await asyncio.wait_for(agent.demand("/secret/1").__anext__(), BOUND)
            assert refused.value.code == "forbidden"
            with pytest.raises(Problem):
                await asyncio.wait_for(agent.commands("/secret/1").__anext__(), BOUND)
            assert await comes(agent.demand(TOPIC)) == 0, "the others are heard"
            await agent.publish(TOPIC, "a.b", 1)
    assert [type(notice) for notice in notices] == [NotControlled], "once, though two lists were refused"


async def test_many_topics_with_long_names_are_claimed_again_after_a_cut(broker: Broker, proxy: Proxy) -> None:
    # in one frame they would be more than the broker takes
    topics = ["/" + "/".join([f"{n:0128}"] * 8) for n in range(1000)]
    async with Agent(proxy.url, producer="finance") as agent:
        numbers = [agent.demand(topic) for topic in topics]
        assert set(await asyncio.gather(*map(comes, numbers))) == {0}
        before = proxy.connections
        proxy.cut()
        await until(lambda: proxy.connections > before)
        async with Client(broker.url).subscribe(topics) as subscription:
            reading = asyncio.create_task(subscription.__anext__())
            assert set(await asyncio.gather(*map(comes, numbers))) == {1}
            await agent.publish(topics[-1], "a.b", 1)
            await asyncio.wait_for(reading, BOUND)
