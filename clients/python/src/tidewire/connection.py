"""One WebSocket to a broker: frames out, frames in, and the notice that it is dead.

Invariants: `next` may be cancelled at any time without losing a frame; writing goes on while reading waits and the
other way round, so neither end can hold the other up; no frame before `welcome`; every way to end is a
`ConnectionEnded`.

Bounds: a frame from the broker has at most `MAX_FRAME` bytes, and `QUEUE` frames wait to be read; the caller bounds
what it sends (a publisher by its window).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections import deque
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
    ProxyError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from . import _types as wire
from . import endings, errors
from .endpoint import Endpoint
from .errors import ConnectionEnded, Problem
from .heartbeat import Heartbeat
from .refresh import REFRESH_ID, ends_at, wait_for
from .wire import PING, SUBPROTOCOL, Limits, NotAFrame, encode, parse, seconds

log = logging.getLogger("tidewire")

#: The largest frame that is read: the snapshots of a topic (4 MiB of text) arrive as one.
MAX_FRAME = 64 << 20
#: Frames that wait to be read; then the socket is not read further.
QUEUE = 4
#: Seconds from the first packet to the `welcome`.
OPEN_TIMEOUT = 10.0
#: Seconds for saying good-bye.
CLOSE_TIMEOUT = 1.0
#: Unix milliseconds that stand for any later time.
_FAR_MS = 1 << 50


class _Heard(ClientConnection):
    """Knows when the last byte came: any byte shows that the line lives, also those of a frame that is not whole."""

    heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        super().data_received(data)


class _Connect(connect):
    """A redirect is not followed: a broker sends none, and a login page must not be shown the token."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """See the module."""

    def __init__(self, socket: _Heard) -> None:
        self._socket = socket
        self._heartbeat = Heartbeat(OPEN_TIMEOUT, time.monotonic())
        self._outgoing: deque[str] = deque()
        self._something_to_write = asyncio.Event()
        #: Nothing is queued.
        self._written = asyncio.Event()
        self._writer = asyncio.create_task(self._write())
        self._receiving: asyncio.Task[str | bytes] | None = None
        self._refresher: asyncio.Task[None] | None = None
        #: When the rights end, as the broker said last, in Unix seconds.
        self._rights_end: float | None = None
        self._refreshed = asyncio.Event()
        self.limits = Limits()

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Connection:
        """Connects, speaks `tidewire.v1.json` and waits for the `welcome`."""
        try:
            token = await endpoint.token()
        except errors.InvalidUse:
            raise
        except Exception as error:
            raise errors.Unreachable(f"there is no token to connect with: its function threw {error!r}") from error
        begun = time.monotonic()
        socket = await _handshake(endpoint, token)
        connection = cls(socket)
        try:
            if socket.subprotocol != SUBPROTOCOL:
                raise endings.not_tidewire(f"it does not offer the subprotocol {SUBPROTOCOL}")
            left = OPEN_TIMEOUT - (time.monotonic() - begun)
            await asyncio.wait_for(connection._welcomed(), max(left, 0.1))
        except asyncio.TimeoutError:
            connection.abort()
            raise errors.Unreachable(f"{endpoint.base}: no welcome within {OPEN_TIMEOUT:g} s") from None
        except BaseException:
            connection.abort()
            raise
        if endpoint.token_changes:
            connection._rights_end = ends_at(token)
            connection._refresher = asyncio.create_task(connection._refresh(endpoint))
        return connection

    def send(self, frame: Any) -> None:
        """Queues a frame (JSON text, or what becomes it)."""
        self._outgoing.append(frame if isinstance(frame, str) else encode(frame))
        self._written.clear()
        self._something_to_write.set()

    async def next(self) -> wire.ServerFrame:
        """The next frame that this version knows."""
        # while nobody asked, nothing was heard for lack of listening
        self._heartbeat.heard(time.monotonic())
        while True:
            frame = self._parsed(await self._receive())
            if frame is not None and not self._is_about_refreshing(frame):
                return frame

    async def close(self) -> None:
        """Writes what is queued and says good-bye."""
        try:
            # a peer that does not answer, or takes nothing, is left
            with contextlib.suppress(asyncio.TimeoutError, WebSocketException, OSError):
                await asyncio.wait_for(self._goodbye(), CLOSE_TIMEOUT)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops the line. `next` ends with `Cut`."""
        self._writer.cancel()
        if self._refresher:
            self._refresher.cancel()
        if self._receiving:
            self._receiving.cancel()
        self._socket.transport.abort()

    async def _goodbye(self) -> None:
        if self._outgoing:
            await self._written.wait()
        await self._socket.close()

    async def _welcomed(self) -> None:
        frame = await self.next()
        if frame["op"] == "error":
            raise endings.of_problem(Problem(frame))
        if frame["op"] != "welcome":
            raise endings.not_tidewire("its first frame is no welcome")
        self.limits = Limits.of_welcome(frame)
        self._heartbeat = Heartbeat(seconds(frame["ping_ms"]), time.monotonic())

    async def _receive(self) -> str | bytes:
        while True:
            # a task of its own: a caller that is cancelled leaves it, and the frame, for the next one
            if self._receiving is None:
                self._receiving = asyncio.ensure_future(self._socket.recv())
            wait = self._heartbeat.next - time.monotonic()
            await asyncio.wait({self._receiving}, timeout=max(wait, 0.0))
            if self._receiving.done():
                received, self._receiving = self._receiving, None
                try:
                    return received.result()
                except ConnectionClosed as error:
                    raise _why_closed(error) from error
                except asyncio.CancelledError:
                    raise errors.Cut("the connection was dropped") from None
            self._heartbeat.heard(self._socket.heard_at)
            match self._heartbeat.due(time.monotonic()):
                case "ping":
                    self.send(PING)
                case "dead":
                    self.abort()
                    raise errors.Silent(f"the broker has been silent for {self._heartbeat.dead_after:g} s")

    def _parsed(self, text: str | bytes) -> wire.ServerFrame | None:
        if isinstance(text, bytes):
            raise errors.Disagreement("the broker said something unexpected: a binary frame")
        try:
            return parse(text)
        except NotAFrame as error:
            raise errors.Disagreement(f"the broker said something unexpected: {error}") from error

    async def _refresh(self, endpoint: Endpoint) -> None:
        """Brings another token before the present one ends. Where that fails the old rights hold on to their end; then
        the broker closes, and the next connection has a token of its own."""
        while self._rights_end is not None:
            await asyncio.sleep(wait_for(self._rights_end, time.time()))
            try:
                token = await endpoint.token()
            except Exception:
                log.exception("there is no new token: its function threw; the old one holds on to its end")
                continue
            self._refreshed.clear()
            self.send({"op": "refresh", "id": REFRESH_ID, "token": token or ""})
            await self._refreshed.wait()

    def _is_about_refreshing(self, frame: wire.ServerFrame) -> bool:
        if frame["op"] == "refreshed":
            end = frame["expires_at"]
            self._rights_end = None if end is None else min(end, _FAR_MS) / 1000
        elif frame["op"] == "error" and frame.get("id") == REFRESH_ID:
            log.warning("the broker does not take the new token: %s; the old one holds on to its end", frame["message"])
            self._rights_end = None
        else:
            return False
        self._refreshed.set()
        return True

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._something_to_write.wait()
                while self._outgoing:
                    await self._socket.send(self._outgoing[0])
                    self._outgoing.popleft()
                self._something_to_write.clear()
                self._written.set()


