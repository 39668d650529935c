"""A TCP proxy that stands for a bad network: it cuts, resets, stalls, delays and holds back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Literal

from tidewire.signal import Signal

Mood = Literal["passes", "stalls", "delays", "holds_back"]


class Proxy:
    """Between a client and the port of a broker."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = Signal()
        self._mood: Mood = "passes"
        self.refuses = False
        #: Connections so far, and bytes passed on towards the broker.
        self.connections = 0
        self.passed = 0

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def lines(self) -> int:
        """Ends of lines that are open."""
        return len(self._lines)

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        self._changed.changed()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Ends all lines as a dead peer's kernel does: at once, without a word of WebSocket."""
        for line in list(self._lines):
            line.close()

    def reset(self) -> None:
        """Ends all lines with RST."""
        for line in list(self._lines):
            raw = line.get_extra_info("socket")
            if raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._lines.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self.refuses:
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._lines.add(far)
            both = [
                asyncio.create_task(self._pass(reader, far, True)),
                asyncio.create_task(self._pass(far_reader, writer, False)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.wait(both)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for line in (writer, far):
                if line:
                    self._lines.discard(line)
                    line.close()
            self._tasks.discard(task)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self._mood == "delays":
                    await asyncio.sleep(0.05)
                elif self._mood == "holds_back":
                    # gathers until there is much of it, as a buffering proxy does
                    with contextlib.suppress(asyncio.TimeoutError):
                        while len(data) < 32768:
                            data += await asyncio.wait_for(source.read(65536), 0.2) or b""
                            if source.at_eof():
                                break
                await self._changed.wait_until(lambda: self._mood != "stalls")
                if up:
                    self.passed += len(data)
                target.write(data)
                await target.drain()
