"""Rows 7, 10, 11 and 12: connections that are idle, that do not read, that come back, and that come in the middle."""

from kit.stats import spread

from .row import Case, Findings, Row
from .sitting import Figures, Sitting

IDLE = 10_000
# longer than the 25 s after which the broker pings: at `--seconds 5` half a minute
IDLE_LONGER = 6
# at `--seconds 5` 40 s of 25 events a second on 200 topics: 200,000 events
STALLED_LONGER = 8
STALLED_TOPICS = 200
STALLED_RATE = 25
# so that nobody is cut for it while that is measured
STALL_TIMEOUT = "10m"
CUT = 5_000
MISSED = 200
TOKENS = 5_000


def _idle(sitting: Sitting, transport: str) -> Figures:
    with sitting.broker() as broker:
        seconds = IDLE_LONGER * sitting.seconds
        return sitting.bench("idle", broker, readers=sitting.count(IDLE), transport=transport, seconds=seconds)


def _stalled(sitting: Sitting) -> Figures:
    load = {"topics": sitting.count(STALLED_TOPICS), "readers_per_topic": 10, "share": 0.5, "rate": STALLED_RATE}
    seconds = STALLED_LONGER * sitting.seconds
    with sitting.broker("--limits-stall-timeout", STALL_TIMEOUT) as broker:
        return sitting.bench("stalled", broker, **load, text_bytes=1000, seconds=seconds)


def _resume(sitting: Sitting) -> Figures:
    with sitting.broker() as broker:
        return sitting.bench("resume", broker, readers=sitting.count(CUT), missed=MISSED)


def _join(sitting: Sitting) -> Figures:
    with sitting.broker() as broker:
        return sitting.bench("join", broker, tokens=TOKENS)


IDLE_WS = Case("idle ws", lambda s: _idle(s, "ws"), most_rounds=1)
IDLE_SSE = Case("idle sse", lambda s: _idle(s, "sse"), most_rounds=1)
STALLED = Case("stalled", _stalled, most_rounds=2)
RESUME = Case("resume", _resume)
JOIN = Case("join", _join, most_rounds=2)


def _row_7(sitting: Sitting) -> Findings:
    findings = Findings()
    for what, case, most in [("WebSocket", IDLE_WS, 6.0), ("SSE", IDLE_SSE, 14.0)]:
        findings.judge(f"{what} {{}} KB", sitting.spread(case.name, "broker_rss_kb_per_connection"), most)
        findings.judge("idle CPU {} %", sitting.spread(case.name, "broker_cpu_percent"), 1.0)
    return findings


def _row_10(sitting: Sitting) -> Findings:
    findings = Findings()
    beyond = sitting.spread(STALLED.name, "broker_rss_grown_beyond_log_mb")
    findings.judge("{} MB beyond the log", beyond, 32, digits=1)
    findings.judge("p99 {} × without stalls", sitting.spread(STALLED.name, "latency_p99_ratio"), 1.2)
    passed = sitting.count(STALLED_TOPICS) * STALLED_RATE * STALLED_LONGER * sitting.seconds
    findings.say(f"{passed:,.0f} events passed")
    return findings


def _row_11(sitting: Sitting) -> Findings:
    findings = Findings()
    findings.judge("{} × connecting", sitting.spread(RESUME.name, "caught_up_to_connect_ratio"), 1.5)
    for figure, what in [("missing", "lost"), ("repeated", "repeated")]:
        found = sitting.spread(RESUME.name, figure)
        findings.judge_true(f"{found.high:.0f} {what}" if found else f"{what}?", found and found.high == 0)
    for figure, what in [("connect_ms", "connecting"), ("caught_up_ms", "caught up")]:
        findings.tell(f"{what} {{}} ms", sitting.spread(RESUME.name, figure), digits=0)
    return findings


def _row_12(sitting: Sitting) -> Findings:
    findings = Findings()
    findings.judge("{} frames", sitting.spread(JOIN.name, "frames_until_joined_max"), 3, digits=0)
    bytes_ = sitting.values(JOIN.name, "bytes_until_joined_max")
    texts = sitting.values(JOIN.name, "text_bytes_as_json")
    known = [(got, text) for got, text in zip(bytes_, texts) if got is not None]
    # what may be there beyond the text is 1 KB
    findings.judge("{} × (the text, and 1 KB)", spread((got - 1024) / text for got, text in known), 1.1, digits=3)
    return findings


ROWS = [
    Row(7, "idle WebSocket with one subscription, at 10,000", "RSS each",
        "≤ 6 KB; SSE ≤ 14 KB; idle CPU ≤ 1 % of a core", (IDLE_WS, IDLE_SSE), _row_7),
    Row(10, "200 topics × 10 readers, half of them stalled, 200,000 events of 1 KB pass",
        "RSS beyond the log; p99 of the healthy", "≤ 32 MB; ≤ 1.2 × without stalls", (STALLED,), _row_10),
    Row(11, "5,000 clients cut and resumed at once, 200 events missed each", "time until all are caught up",
        "≤ 1.5 × merely connecting 5,000; 0 lost, 0 repeated", (RESUME,), _row_11),
    Row(12, "joining at token 5,000 of an open message", "frames, bytes",
        "≤ 3 frames, ≤ 1.1 × the JSON text + 1 KB",
        (JOIN,), _row_12),
]
