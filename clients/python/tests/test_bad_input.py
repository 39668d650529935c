"""Wrong addresses, tokens, servers: each ends in one typed error that says what to do, and in no endless retry."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tidewire import Agent, Client, Event, Notice, Problem, PublishRefused, Refused, Unauthenticated, Unreachable
from tidewire.errors import (
    ConnectionEnded,
    Cut,
    Disagreement,
    Final,
    Forbidden,
    InvalidUse,
    NewerServer,
    NotTidewire,
    NotTrusted,
)
from tidewire.refresh import ends_at, wait_for

from .broker import BOUND, Broker, token
from .conftest import until

SECRET = "0123456789abcdef0123456789abcdef-of-a-test"
PAGE = "<!DOCTYPE html><html><head><title>Hotel WiFi</title></head><body>Please log in</body></html>"


async def fails(url: str, key: str | None = None) -> list[ConnectionEnded]:
    """What an agent and a client end with there."""
    begun = time.monotonic()
    found = []
    with pytest.raises(ConnectionEnded) as error:
        async with Agent(url, key, producer="finance", connect_timeout=0.5):
            pytest.fail("it connected")
    found.append(error.value)
    with pytest.raises(ConnectionEnded) as error:
        async for _ in Client(url, key, connect_timeout=0.5).subscribe("/chat/42"):
            pytest.fail("it read something")
    found.append(error.value)
    with pytest.raises(ConnectionEnded) as error:
        await Client(url, key, connect_timeout=0.5).cancel("/chat/42")
    found.append(error.value)
    assert time.monotonic() - begun < BOUND
    return found


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says these bytes to whoever asks."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def test_nobody_is_there() -> None:
    async with answering(b"") as url:
        pass
    for error in await fails(url):
        assert isinstance(error, Unreachable) and "cannot reach the broker" in str(error)


async def test_the_name_is_wrong() -> None:
    for error in await fails("http://no-such-host.invalid:7070"):
        assert isinstance(error, Unreachable)


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", PAGE, "Content-Type: text/html"),
        http("302 Found", "", "Location: http://login.invalid/"),
        http("404 Not Found", PAGE),
        http("426 Upgrade Required", "{}"),
        b"220 mail.example.com ESMTP\r\n",
        http("101 Switching Protocols", "", "Upgrade: websocket"),
    ],
    ids=["captive-portal", "redirect", "not-found", "upgrade-taken-out", "not-http", "wrong-handshake"],
)
async def test_something_else_answers(answer: bytes) -> None:
    async with answering(answer) as url:
        for error in await fails(url, "very-secret"):
            assert isinstance(error, NotTidewire) and not error.may_come_back
            assert "very-secret" not in str(error)


async def test_a_captive_portal_is_named() -> None:
    async with answering(http("200 OK", PAGE)) as url:
        assert "HTML" in str((await fails(url))[0]) and "login page" in str((await fails(url))[0])


async def test_a_busy_broker_is_asked_again() -> None:
    async with answering(
        http("503 Service Unavailable", '{"code":"draining","message":"full","retry_after_ms":50}')
    ) as url:
        for error in await fails(url):
            assert error.kind == "busy" and error.may_come_back and error.retry_after == 0.05


Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def speaking(handler: Handler, version: str = "tidewire.v1.json") -> AsyncIterator[str]:
    """A server that speaks WebSocket, and says something of its own."""

    def chosen(connection: ServerConnection, offered: object) -> Subprotocol:
        return Subprotocol(version)

    async with serve(handler, "127.0.0.1", 0, select_subprotocol=chosen) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def test_a_server_of_a_newer_version() -> None:
    problem = '{"title":"x","status":400,"code":"invalid_request","detail":"d","message":"it speaks tidewire.v2.json"}'
    async with answering(http("400 Bad Request", problem, "Content-Type: application/problem+json")) as url:
        for error in await fails(url):
            assert isinstance(error, NewerServer) and "update this package" in str(error)

    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with speaking(silent, "tidewire.v2.json") as url:
        for error in await fails(url):
            assert isinstance(error, NewerServer) and "update this package" in str(error)


async def test_a_websocket_that_is_no_broker() -> None:
    async def chat(connection: ServerConnection) -> None:
        await connection.send('{"op":"pong"}')
        await connection.wait_closed()

    async with speaking(chat) as url:
        for error in await fails(url):
            assert isinstance(error, NotTidewire)

    async def nothing(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def plain(connection: ServerConnection, request: Request) -> Response | None:
        return None

    async with serve(nothing, "127.0.0.1", 0, process_request=plain) as server:
        for error in await fails(f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"):
            assert isinstance(error, NotTidewire) and "subprotocol" in str(error)


@pytest.mark.parametrize("said", ["no json", '{"op":"events"}', b"\x81", '{"x":1}'])
async def test_frames_that_cannot_be_read(said: str | bytes) -> None:
    async def rubbish(connection: ServerConnection) -> None:
        await connection.send(said)
        await connection.wait_closed()

    async with speaking(rubbish) as url:
        for error in await fails(url):
            assert isinstance(error, Disagreement)


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker that asks who somebody is."""
    config = tmp_path / "config.toml"
    config.write_text(f'[auth]\nsecret = "{SECRET}"\n')
    async with Broker("--config", str(config)) as broker:
        yield broker


