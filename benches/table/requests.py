"""Row 6: what a publish over HTTP costs. Row 8: how late events come where there is little to do."""

from kit.servers import Nchan

from . import fanout
from .row import Case, Findings, Row
from .sitting import Figures, Sitting

COST = "broker_cpu_us_per_event"
# the path and the body that Tidewire takes of the same bench
SAME_JSON = {
    "pub_path": "/v1/publish",
    "pub_type": "application/json",
    "pub_body": '{"topic":"/bench/{topic}","events":[{"type":"bench.event","data":{"text":"{text}"}}]}',
}
LIGHT = {"readers": 10, "rate": 10}
# 10 events a second are few: a p99 needs some hundred deliveries
LIGHT_LONGER = 2


def _publish(sitting: Sitting, server, **options) -> Figures:
    with server as running:
        return sitting.bench("publish", running, publish="http", seconds=sitting.seconds, **options)


def _light(sitting: Sitting, server) -> Figures:
    return fanout.fanout(sitting, server, **LIGHT, seconds=LIGHT_LONGER * sitting.seconds)


PUBLISH = Case("publish", lambda s: _publish(s, s.broker()))
POST = Case("post", lambda s: _publish(s, s.post(), **SAME_JSON))
QUIET = Case("light load", lambda s: _light(s, s.broker()))
NCHAN_QUIET = Case("nchan light load", lambda s: _light(s, Nchan()), needs_nchan=True)


def _row_6(sitting: Sitting) -> Findings:
    findings = Findings()
    findings.judge("{} × the handler", sitting.ratio((PUBLISH.name, COST), (POST.name, COST)), 1.5)
    for who, case in [("Tidewire", PUBLISH), ("handler", POST)]:
        findings.tell(f"{who} {{}} µs", sitting.spread(case.name, COST), digits=1)
    return findings


def _row_8(sitting: Sitting) -> Findings:
    findings = Findings()
    for name in ["p50", "p99"]:
        figure = f"latency_{name}_ms"
        found = sitting.ratio((QUIET.name, figure), (NCHAN_QUIET.name, figure))
        findings.judge(f"{name}: {{}} × nchan", found, 1.0)
        for who, case in [("Tidewire", QUIET), ("nchan", NCHAN_QUIET)]:
            findings.tell(f"{who} {{}} ms", sitting.spread(case.name, figure))
    return findings


ROWS = [
    Row(6, "publish over HTTP, keep-alive, one event a request (10 connections, each as fast as it is answered)",
        "server CPU per request", "≤ 1.5 × a trivial actix-web POST handler that parses the same JSON",
        (PUBLISH, POST), _row_6),
    Row(8, "latency at light load (10 events/s, 10 readers)", "p50, p99", "≤ nchan's", (QUIET, NCHAN_QUIET), _row_8),
]
