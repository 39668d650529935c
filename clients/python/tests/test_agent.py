"""What an agent says and hears, against a real broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tidewire import (
    Agent,
    Bounds,
    BufferFull,
    Client,
    Disconnected,
    Event,
    InvalidUse,
    NotDelivered,
    Notice,
    PublishRefused,
    Replaced,
    TidewireError,
)

from .broker import BOUND, Broker
from .conftest import until
from .proxy import Proxy

TOPIC = "/chat/42"


def said(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(event["type"], event["data"]) for event in events]


async def test_a_message_completes_when_it_is_left(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "m1") as m:
        await m.delta("hm", kind="reasoning")
        await m.delta("Hel")
        await m.delta("lo")
    events = await broker.history(TOPIC)
    assert said(events)[0] == ("message.started", {"message_id": "m1", "role": "assistant"})
    assert said(events)[-1] == ("message.completed", {"message_id": "m1"})
    text = "".join(event["data"]["text"] for event in events[1:-1] if "kind" not in event["data"])
    assert text == "Hello" and {event["source"] for event in events} == {"finance"}


async def test_leaving_it_waits_until_the_broker_has_its_end(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent:
        async with agent.message(TOPIC) as m:
            await m.delta("x")
        assert (await broker.history(TOPIC))[-1]["type"] == "message.completed"
        assert agent.outstanding == 0


@pytest.mark.parametrize(("error", "reason"), [(ValueError, "error"), (asyncio.CancelledError, "cancelled")])
async def test_an_exception_interrupts_it(broker: Broker, error: type[BaseException], reason: str) -> None:
    with pytest.raises(error):
        async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "m1", role=None) as m:
            await m.delta("Hel")
            raise error
    assert said(await broker.history(TOPIC))[-1] == ("message.interrupted", {"message_id": "m1", "reason": reason})


async def test_a_cancelled_task_interrupts_it(broker: Broker) -> None:
    writing = asyncio.Event()

    async def write() -> None:
        async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "m1") as m:
            await m.delta("Hel")
            writing.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await asyncio.wait_for(writing.wait(), BOUND)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said(await broker.history(TOPIC))[-1][1]["reason"] == "cancelled"


async def test_a_client_cancels_one_message_and_not_the_other(broker: Broker) -> None:
    heard: list[str] = []
    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "other") as other:
        async with agent.message(TOPIC, "m1") as m:
            m.on_cancel(lambda _: 1 / 0)
            m.on_cancel(lambda event: heard.append(event.type))
            await m.delta("Hel")
            await Client(broker.url).cancel(TOPIC, "m1")
            await asyncio.wait_for(m.wait_cancelled(), BOUND)
            assert m.cancelled and not other.cancelled
        await other.delta("goes on")
        await Client(broker.url).cancel(TOPIC)
        await asyncio.wait_for(other.wait_cancelled(), BOUND)
        await other.complete(finish_reason="stop")
    assert heard == ["run.cancel"], "a callback that throws hinders nobody"
    ends = [one for one in said(await broker.history(TOPIC)) if one[0].startswith(("message.int", "message.com"))]
    assert ends == [
        ("message.interrupted", {"message_id": "m1", "reason": "cancelled"}),
        ("message.completed", {"message_id": "other", "finish_reason": "stop"}),
    ]


async def test_commands_come_once_and_what_nobody_acknowledged_comes_again(broker: Broker) -> None:
    client = Client(broker.url)
    await client.steer(TOPIC, style="short")
    await client.approve(TOPIC, call_id="c1")
    async with Agent(broker.url, producer="finance") as agent:
        async for command in agent.commands(TOPIC):
            if command.type == "run.steer":
                assert command.data == {"style": "short"} and command.message_id is None
                continue
            assert command.type == "run.approve"
            break  # not acknowledged: the loop did not go on
    async with Agent(broker.url, producer="finance") as agent:
        async for command in agent.commands(TOPIC):
            assert command.type == "run.approve", "the other was acknowledged"
            command.acknowledge()
            break
        await client.steer(TOPIC, n=1)
        commands = agent.commands(TOPIC)
        assert (await asyncio.wait_for(commands.__anext__(), BOUND)).data == {"n": 1}
        await commands.aclose()  # type: ignore[attr-defined]


async def test_everything_else_an_agent_says(broker: Broker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Agent(broker.url, producer="finance") as agent:
            await agent.memory(TOPIC, "units", "created", text="metric")
            await agent.navigate(TOPIC, "/invoices/7", params={"tab": "items"}, replace=True)
            async with agent.tool(TOPIC, "search", call_id="c1", query="x") as call:
                call.result(hits=3)
            await agent.publish(TOPIC, "order.placed", None, id="o-1")
            await agent.flush()
            async with agent.tool(TOPIC, "divide", call_id="c2"):
                1 / 0  # noqa: B018
    events = await broker.history(TOPIC)
    assert said(events) == [
        ("memory.created", {"memory_id": "units", "text": "metric"}),
        ("navigation.requested", {"to": "/invoices/7", "params": {"tab": "items"}, "replace": True}),
        ("tool.started", {"call_id": "c1", "name": "search", "query": "x"}),
        ("tool.completed", {"call_id": "c1", "name": "search", "hits": 3}),
        ("order.placed", None),
        ("tool.started", {"call_id": "c2", "name": "divide"}),
        ("tool.failed", {"call_id": "c2", "name": "divide", "error": "division by zero"}),
    ]
    assert events[4]["id"] == "o-1"


async def test_many_messages_at_once_in_one_topic_and_in_many(broker: Broker) -> None:
    async def write(agent: Agent, topic: str, name: str) -> None:
        async with agent.message(topic, name) as m:
            for n in range(50):
                await m.delta(f"{n} ")
                await asyncio.sleep(0)

    topics = [f"/chat/{n}" for n in range(10)]
    async with Agent(broker.url, producer="finance") as agent:
        await asyncio.gather(*(write(agent, topic, f"m{n}") for topic in topics for n in range(5)))
        # again: the seq of an idle topic goes on
        await asyncio.gather(*(write(agent, topic, "again") for topic in topics))
    for topic in topics:
        texts: dict[str, str] = {}
        for event in await broker.history(topic):
            if event["type"] == "token.delta":
                texts[event["data"]["message_id"]] = texts.get(event["data"]["message_id"], "") + event["data"]["text"]
        assert texts == dict.fromkeys([*(f"m{n}" for n in range(5)), "again"], "".join(f"{n} " for n in range(50)))


async def test_deltas_are_batched_and_the_first_goes_at_once(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, role=None) as m:
        for n in range(1000):
            await m.delta(f"{n} ")
    deltas = [event["data"]["text"] for event in await broker.history(TOPIC) if event["type"] == "token.delta"]
    assert "".join(deltas) == "".join(f"{n} " for n in range(1000))
    assert deltas[0] == "0 " and len(deltas) < 20


async def test_a_newer_run_replaces_an_older_one_for_good(broker: Broker) -> None:
    with pytest.raises(Replaced, match="newer"):
        async with Agent(broker.url, producer="finance") as old, old.message(TOPIC, "m1") as m:
            await m.delta("Hel")
            await old.flush()
            async with Agent(broker.url, producer="finance"):
                await until(lambda: old.failed is not None)
                await m.delta("never")
    assert said(await broker.history(TOPIC))[-1] == ("message.interrupted", {"message_id": "m1", "reason": "replaced"})


async def test_a_line_cut_for_longer_than_the_lease_ends_the_message_and_not_the_agent(
    broker: Broker, proxy: Proxy
) -> None:
    async with Agent(proxy.url, producer="finance", lease=1.0) as agent:
        with pytest.raises(PublishRefused) as error:
            async with agent.message(TOPIC, "m1") as m:
                await m.delta("Hel")
                await agent.flush()
                proxy.refuses = True
                proxy.cut()

                async def ended() -> bool:
                    return said(await broker.history(TOPIC))[-1][0] == "message.interrupted"

                await until(ended)
                proxy.refuses = False
                await m.delta("too late")
        assert error.value.code == "message_ended"
        async with agent.message(TOPIC, "m2") as m:
            await m.delta("on time")
    ends = [one for one in said(await broker.history(TOPIC)) if one[0] in ("message.interrupted", "message.completed")]
    assert ends == [
        ("message.interrupted", {"message_id": "m1", "reason": "agent_lost"}),
        ("message.completed", {"message_id": "m2"}),
    ]


async def test_what_is_refused_is_told_and_hinders_nothing_else(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC, "mine") as m:
        await agent.publish(TOPIC, "run.x", {})  # behind it all is well
        await broker.publish(TOPIC, {"type": "token.delta", "data": {"message_id": "theirs", "text": "x"}})
        await agent.publish(TOPIC, "token.delta", {"message_id": "theirs", "text": "y"})
        await m.delta("goes on")
        with pytest.raises(PublishRefused) as error:
            await agent.flush()
        assert error.value.code == "message_owned"
    assert said(await broker.history(TOPIC))[-1][0] == "message.completed"


async def test_what_cannot_be_is_refused_before_it_is_sent(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent:
        for topic, type, data in (
            ("chat", "a.b", 1),
            (TOPIC, "a", 1),
            (TOPIC, "a.b", object()),
            (TOPIC, "a.b", "x" * 300_000),
        ):
            with pytest.raises(InvalidUse):
                await agent.publish(topic, type, data)
        async with agent.message(TOPIC) as m:
            with pytest.raises(InvalidUse, match="surrogate"):
                await m.delta("\ud800")
            await m.complete()
            with pytest.raises(InvalidUse, match="has ended"):
                await m.delta("x")
        with pytest.raises(InvalidUse):
            async with agent.message(TOPIC, "twice"), agent.message(TOPIC, "twice"):
                pass
    with pytest.raises(InvalidUse, match="async with"):
        await Agent(broker.url, producer="finance").flush()


async def test_an_agent_whose_buffer_is_full_waits(broker: Broker, proxy: Proxy) -> None:
    async with Agent(proxy.url, producer="finance", bounds=Bounds(events=1000, bytes=20_000)) as agent:
        async with agent.message(TOPIC) as m:
            await agent.flush()
            proxy.mood = "stalls"

            async def write() -> None:
                for n in range(500):
                    await m.delta(f"{n:04}" * 50)

            task = asyncio.create_task(write())
            await until(lambda: agent._publisher.room.bytes >= 20_000)
            for _ in range(20):
                await asyncio.sleep(0)
            assert not task.done() and agent._publisher.room.bytes < 21_000
            proxy.mood = "passes"
            await asyncio.wait_for(task, BOUND)
    deltas = [event["data"]["text"] for event in await broker.history(TOPIC) if event["type"] == "token.delta"]
    assert "".join(deltas) == "".join(f"{n:04}" * 50 for n in range(500))


async def test_an_agent_whose_buffer_is_full_is_told_if_it_chose_so(broker: Broker, proxy: Proxy) -> None:
    bounds = Bounds(events=1000, bytes=20_000)
    taken = ""
    async with Agent(proxy.url, producer="finance", bounds=bounds, when_full="raise") as agent:
        async with agent.message(TOPIC) as m:
            await agent.flush()
            proxy.mood = "stalls"
            with pytest.raises(BufferFull):
                for n in range(500):
                    await m.delta(f"{n:04}" * 50)
                    taken += f"{n:04}" * 50
            proxy.mood = "passes"
            await agent.flush()
            await m.delta("!")
    deltas = [event["data"]["text"] for event in await broker.history(TOPIC) if event["type"] == "token.delta"]
    assert "".join(deltas) == taken + "!", "what was told to be refused is not there, and all else is"


async def test_what_could_not_be_delivered_is_told_at_the_end(broker: Broker, proxy: Proxy) -> None:
    with pytest.raises(NotDelivered) as error:
        async with Agent(proxy.url, producer="finance", close_timeout=0.3) as agent:
            proxy.mood = "stalls"
            await agent.publish(TOPIC, "a.b", 1)
    assert error.value.events == 1


async def test_a_throwing_callback_does_not_end_the_connection(broker: Broker, proxy: Proxy) -> None:
    notices: list[Notice] = []

    def throw(notice: Notice) -> None:
        notices.append(notice)
        raise RuntimeError("the application's fault")

    async with Agent(proxy.url, producer="finance", on_notice=throw) as agent, agent.message(TOPIC) as m:
        await m.delta("Hel")
        proxy.cut()
        await until(lambda: len(notices) >= 2)
        await m.delta("lo")
    assert isinstance(notices[0], Disconnected)
    assert (await broker.history(TOPIC))[-1]["type"] == "message.completed"


async def test_more_topics_than_one_connection_hears(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent:
        for n in range(1100):
            async with agent.message(f"/many/{n}", role=None) as m:
                if n % 100 == 99:
                    await Client(broker.url).cancel(m.topic, m.id)
                    await asyncio.wait_for(m.wait_cancelled(), BOUND)
    assert len(await broker.history("/many/1099")) == 2


async def test_a_topic_that_is_erased_while_it_is_written_is_told_again(broker: Broker) -> None:
    async with Agent(broker.url, producer="finance") as agent:
        async with agent.message("/chat/other", "stays") as other, agent.message(TOPIC, "m1") as m:
            await other.delta("un")
            await m.delta("one ")
            await agent.flush()
            await broker.call(f"/v1/topic?topic={TOPIC}", "DELETE")
            await m.delta("two")
            await agent.flush()
            await other.delta("touched")
    deltas = [event["data"]["text"] for event in await broker.history(TOPIC) if event["type"] == "token.delta"]
    assert "".join(deltas) == "one two"
    ends = [one for one in said(await broker.history("/chat/other")) if one[0].startswith("message.")]
    assert ends[-1] == ("message.completed", {"message_id": "stays"}), "the epoch was kept"


async def test_a_reader_sees_it_grow(broker: Broker) -> None:
    seen: list[str] = []

    async def read() -> None:
        async for message in Client(broker.url).messages(TOPIC, coalesce_ms=0):
            seen.append(message.text)
            if message.state != "open":
                return

    task = asyncio.create_task(read())
    async with Agent(broker.url, producer="finance") as agent, agent.message(TOPIC) as m:
        for n in range(5):
            await m.delta(str(n))
            await agent.flush()
    await asyncio.wait_for(task, BOUND)
    assert seen[-1] == "01234" and seen == sorted(seen, key=len)


async def test_events_as_they_are(broker: Broker) -> None:
    await broker.publish(TOPIC, {"type": "a.b", "data": {"x": [1, "é"]}, "id": "e1"})
    async for item in Client(broker.url).subscribe(TOPIC, start="start"):
        assert isinstance(item, Event)
        assert (item.topic, item.seq, item.type, item.data, item.id) == (TOPIC, 1, "a.b", {"x": [1, "é"]}, "e1")
        assert item.message is None and json.dumps(item.data)
        break


def test_all_errors_are_of_one_family() -> None:
    import tidewire.errors as errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert kinds and all(issubclass(kind, TidewireError) for kind in kinds)
    assert not issubclass(errors.Final, errors.Interrupted) and not errors.Final.may_come_back