def ada(*grants: str) -> str:
    return token(SECRET, "--subject", "ada", *grants)


async def test_a_wrong_token_and_none(locked: Broker) -> None:
    for error in await fails(locked.url, "not-a-token"):
        assert isinstance(error, Unauthenticated) and isinstance(error, Final)
        assert "not-a-token" not in str(error) and "valid" in str(error)


async def test_a_token_with_spaces_is_refused_here() -> None:
    with pytest.raises(InvalidUse):
        Client("http://127.0.0.1:1", "two words")


async def test_rights_that_do_not_reach(locked: Broker) -> None:
    reader = ada("--subscribe", "/chat/*")
    items = [item async for item in Client(locked.url, reader).subscribe("/secret/1")]
    assert len(items) == 1 and isinstance(items[0], Refused) and items[0].problem.code == "forbidden"
    with pytest.raises(Forbidden):
        async with Agent(locked.url, reader, producer="finance"):
            pytest.fail("it attached")


async def test_a_topic_that_the_key_does_not_cover_fails_alone(locked: Broker) -> None:
    key = ada("--publish", "/chat/*", "--subscribe", "/chat/*")
    async with Agent(locked.url, key, producer="finance") as agent:
        with pytest.raises(PublishRefused) as error:
            async with agent.message("/secret/1") as m:
                await m.delta("x")
        assert error.value.code == "forbidden"
        async with agent.message("/chat/1") as m:
            await m.delta("fine")


async def test_each_connection_asks_for_a_token(locked: Broker) -> None:
    given = []

    async def fetch() -> str:
        made = await asyncio.to_thread(ada, "--subscribe", "/chat/*")
        given.append(made)
        return made

    seen = []
    async with Client(locked.url, fetch).subscribe("/chat/1", start="start") as subscription:
        publisher = Client(locked.url, ada("--publish", "/chat/*"))
        await publisher.publish("/chat/1", "a.b", 1)
        seen.append(await asyncio.wait_for(subscription.__anext__(), BOUND))
        assert subscription._connection
        subscription._connection.abort()
        await publisher.publish("/chat/1", "a.b", 2)
        seen.append(await asyncio.wait_for(subscription.__anext__(), BOUND))
    assert [item.data for item in seen if isinstance(item, Event)] == [1, 2] and len(given) == 2


