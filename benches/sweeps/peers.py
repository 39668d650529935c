"""Whom the curves compare: how each is started, and how its readers read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from kit import build
from kit.servers import Floor, Nchan, Server, Tidewire


@dataclass(frozen=True)
class Peer:
    """A fresh process each time."""

    start: Callable[[], Server]
    transport: str


def all_peers(tidewire: Path, plain: Path) -> dict[str, Peer]:
    """By the names that curves.json has; nginx+nchan only where it is installed. `plain` is the program of benches/peers."""
    peers = {
        "tidewire_ws": Peer(lambda: Tidewire(tidewire), "ws"),
        "tidewire_sse": Peer(lambda: Tidewire(tidewire), "sse"),
    }
    if build.nchan_module():
        peers["nchan_ws"] = Peer(Nchan, "ws")
        peers["nchan_sse"] = Peer(Nchan, "sse")
    # as many topics as there are paths: with one topic that is the plain floor
    peers["floor"] = Peer(lambda: Floor(plain, by_path=True), "ws")
    return peers
