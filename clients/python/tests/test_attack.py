"""A broker or a proxy that misbehaves: it answers late, twice, in another order, with garbage, with too much, never.

Whatever it does, the client ends with a typed error or comes back; it never waits for ever, and what was acknowledged
by a broker that keeps its log is there once, in order.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import tidewire.backoff
import tidewire.client
import tidewire.connection
import tidewire.publisher
import tidewire.subscriber
from tidewire import Agent, Client, ConnectionEnded, Disconnected, Event, Notice, TidewireError
from tidewire.control import ControlInbox
from tidewire.errors import Disagreement, Problem, PublishRefused, Silent
from tidewire.reader import Reader
from tidewire.reading import OutOfStep
from tidewire.wire import NotAFrame, check

from .broker import BOUND, Broker
from .conftest import until
from .test_vectors import VECTORS
from .test_window import Model

TOPIC = "/chat/42"
PROTOCOL = Subprotocol("tidewire.v1.json")
LIMITS = {
    "max_frame_bytes": 1 << 20,
    "max_event_bytes": 256 << 10,
    "max_batch_events": 1000,
    "max_subscriptions": 1000,
    "window_events": 1024,
    "window_bytes": 4 << 20,
}
WELCOME: dict[str, Any] = {"op": "welcome", "session": "s", "environment": "e", "limits": LIMITS, "ping_ms": 25_000}
#: Frames that no broker sends.
GARBAGE: list[str | bytes] = [
    "no json",
    "[" * 100_000,
    b"\x00\xff",
    '{"op":"published"}',
    '{"op":"published","id":{},"epoch":1}',
    '{"op":"draining","reconnect_after_ms":"soon"}',
    '{"op":"events","topic":"/chat/42","epoch":"x","after":7,"upto":3,"events":[{}]}',
    '{"op":"' + "x" * 1_200_000 + '"',
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that fit a test."""
    monkeypatch.setattr(tidewire.backoff, "BASE", 0.02)
    monkeypatch.setattr(tidewire.backoff, "FIRST", 0.02)
    monkeypatch.setattr(tidewire.connection, "MAX_FRAME", 1 << 20)