async def test_a_token_is_replaced_before_it_ends(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[auth]\nsecret = "{SECRET}"\nleeway = "0s"\n')
    given: list[str] = []
    notices: list[Notice] = []

    async def fetch() -> str:
        given.append(await asyncio.to_thread(ada, "--publish", "/chat/*", "--expires-in", "8s"))
        return given[-1]

    async with Broker("--config", str(config)) as broker:
        async with Agent(broker.url, fetch, producer="finance", on_notice=notices.append) as agent:
            async with agent.message("/chat/1") as m:
                # by the third one the first has ended
                await until(lambda: len(given) >= 3)
                await m.delta("still here")
    assert notices == [], "on one connection"


def test_when_a_token_ends() -> None:
    made = ada("--expires-in", "1h")
    end = ends_at(made)
    assert end and 3500 < end - time.time() < 3700
    assert wait_for(end, end - 3600) == 3540 and wait_for(end, end - 10) == 9 and wait_for(end, end + 5) == 1
    assert ends_at(None) is None and ends_at("tw_key_secret") is None and ends_at("a.b.c") is None


async def test_a_function_that_gives_bad_tokens_is_asked_once_more_and_no_third_time(locked: Broker) -> None:
    asked = 0

    def bad() -> str:
        nonlocal asked
        asked += 1
        return "bad"

    with pytest.raises(Unauthenticated):
        async for _ in Client(locked.url, bad).subscribe("/chat/1"):
            pytest.fail("it read something")
    assert asked == 2


async def test_a_function_that_throws_is_asked_again_until_patience_ends(broker: Broker) -> None:
    def throws() -> str:
        raise RuntimeError("the token server is down")

    with pytest.raises(Unreachable, match="token server is down"):
        async with Agent(broker.url, throws, producer="finance", connect_timeout=0.5):
            pytest.fail("it connected")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody has signed but its owner."""
    made = tmp_path / "self-signed.pem"
    subprocess.run(
        ["openssl", *["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]]  # noqa: RUF005
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(made), "-out", str(tmp_path / "cert.pem")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with made.open("a") as file:
        file.write((tmp_path / "cert.pem").read_text())
    return made


async def test_a_certificate_that_nobody_signed(
    certificate: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
        target.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(passed(reader, far), passed(far_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for error in await fails(f"https://localhost:{port}", "very-secret"):
            assert isinstance(error, NotTrusted) and "SSL_CERT_FILE" in str(error), error
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with Agent(f"https://localhost:{port}", producer="finance") as agent:
            await agent.publish("/chat/42", "a.b", 1)
        for error in await fails(f"https://127.0.0.1:{port}"):
            assert isinstance(error, NotTrusted), "it is for another name"
        for error in await fails(f"http://localhost:{port}"):
            assert isinstance(error, (NotTidewire, Cut)), error
    # plain text where TLS was expected
    for error in await fails(f"https://localhost:{broker.port}"):
        assert isinstance(error, NotTidewire) and "TLS" in str(error)


@pytest.mark.parametrize(
    "url",
    [None, 5, "http://[::1", "http://a b", "http://a..b", "http://" + "a" * 64 + ".example", "http://127.0.0.1:70000"],
)
def test_an_address_that_cannot_be(url: Any) -> None:
    with pytest.raises(InvalidUse):
        Client(url)


@pytest.mark.parametrize("token", [5, b"x", "two words", "x" * 9000])
async def test_a_token_that_cannot_be(token: Any, broker: Broker) -> None:
    with pytest.raises(InvalidUse):
        Client(broker.url, token)
    with pytest.raises(InvalidUse):
        await Client(broker.url, lambda: token).publish("/chat/42", "a.b", 1)


@pytest.mark.parametrize("start", ["bogus", "last:", "last:-1", "aaaaaaaa:", 5, None])
def test_a_place_to_begin_that_cannot_be(start: Any) -> None:
    with pytest.raises(InvalidUse, match="place to begin"):
        Client("http://127.0.0.1:1").subscribe("/chat/42", start=start)


async def test_a_position_is_a_place_to_begin(broker: Broker) -> None:
    for n in range(2):
        await broker.publish("/chat/42", {"type": "a.b", "data": n})
    client = Client(broker.url)
    async with client.subscribe("/chat/42", start="start") as subscription:
        await subscription.__anext__()
        position = subscription.position("/chat/42")
        assert position and position.seq == 0, "the second one is still to come"
    async for item in client.subscribe({"/chat/42": position}, types="a.*"):
        assert isinstance(item, Event) and item.data == 0
        break


@pytest.mark.parametrize(("proxy", "says"), [("socks5://127.0.0.1:1", "python-socks"), ("nonsense", "proxy")])
async def test_a_proxy_of_the_environment_that_cannot_be_used(
    proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(InvalidUse, match=says):
        await asyncio.wait_for(Client("http://broker.invalid").publish("/chat/42", "a.b", 1), BOUND)


async def test_messages_of_a_topic_that_may_not_be_read(locked: Broker) -> None:
    with pytest.raises(Problem, match="forbidden"):
        async for _ in Client(locked.url, ada("--subscribe", "/chat/*")).messages("/secret/1"):
            pytest.fail("it read something")


async def test_an_event_that_no_frame_takes(broker: Broker) -> None:
    for size in (300_000, 2_000_000):
        with pytest.raises((PublishRefused, InvalidUse)):
            await Client(broker.url).publish("/chat/42", "a.b", "x" * size)
