"""Row 5: a thousand answers at once, token by token, each to one reader. Row 9: how late they and row 1 come."""

from kit.servers import Nchan

from . import fanout
from .row import Case, Findings, Row
from .sitting import Figures, Sitting

COST = "broker_cpu_us_per_event"
P99 = "latency_p99_ms"
TOPICS = 1_000
PUBLISHERS = 10
# over HTTP each waits for one answer at a time: with ten, round trips would be the limit, not the server
NCHAN_PUBLISHERS = 100
RATE = 50
COALESCE_MS = 40
COALESCED_RATE = 100
# what one core and one generator carry of one HTTP request a token
SLOWER_RATE = 10


def streams(sitting: Sitting, server, **options) -> Figures:
    load = {"topics": sitting.count(TOPICS), "publishers": PUBLISHERS, "rate": RATE, "seconds": sitting.seconds}
    with server as running:
        return sitting.bench("streams", running, **{**load, **options})


def _nchan(sitting: Sitting, rate: int) -> Figures:
    return streams(sitting, Nchan(), publish="http", publishers=NCHAN_PUBLISHERS, rate=rate)


STREAMS = Case("streams", lambda s: streams(s, s.broker()))
COALESCED = Case("streams coalesced",
                 lambda s: streams(s, s.broker(), rate=COALESCED_RATE, coalesce_ms=COALESCE_MS))
NCHAN = Case("nchan streams", lambda s: _nchan(s, RATE), needs_nchan=True)
SLOWER = Case("streams slower", lambda s: streams(s, s.broker(), rate=SLOWER_RATE))
NCHAN_SLOWER = Case("nchan streams slower", lambda s: _nchan(s, SLOWER_RATE), needs_nchan=True)


def _row_5(sitting: Sitting) -> Findings:
    findings = Findings()
    fanout.against_floor(sitting, STREAMS, COST, 1.5, findings)
    text = f"coalesce_ms={COALESCE_MS} at {COALESCED_RATE}/s: "
    fanout.against_floor(sitting, COALESCED, COST, 0.7, findings, text)
    return findings


def _carried(sitting: Sitting, case: Case) -> float | None:
    """The share of the tokens that were due which got through in time."""
    found = sitting.spread(case.name, "acknowledged_per_s")
    return found and found.mid / (sitting.count(TOPICS) * RATE)


def _row_9(sitting: Sitting) -> Findings:
    findings = Findings()
    ours, theirs = (fanout.WS.name, P99), (fanout.NCHAN_WS.name, P99)
    findings.judge("row 1: {} × nchan", sitting.ratio(ours, theirs), 1.0)
    for rate, mine, nchan in [(RATE, STREAMS, NCHAN), (SLOWER_RATE, SLOWER, NCHAN_SLOWER)]:
        found = sitting.ratio((mine.name, P99), (nchan.name, P99))
        findings.judge(f"row 5 at {rate} tokens/s each: {{}} × nchan", found, 0.5, digits=3)
        for who, case in [("Tidewire", mine), ("nchan", nchan)]:
            findings.tell(f"{who} {{}} ms", sitting.spread(case.name, P99), digits=1)
    for who, case in [("Tidewire", STREAMS), ("nchan", NCHAN)]:
        carried = _carried(sitting, case)
        if carried is not None and carried < 0.95:
            findings.say(f"at {RATE}/s {who} fell behind: {carried:.0%} got through in time")
    return findings


ROWS = [
    Row(5, "token streams: 1,000 topics, one reader each, 50 tokens/s each, published over 10 WebSocket connections",
        "server CPU per token, in and out", "≤ 1.5 × floor; with `coalesce_ms=40` at 100 tokens/s ≤ 0.7 ×",
        (fanout.FLOOR, STREAMS, COALESCED), _row_5),
    Row(9, "latency of row 1, and of row 5, at the same rate for both (row 5: Tidewire over WebSocket, nchan over HTTP)",
        "p99",
        "≤ 1.0 × nchan's; ≤ 0.5 × nchan's (row 5 as 1,000 nchan channels)",
        (fanout.WS, fanout.NCHAN_WS, STREAMS, NCHAN, SLOWER, NCHAN_SLOWER), _row_9),
]