@asynccontextmanager
async def serving(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async def handled(line: ServerConnection) -> None:
        with suppress(ConnectionClosed, OSError):
            await handler(line)

    async with serve(handled, "127.0.0.1", 0, subprotocols=[PROTOCOL], compression=None, close_timeout=0.5) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


class BadBroker:
    """Keeps its log well, and speaks badly."""

    def __init__(self, seed: int, mischief: int) -> None:
        self.dice = random.Random(seed)
        self.model = Model()
        self.left = mischief
        self.lines = 0

    async def on_line(self, line: ServerConnection) -> None:
        self.lines += 1
        answers: deque[str] = deque()
        await self.say(line, WELCOME)
        async for text in line:
            frame = json.loads(text)
            if frame["op"] == "attach":
                answers.append(json.dumps({"op": "attached", "id": frame["id"], "epoch": 1}))
            elif frame["op"] == "publish":
                answers.append(json.dumps(self.model.on_frame(frame)))
            await self.answer(line, answers)

    async def answer(self, line: ServerConnection, answers: deque[str]) -> None:
        if self.left <= 0:
            while answers:
                await line.send(answers.popleft())
            return
        match self.dice.randrange(12):
            case 0 | 1:
                await asyncio.sleep(0.03)  # late
            case 2:
                self.left -= 1
                self.dice.shuffle(answers)
            case 3 if answers:
                self.left -= 1
                answers.append(self.dice.choice(answers))
            case 4:
                self.left -= 1
                await line.send(self.dice.choice(GARBAGE))
            case 5:
                self.left -= 1
                line.transport.write(b"\x81\x7e\x10\x00{")  # a frame of 4 KiB, and the end in its middle
                line.transport.close()
            case 6:
                self.left -= 1
                line.transport.abort()
            case 7:
                self.left -= 1
                await line.send('{"op":"something_new","id":1}')
                await line.send(json.dumps({"op": "published", "id": 10**30, "epoch": "x" * 8, **SEQS}))
        while answers:
            await line.send(answers.popleft())

    @staticmethod
    async def say(line: ServerConnection, frame: dict[str, Any]) -> None:
        await line.send(json.dumps(frame))


SEQS = {"first_seq": 1, "last_seq": 1, "duplicate": False}


@pytest.mark.parametrize("seeds", [range(at, at + 8) for at in (0, 8, 16)], ids=str)
async def test_an_agent_behind_whatever_broker_is_in_the_log_once(seeds: range) -> None:
    async def one(seed: int) -> None:
        bad = BadBroker(seed, mischief=12)
        async with serving(bad.on_line) as url:
            text = ""
            async with Agent(url, producer="p", lease=1, connect_timeout=BOUND) as agent:
                async with agent.message(TOPIC, "m") as m:
                    n = 0
                    while n < 300 or bad.left > 0:
                        text += f"{n} "
                        await m.delta(f"{n} ")
                        await asyncio.sleep(0.001)
                        n += 1
            assert bad.lines > 1 and bad.model.text() == text, f"seed {seed}"
            deltas = [event["data"]["text"] for event in bad.model.log if event["type"] == "token.delta"]
            assert "".join(deltas) == text, f"seed {seed}: once, and in order"

    await asyncio.wait_for(asyncio.gather(*(one(seed) for seed in seeds)), 60)


def moves(frame: str | bytes) -> bool:
    """It is one of those whose order can be seen: they move a position. (No proxy exchanges frames of one line.)"""
    said = json.loads(frame)
    return bool(said["op"] == "events" and said["after"] < said["upto"])


@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_behind_whatever_proxy_ends_with_the_exact_text(broker: Broker, seed: int) -> None:
    dice = random.Random(seed)
    mischief = 10

    async def between(line: ServerConnection) -> None:
        nonlocal mischief
        far_url = f"{broker.url.replace('http', 'ws')}/v1/ws"
        async with connect(far_url, subprotocols=[PROTOCOL], compression=None, max_size=None, close_timeout=0.5) as far:

            async def up() -> None:
                async for frame in line:
                    await far.send(frame)
                await far.close()

            task = asyncio.create_task(up())
            held: str | bytes | None = None
            try:
                await line.send(await far.recv())  # without a welcome it would be no broker at all
                async for frame in far:
                    action = dice.randrange(8) if mischief > 0 else 7
                    mischief -= action < 6
                    match action:
                        case 0:
                            await line.send(frame)  # twice
                        case 1 if moves(frame):
                            held, frame = frame, held or '{"op":"pong"}'  # in another order
                        case 2:
                            await line.send(dice.choice(GARBAGE))
                        case 3:
                            line.transport.write(b"\x81\x7e\x10\x00{")
                            line.transport.close()
                        case 4:
                            return
                        case 5:
                            await asyncio.sleep(0.1)  # late
                    await line.send(frame)
            finally:
                task.cancel()

    async with serving(between) as url:

        async def read() -> str:
            async for item in Client(url, connect_timeout=BOUND).subscribe(TOPIC):
                if isinstance(item, Event) and item.message and item.message.state == "completed":
                    return item.message.text
            raise AssertionError("it ended without a message")

        reading = asyncio.create_task(read())
        async with Agent(broker.url, producer="p") as agent, agent.message(TOPIC, "m") as m:
            n = 0
            # what is swallowed last of all is noticed by what comes behind it
            while (mischief > 0 or n < 200) and not reading.done():
                await m.delta(f"{n} ")
                n += 1
                await asyncio.sleep(0.005)
        assert await asyncio.wait_for(reading, BOUND) == "".join(f"{k} " for k in range(n))


@pytest.mark.parametrize(
    "limits",
    [{}, dict.fromkeys(LIMITS, 0), dict.fromkeys(LIMITS, -1), dict.fromkeys(LIMITS, 10**40), {"window_bytes": "many"}],
    ids=["none", "zero", "negative", "huge", "no-number"],
)
@pytest.mark.parametrize("ping", [0, -5, 10**400], ids=["ping-0", "ping-negative", "ping-huge"])
async def test_limits_that_make_no_sense_hold_nothing_up(limits: dict[str, Any], ping: int) -> None:
    good = BadBroker(0, mischief=0)

    async def odd(line: ServerConnection) -> None:
        await BadBroker.say(line, welcome(limits, ping))
        async for text in line:
            frame = json.loads(text)
            if frame["op"] == "attach":
                await BadBroker.say(line, {"op": "draining", "reconnect_after_ms": 10**400})
                await BadBroker.say(line, {"op": "attached", "id": frame["id"], "epoch": 1})
            elif frame["op"] == "publish":
                await BadBroker.say(line, good.model.on_frame(frame))
            elif frame["op"] == "ping":
                await BadBroker.say(line, {"op": "pong"})

    async with serving(odd) as url:
        async with Agent(url, producer="p") as agent:
            for n in range(3):
                await agent.publish(TOPIC, "a.b", n)
            await asyncio.wait_for(agent.flush(), BOUND)
    assert [event["data"] for event in good.model.log] == [0, 1, 2]


def welcome(limits: dict[str, Any], ping: int) -> dict[str, Any]:
    return {**WELCOME, "limits": limits, "ping_ms": ping}


async def silent(line: ServerConnection) -> None:
    """Greets, answers pings, and nothing else."""
    await BadBroker.say(line, WELCOME)
    async for text in line:
        if json.loads(text)["op"] == "ping":
            await BadBroker.say(line, {"op": "pong"})


async def test_a_broker_that_never_lets_an_agent_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidewire.publisher, "OPEN_TIMEOUT", 0.2)
    async with serving(silent) as url:
        with pytest.raises(Disagreement, match="does not answer"):
            async with Agent(url, producer="p", connect_timeout=0.5):
                pytest.fail("it attached")


