"""Whom the curves compare: how each is started, and how its readers read."""

from dataclasses import dataclass
from typing import Callable

from kit import build
from kit.servers import Floor, Nchan, Server, Tidewire


@dataclass(frozen=True)
class Peer:
    """A fresh process each time."""

    start: Callable[[], Server]
    transport: str


def all_peers(tidewire) -> dict[str, Peer]:
    """By the names that curves.json has; nginx+nchan only where it is installed."""
    peers = {
        "tidewire_ws": Peer(lambda: Tidewire(tidewire), "ws"),
        "tidewire_sse": Peer(lambda: Tidewire(tidewire), "sse"),
    }
    if build.nchan_module():
        peers["nchan_ws"] = Peer(Nchan, "ws")
        peers["nchan_sse"] = Peer(Nchan, "sse")
    # as many topics as there are paths: with one topic that is the plain floor
    peers["floor"] = Peer(lambda: Floor(build.peers(), by_path=True), "ws")
    return peers
