from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from .broker import BINARY, BOUND, Broker
from .proxy import Proxy


def pytest_configure(config: pytest.Config) -> None:
    if not BINARY.exists():
        pytest.exit(f"there is no broker at {BINARY}: build it (cargo build --release), or set BROKER_BIN", 2)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """On the memory engine."""
    async with Broker() as broker:
        yield broker


@pytest.fixture
async def disk_broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker("--engine", "disk", "--data-dir", str(tmp_path / "data")) as broker:
        yield broker


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[Proxy]:
    async with Proxy(broker.port) as proxy:
        yield proxy


async def until(reached: Callable[[], bool | Awaitable[bool]], bound: float = BOUND) -> None:
    """Asks again and again until it is so."""

    async def asked() -> None:
        while True:
            answer = reached()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)

    await asyncio.wait_for(asked(), bound)