async def test_a_broker_that_never_answers_to_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidewire.client, "ANSWER", 0.2)
    async with serving(silent) as url:
        with pytest.raises(Disagreement, match="has not answered"):
            await asyncio.wait_for(Client(url, connect_timeout=0.5).publish(TOPIC, "a.b", 1), BOUND)


async def test_a_subscription_that_is_never_answered_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidewire.subscriber, "ANSWER", 0.2)
    monkeypatch.setattr(tidewire.subscriber, "_GRACE", 0.2)
    notices: list[Notice] = []
    asked = 0

    async def forgetful(line: ServerConnection) -> None:
        nonlocal asked
        await BadBroker.say(line, WELCOME)
        async for _ in line:
            asked += 1
            if asked > 1:
                about = {"topic": TOPIC, "epoch": "epoch-01"}
                event = {"seq": 1, "type": "a.b", "time": 1, "data": "here"}
                await BadBroker.say(
                    line, {"op": "subscribed", **about, "head": 0, "position": "epoch-01:0", "resumed": False}
                )
                await BadBroker.say(line, {"op": "events", **about, "after": 0, "upto": 1, "events": [event]})

    async with serving(forgetful) as url:
        async with Client(url, on_notice=notices.append).subscribe(TOPIC) as subscription:
            item = await asyncio.wait_for(subscription.__anext__(), BOUND)
            assert isinstance(item, Event) and item.data == "here"
            # it was answered: a topic where nothing happens is no reason to leave
            waiting = asyncio.create_task(subscription.__anext__())
            await asyncio.wait({waiting}, timeout=1)
            waiting.cancel()
    told = [notice.why for notice in notices if isinstance(notice, Disconnected)]
    assert [type(why) for why in told] == [Disagreement] and asked == 2


async def test_publishes_that_are_never_answered_are_sent_again_over_another_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tidewire.publisher, "ANSWER", 0.3)
    good = BadBroker(0, mischief=0)

    async def mute_at_first(line: ServerConnection) -> None:
        good.lines += 1
        mute = good.lines == 1
        await BadBroker.say(line, WELCOME)
        async for text in line:
            frame = json.loads(text)
            if frame["op"] == "attach":
                await BadBroker.say(line, {"op": "attached", "id": frame["id"], "epoch": 1})
            elif frame["op"] == "publish":
                answer = good.model.on_frame(frame)
                if not mute:
                    await BadBroker.say(line, answer)

    notices: list[Notice] = []
    async with serving(mute_at_first) as url:
        async with Agent(url, producer="p", on_notice=notices.append) as agent:
            await agent.publish(TOPIC, "a.b", 1)
            await asyncio.wait_for(agent.flush(), BOUND)
    assert [event["data"] for event in good.model.log] == [1] and good.lines == 2
    why = [notice.why for notice in notices if isinstance(notice, Disconnected)]
    assert len(why) == 1 and isinstance(why[0], Disagreement) and "answered no publish" in str(why[0])


async def test_an_agent_that_is_left_while_a_broker_does_not_let_it_in_again_leaves_no_line() -> None:
    lines: list[ServerConnection] = []

    async def once(line: ServerConnection) -> None:
        lines.append(line)
        await BadBroker.say(line, WELCOME)
        async for text in line:
            if len(lines) == 1:
                await BadBroker.say(line, {"op": "attached", "id": json.loads(text)["id"], "epoch": 1})

    async with serving(once) as url:
        async with Agent(url, producer="p", close_timeout=0.1) as agent:
            lines[0].transport.abort()
            await until(lambda: len(lines) == 2 and agent.outstanding == 0)
        await asyncio.wait_for(lines[1].wait_closed(), BOUND)


@asynccontextmanager
async def raw(say: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await say(reader, writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def for_ever(writer: asyncio.StreamWriter, *begin: bytes, again: bytes) -> None:
    for piece in begin:
        writer.write(piece)
    while True:
        writer.write(again)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: of the same\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", b"<html>" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nhtml\r\n"),
        (b"", b"\x00" * 1000),
    ],
    ids=["headers", "one-header", "body", "chunks", "zeros"],
)
async def test_an_answer_without_an_end(begin: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidewire.connection, "OPEN_TIMEOUT", 1.0)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await for_ever(writer, begin, again=again)

    async with raw(endless) as url:
        with pytest.raises(ConnectionEnded):
            await asyncio.wait_for(Client(url, connect_timeout=0.1).publish(TOPIC, "a.b", 1), BOUND)


