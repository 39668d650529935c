"""Rows 1 to 4: one event to a thousand readers, over WebSocket and SSE, one by one and in bursts."""

from kit.servers import Nchan

from .row import Case, Findings, Row
from .sitting import Figures, Sitting

COST = "broker_cpu_us_per_delivery"
READERS = 1_000
RATE = 50
BURST = 50
# with 50 events a second there would be one burst a second, and too little CPU time to be counted exactly
BURST_RATE = 250
TOPICS = 10


def fanout(sitting: Sitting, server, **options) -> Figures:
    load = {"publish": "http", "readers": sitting.count(READERS), "rate": RATE, "seconds": sitting.seconds, **options}
    with server as running:
        return sitting.bench("fanout", running, **load)


def _ten_topics(sitting: Sitting) -> Figures:
    # the readers' rate stays the same
    ten = {"topics": TOPICS, "topics_per_reader": TOPICS, "rate": RATE / TOPICS}
    return fanout(sitting, sitting.broker(), transport="sse", **ten)


FLOOR = Case("floor", lambda s: fanout(s, s.floor()))
WS = Case("ws", lambda s: fanout(s, s.broker()))
NCHAN_WS = Case("nchan ws", lambda s: fanout(s, Nchan()), needs_nchan=True)
BURSTS = Case("ws bursts", lambda s: fanout(s, s.broker(), rate=BURST_RATE, burst=BURST))
SSE = Case("sse", lambda s: fanout(s, s.broker(), transport="sse"))
NCHAN_SSE = Case("nchan sse", lambda s: fanout(s, Nchan(), transport="sse"), needs_nchan=True)
SSE_TEN = Case("sse ten topics", _ten_topics)


def against_floor(sitting: Sitting, case: Case, figure: str, most: float, findings: Findings, text: str = "") -> None:
    found = sitting.ratio((case.name, figure), (FLOOR.name, COST))
    findings.judge(f"{text}{{}} × floor", found, most)


def _told(sitting: Sitting, findings: Findings, *cases: Case) -> Findings:
    for case in cases:
        findings.tell(f"{case.name} {{}} µs", sitting.spread(case.name, COST))
    return findings


def _row_1(sitting: Sitting) -> Findings:
    findings = Findings()
    against_floor(sitting, WS, COST, 1.15, findings)
    findings.judge("{} × nchan", sitting.ratio((WS.name, COST), (NCHAN_WS.name, COST)), 1.0, strictly=True)
    return _told(sitting, findings, FLOOR, WS, NCHAN_WS)


def _row_2(sitting: Sitting) -> Findings:
    findings = Findings()
    against_floor(sitting, BURSTS, COST, 0.07, findings)
    return _told(sitting, findings, FLOOR, BURSTS)


def _row_3(sitting: Sitting) -> Findings:
    findings = Findings()
    against_floor(sitting, SSE, COST, 1.5, findings)
    findings.judge("{} × nchan SSE", sitting.ratio((SSE.name, COST), (NCHAN_SSE.name, COST)), 1.0, strictly=True)
    return _told(sitting, findings, FLOOR, SSE, NCHAN_SSE)


def _row_4(sitting: Sitting) -> Findings:
    findings = Findings()
    against_floor(sitting, SSE_TEN, COST, 1.7, findings)
    return _told(sitting, findings, FLOOR, SSE_TEN)


DELIVERY = "server CPU per delivery"
ROWS = [
    Row(1, "fan-out: 1 topic, 1,000 WebSocket readers, 50 events/s", DELIVERY, "≤ 1.15 × floor, and below nginx+nchan",
        (FLOOR, WS, NCHAN_WS), _row_1),
    Row(2, f"the same in bursts of {BURST} events ({BURST_RATE // BURST} bursts/s)", DELIVERY, "≤ 0.07 × floor",
        (FLOOR, BURSTS), _row_2),
    Row(3, "row 1 over SSE", DELIVERY, "≤ 1.5 × floor, and below nginx+nchan SSE", (FLOOR, SSE, NCHAN_SSE), _row_3),
    Row(4, "SSE with 10 topics a reader (5 events/s each)", DELIVERY, "≤ 1.7 × floor", (FLOOR, SSE_TEN), _row_4),
]
