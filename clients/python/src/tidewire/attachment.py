"""Attaching as an agent: the claim that every new connection repeats.

Invariants:
- the first claim leaves the epoch to the broker; every later one names the epoch that the windows publish with, so
  the broker sees one agent through all its connections;
- nothing is published on a connection before its claim is answered.
"""

from __future__ import annotations

from . import _types as wire

#: The `id` of the claim's frame; publishes are numbered from 1.
CLAIM_ID = 0
#: Seconds that an agent may be gone, unless something else is asked for.
DEFAULT_LEASE = 15.0
#: What the broker takes as a lease, in seconds.
LEASES = (1.0, 600.0)
#: Topics of one connection.
TOPICS = 1000
#: Topics of one frame: with names of any length, both lists of them stay well within what the broker takes.
CLAIMED_AT_ONCE = 200


class AnotherEpoch(Exception):
    """The broker answered with another epoch than the one that was claimed."""


class Claim:
    """See the module."""

    def __init__(self, producer_id: str, lease: float) -> None:
        self.producer_id = producer_id
        self._lease = lease
        #: The epoch that was assigned.
        self.epoch: int | None = None

    def frames(self, topics: list[str]) -> list[wire.ClientAttach]:
        """For a new connection: the first of them attaches, the others add topics."""
        parts = [topics[at : at + CLAIMED_AT_ONCE] for at in range(0, len(topics), CLAIMED_AT_ONCE)]
        return [self.frame(part) for part in parts or [[]]]

    def frame(self, topics: list[str]) -> wire.ClientAttach:
        """Attaches, or adds topics: what clients say to their agents, and how many read them."""
        producer: wire.ClientAttachProducer = {"id": self.producer_id}
        if self.epoch is not None:
            producer["epoch"] = self.epoch
        frame: wire.ClientAttach = {
            "op": "attach",
            "id": CLAIM_ID,
            "producer": producer,
            "lease_ms": int(self._lease * 1000),
        }
        if topics:
            frame["control"] = frame["demand"] = topics
        return frame

    def on_attached(self, answer: wire.Attached) -> int:
        """The broker's answer: the epoch to publish with, the same for ever."""
        if self.epoch is not None and answer["epoch"] != self.epoch:
            raise AnotherEpoch(f"it attached the agent in epoch {answer['epoch']}, which nobody asked for")
        self.epoch = answer["epoch"]
        return self.epoch
