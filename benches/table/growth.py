"""Row 14: whether a delivery costs more where there are more readers, or more topics, at the same rate of all.

The floor grows, too: what was written to ten sockets in turn stays in the processor's caches, ten thousand do not. So
growth is told against the floor's own under the same load.
"""

from kit.stats import ratios

from . import fanout, streams
from .row import Case, Findings, Row
from .sitting import Figures, Sitting

READERS = [100, 1_000, 4_000, 16_000]
DELIVERIES = 20_000
TOPICS = [10, 100, 1_000, 10_000]
TOKENS = 10_000
FANOUT, STREAMS = ("fan-out", fanout.COST), ("streams", streams.COST)
# between the smallest and the largest it is only looked whether something is odd
BETWEEN_ROUNDS = 1


def _readers(sitting: Sitting, server, readers: int) -> Figures:
    readers = sitting.count(readers)
    return fanout.fanout(sitting, server, readers=readers, rate=DELIVERIES / readers)


def _topics(sitting: Sitting, server, topics: int) -> Figures:
    # both are published to over HTTP, so that what comes in costs both the same way
    topics = sitting.count(topics)
    return streams.streams(sitting, server, topics=topics, rate=TOKENS / topics, publish="http")


def _name(load: str, who: str, size: int) -> str:
    return f"{who} {load} {size}"


def _cases() -> list[Case]:
    cases = []
    for load, sizes, measure, by_path in [("fan-out", READERS, _readers, False), ("streams", TOPICS, _topics, True)]:
        for size in sizes:
            rounds = 1_000 if size in (sizes[0], sizes[-1]) else BETWEEN_ROUNDS
            floor = lambda s, size=size, measure=measure, by_path=by_path: measure(s, s.floor(by_path), size)
            ours = lambda s, size=size, measure=measure: measure(s, s.broker(), size)
            cases.append(Case(_name(load, "floor", size), floor, rounds))
            cases.append(Case(_name(load, "tidewire", size), ours, rounds))
    return cases


def _growth(sitting: Sitting, who: str, load: str, figure: str, sizes: list[int]) -> list[float | None]:
    small, large = (sitting.values(_name(load, who, size), figure) for size in (sizes[0], sizes[-1]))
    return [b / a if a and b else None for a, b in zip(small, large)]


def _row_14(sitting: Sitting) -> Findings:
    findings = Findings()
    for (load, figure), sizes, of in [(FANOUT, READERS, "readers"), (STREAMS, TOPICS, "topics")]:
        ours, floor = (_growth(sitting, who, load, figure, sizes) for who in ("tidewire", "floor"))
        text = f"{sizes[0]} to {sizes[-1]:,} {of}: {{}} × the floor's growth"
        findings.judge(text, ratios(ours, floor), 1.2)
        for who in ("tidewire", "floor"):
            costs = [sitting.spread(_name(load, who, size), figure) for size in sizes]
            findings.say(f"{who} µs " + " → ".join(f"{cost.mid:.2f}" if cost else "?" for cost in costs))
    return findings


ROWS = [
    Row(14, "cost per delivery from 100 to 16,000 readers (20,000 deliveries/s) and from 10 to 10,000 topics "
            "(10,000 tokens/s)", "growth over floor's own", "≤ 1.2 ×", tuple(_cases()), _row_14),
]
