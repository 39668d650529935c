"""The curves that compare servers, point by point: what stands on x, what is held, and how a point is measured."""

from dataclasses import dataclass
from typing import Callable

TOTAL_DELIVERIES_S = 20_000
TOTAL_EVENTS_S = 4_000
READERS = 1_000
SHORT_S = 0.5


@dataclass(frozen=True)
class Sweep:
    unit: str
    held: str
    at: list[int]
    scenario: str
    # options of the scenario at one point; seconds to measure
    options: Callable[[int, float], dict]
    figure: Callable[[dict], float]
    peers: tuple[str, ...] = ("tidewire_ws", "tidewire_sse", "nchan_ws", "nchan_sse", "floor")


def _fanout(readers: int, topics: int, rate: float, seconds: float, warm_up: float) -> dict:
    # all are published to in the same way: a raw peer takes one event a request
    return {
        "publish": "http",
        "readers": readers,
        "topics": topics,
        "rate": rate,
        "seconds": seconds,
        "warm_up": warm_up,
    }


def _readers(at: int, seconds: float) -> dict:
    return _fanout(at, 1, TOTAL_DELIVERIES_S / at, seconds, SHORT_S)


def _topics(at: int, seconds: float) -> dict:
    # each topic has had its first event before it counts
    return _fanout(at, at, TOTAL_EVENTS_S / at, seconds, max(SHORT_S, at / TOTAL_EVENTS_S))


def _rate(at: int, seconds: float) -> dict:
    return _fanout(READERS, 1, float(at), seconds, SHORT_S)


def _idle(at: int, _: float) -> dict:
    return {"readers": at, "seconds": 1.0}


def _cpu_per_delivery(figures: dict) -> float:
    return figures["broker_cpu_us_per_delivery"]


COST = "µs of server CPU per delivery"

SWEEPS = {
    "readers": Sweep(
        COST,
        f"{TOTAL_DELIVERIES_S:,} deliveries a second in all",
        [100, 1_000, 4_000, 16_000],
        "fanout",
        _readers,
        _cpu_per_delivery,
    ),
    "topics": Sweep(
        COST,
        f"{TOTAL_EVENTS_S:,} events a second in all, each a publish of its own",
        [10, 100, 1_000, 10_000],
        "fanout",
        _topics,
        _cpu_per_delivery,
    ),
    "rate": Sweep(COST, f"{READERS:,} readers of one topic", [10, 25, 50, 100], "fanout", _rate, _cpu_per_delivery),
    "memory": Sweep(
        "KB, resident",
        "one subscription each, nothing happens",
        [1_000, 4_000, 10_000],
        "idle",
        _idle,
        lambda figures: figures["broker_rss_mb"] * 1024,
        ("tidewire_ws", "tidewire_sse", "nchan_ws"),
    ),
}