async def _handshake(endpoint: Endpoint, token: str | None) -> _Heard:
    try:
        socket = await _Connect(
            endpoint.websocket,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            proxy=None if endpoint.is_loopback else True,
            compression=None,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_FRAME,
            max_queue=QUEUE,
            create_connection=_Heard,
        )
    except InvalidStatus as error:
        response = error.response
        body = (response.body or b"")[:65536].decode(errors="replace")
        raise endings.refused(response.status_code, body, response.headers.get("Retry-After")) from error
    except NegotiationError as error:
        raise errors.NewerServer(
            f"the server speaks another protocol ({error}); update this package to one that speaks its version"
        ) from error
    except InvalidMessage as error:
        if isinstance(error.__cause__, (EOFError, OSError)):
            raise errors.Cut(f"{endpoint.base}: the line was cut before an answer came") from error
        raise endings.not_tidewire(str(error)) from error
    except (ProxyError, asyncio.TimeoutError) as error:
        why = str(error) or f"no answer within {OPEN_TIMEOUT:g} s"
        raise errors.Unreachable(f"cannot reach the broker at {endpoint.base}: {why}") from error
    except InvalidHandshake as error:
        raise endings.not_tidewire(str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise errors.NotTrusted(
            f"the certificate of {endpoint.base} is not to be trusted: {error.verify_message}; check the address, or name "
            "the authority that signed it in the environment (SSL_CERT_FILE)"
        ) from error
    except ssl.SSLError as error:
        raise endings.not_tidewire(f"TLS with it fails ({error.reason or error})") from error
    except (WebSocketException, ImportError) as error:
        # an address or a proxy of the environment that cannot be used at all
        raise errors.InvalidUse(f"cannot connect to {endpoint.base}: {error}") from error
    except OSError as error:
        raise errors.Unreachable(f"cannot reach the broker at {endpoint.base}: {error}") from error
    assert isinstance(socket, _Heard), "made by create_connection"
    return socket


def _why_closed(error: ConnectionClosed) -> ConnectionEnded:
    if error.rcvd is not None:
        return endings.closed(error.rcvd.code, error.rcvd.reason)
    if error.sent is not None and error.sent.code != 1000:
        # this side could not read on: too large a frame, text that is not UTF-8
        return errors.Disagreement(f"the broker said something unexpected: {error.sent.reason or error.sent.code}")
    return errors.Cut("the connection was cut")
