"""Waiting for a condition that other code of the same event loop makes true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """Those who wait look again whenever something may have changed."""

    def __init__(self) -> None:
        self._changed: asyncio.Event | None = None

    def changed(self) -> None:
        if self._changed:
            self._changed.set()
            self._changed = None

    async def wait_until(self, reached: Callable[[], bool]) -> None:
        """`reached` may raise; it is asked at once, and after each change."""
        while not reached():
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
