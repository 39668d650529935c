"""A real broker in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("BROKER_BIN", PACKAGE / "../../target/release/tidewire")).resolve()
#: Seconds that anything may take.
BOUND = 30.0


class Broker:
    """`tidewire serve` with these arguments; `restart` keeps its port."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Broker:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TIDEWIRE_")}
        self._process = await asyncio.create_subprocess_exec(
            str(BINARY),
            "serve",
            "--listen",
            f"127.0.0.1:{self.port}",
            "--workers",
            "1",
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdout and self._process.stderr
        self._log = asyncio.create_task(_drained(self._process.stderr))
        line = await asyncio.wait_for(self._process.stdout.readline(), BOUND)
        listening = re.search(r"http://127\.0\.0\.1:(\d+)", line.decode())
        assert listening, f"the broker said {line!r}"
        self.port = int(listening[1])
        return self

    async def stop(self, graceful: bool = False) -> None:
        process, self._process = self._process, None
        if process:
            process.terminate() if graceful else process.kill()
            await asyncio.wait_for(process.wait(), BOUND)
            assert self._log
            await asyncio.wait({self._log})
            # the pipe's transport is closed by its end
            await asyncio.sleep(0)

    async def restart(self, graceful: bool = False) -> None:
        await self.stop(graceful)
        await self.start()

    async def __aenter__(self) -> Broker:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def call(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """One HTTP call."""

        def called() -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
            with urllib.request.urlopen(request, timeout=BOUND) as answer:
                return json.load(answer)

        return await asyncio.to_thread(called)

    async def publish(self, topic: str, *events: dict[str, Any]) -> Any:
        return await self.call("/v1/publish", "POST", {"topic": topic, "events": list(events)})

    async def history(self, topic: str) -> list[dict[str, Any]]:
        """All events of a topic, as they stand in the log."""
        events: list[dict[str, Any]] = []
        begin = "start"
        while True:
            page = await self.call(f"/v1/events?topic={topic}&limit=1000&from={begin}")
            events += page["events"]
            begin = page["position"]
            if not page["more"]:
                return events


async def _drained(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


def token(secret: str, *arguments: str) -> str:
    """`tidewire token create`."""
    import subprocess

    made = subprocess.run(
        [str(BINARY), "token", "create", *arguments],
        env={**os.environ, "TIDEWIRE_AUTH_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
        timeout=BOUND,
    )
    return made.stdout.strip()