async def test_nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidewire.connection, "OPEN_TIMEOUT", 0.3)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def welcomes_nobody(line: ServerConnection) -> None:
        await line.wait_closed()

    async with raw(mute) as one, serving(welcomes_nobody) as other:
        for url in (one, other):
            with pytest.raises(ConnectionEnded, match=r"0\.3 s|timed out"):
                async with Agent(url, producer="p", connect_timeout=0.1):
                    pytest.fail("it attached")


async def test_a_line_that_falls_silent_is_left() -> None:
    noticed = asyncio.Event()

    async def falls_silent(line: ServerConnection) -> None:
        await BadBroker.say(line, welcome(LIMITS, 40))
        line.transport.pause_reading()
        await noticed.wait()
        line.transport.abort()

    async with serving(falls_silent) as url:
        notices: list[Notice] = []
        async with Client(url, on_notice=notices.append).subscribe(TOPIC) as subscription:
            reading = asyncio.create_task(subscription.__anext__())
            await until(lambda: bool(notices))
            noticed.set()
            reading.cancel()
    assert isinstance(notices[0], Disconnected) and isinstance(notices[0].why, Silent)


ODD: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "x", "\ud800", [], [1], {}, {"x": 1}, "aaaaaaaa:1", "/chat/1"]


def mutated(frame: Any, dice: random.Random) -> Any:
    """The same frame with something odd somewhere in it."""
    if isinstance(frame, dict) and frame and dice.random() < 0.97:
        deep = [key for key, value in frame.items() if isinstance(value, dict | list)]
        key = dice.choice(deep if deep and dice.random() < 0.7 else list(frame))
        if dice.random() < 0.07:
            return {name: value for name, value in frame.items() if name != key}
        return {**frame, key: mutated(frame[key], dice)}
    if isinstance(frame, list) and frame and dice.random() < 0.95:
        at = dice.randrange(len(frame))
        return [*frame[:at], mutated(frame[at], dice), *frame[at + 1 :]]
    return dice.choice(ODD)


def test_no_frame_whatever_is_in_it_breaks_a_reader_or_an_inbox() -> None:
    conversations = []
    for path in sorted((VECTORS / "reading").glob("*.json")):
        vector = json.loads(path.read_text())
        conversations.append((vector["topics"], [step["in"] for step in vector["steps"] if "in" in step]))
    taken = refused = 0
    for seed in range(5000):
        dice = random.Random(seed)
        topics, frames = dice.choice(conversations)
        reader, inbox = Reader(topics), ControlInbox()
        for frame in frames:
            odd = mutated(frame, dice) if dice.random() < 0.4 else frame
            if not isinstance(odd, dict) or not isinstance(odd.get("op"), str):
                continue
            try:
                known = check(odd)
                if known is None:
                    continue
                for item in reader.take(known):
                    assert item
                if known["op"] == "events":
                    inbox.on_frame({**known, "op": "control"})  # type: ignore[typeddict-unknown-key]
                if known["op"] == "error":
                    str(Problem(known)), Problem(known).retry_after
                for topic in topics:
                    for message in reader.messages(topic):
                        assert isinstance(message.text, str) and (message.reason, message.finish_reason)
                taken += 1
            except (NotAFrame, OutOfStep, TidewireError):
                refused += 1
    assert taken > 1000 and refused > 500


def test_no_answer_whatever_is_in_it_breaks_a_window() -> None:
    from tidewire.new_event import delta

    from .test_window import frames, published, window

    for seed in range(2000):
        dice = random.Random(seed)
        w = window(attached=dice.random() < 0.5)
        for n in range(6):
            w.push(delta("m", f"{n}"), n)
            for sent in frames(w, n + 0.5):
                answer = published(sent)
                if dice.random() < 0.5:
                    code = dice.choice(["rate_limited", "producer_gap", "producer_unknown", "message_ended", "x"])
                    answer = {"op": "error", "id": sent["id"], "code": code, "message": "m"}
                    answer |= {name: dice.choice(ODD) for name in ("index", "expected_seq") if dice.random() < 0.5}
                if dice.random() < 0.3:
                    answer = mutated(answer, dice)
                try:
                    known = check(answer) if isinstance(answer, dict) and isinstance(answer.get("op"), str) else None
                except NotAFrame:
                    continue
                if known and known["op"] == "published":
                    w.on_published(known)
                elif known and known["op"] == "error":
                    try:
                        w.on_refused(Problem(known), n)
                    except PublishRefused as refusal:
                        w.abandon(refusal, n)
