"""Row 13: what topics leave behind that were used once: ten thousand, and then ten thousand others."""

import time

from kit.client import Client
from kit.servers import Tidewire
from kit.trouble import Trouble

from .row import Case, Findings, Row
from .sitting import Figures, Sitting

TOPICS = 10_000
TEXT = "x" * 100
# as long as a span is measured, so that a short sitting need not wait for two minutes until topics are forgotten
MOST_RETENTION_S = 5
# a topic whose events are gone is remembered for 24 times its retention, so that positions stay good
REMEMBERED = 24
PASSIVATE_S = 5
# beyond what settings say, since the broker looks around now and then
PATIENCE_S = 60


def _use(broker: Tidewire, round_: str, topics: int) -> None:
    """Each topic gets one event, which one reader reads."""
    with Client(broker.url) as client:
        for number in range(topics):
            topic = f"/bench/{round_}/{number}"
            client.publish(topic, [{"type": "bench.event", "data": {"text": TEXT}}])
            if TEXT.encode() not in client.read_once(topic):
                raise Trouble(f"{topic} was not read back")


def _wait(broker: Tidewire, gauges: list[str], seconds: float) -> bool:
    """Until all of them are 0; whether they came to that."""
    until = time.monotonic() + seconds + PATIENCE_S
    while any(broker.metrics().get(gauge, 0) > 0 for gauge in gauges):
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True


def _retention_s(sitting: Sitting) -> int:
    return min(MOST_RETENTION_S, int(sitting.seconds))


def _round(broker: Tidewire, name: str, topics: int, retention_s: int) -> Figures:
    """Resident memory in KiB when they were used, and when they are idle."""
    _use(broker, name, topics)
    used, log = broker.rss_kib(), broker.metrics()["tidewire_log_bytes"] / 1024
    if not _wait(broker, ["tidewire_log_events", "tidewire_topic_actors"], retention_s + PASSIVATE_S):
        raise Trouble("topics did not go idle")
    return {"used": used, "log": log, "idle": broker.rss_kib(), "topics": broker.metrics()["tidewire_topics"]}


def _topics(sitting: Sitting) -> Figures:
    topics, retention_s = sitting.count(TOPICS), _retention_s(sitting)
    settings = ["--defaults-retention-age", f"{retention_s}s", "--limits-passivate-after", f"{PASSIVATE_S}s"]
    with sitting.broker(*settings) as broker:
        # what a broker has anyway, once it did something
        _use(broker, "before", 10)
        before = broker.rss_kib()
        first = _round(broker, "first", topics, retention_s)
        retired = _wait(broker, ["tidewire_topics"], retention_s * REMEMBERED)
        gone = broker.rss_kib()
        second = _round(broker, "second", topics, retention_s)
    return {
        **{f"first_{what}": value for what, value in first.items()},
        **{f"second_{what}": value for what, value in second.items()},
        "before": before,
        "retired": gone if retired else None,
        "used_kib_a_topic": (first["used"] - first["log"] - before) / topics,
        "idle_kib_a_topic": (first["idle"] - before) / topics,
        # when idle, it depends on when the allocator last gave memory back
        "second_to_first": max(second["used"], second["idle"]) / max(first["used"], first["idle"]),
    }


CASE = Case("topics", _topics, most_rounds=1)


def _row_13(sitting: Sitting) -> Findings:
    findings = Findings()
    findings.judge("in use {} KB a topic over its events", sitting.spread(CASE.name, "used_kib_a_topic"), 2.0)
    grown = sitting.spread(CASE.name, "second_to_first")
    findings.judge("the second round took at most {} × what the first took", grown, 1.1)
    # the allocator keeps what events took: memory that is free for the next ones
    idle = sitting.spread(CASE.name, "idle_kib_a_topic")
    findings.tell("{} KB a topic when idle, room that events had included", idle)
    for figure, what in [("before", "before"), ("first_used", "used"), ("first_idle", "idle"), ("retired", "forgotten"),
                         ("second_used", "others used"), ("second_idle", "idle")]:
        found = sitting.spread(CASE.name, figure)
        findings.say(f"{what} {found.mid / 1024:.1f} MB" if found else f"{what}: not seen")
    if _retention_s(sitting) != MOST_RETENTION_S:
        findings.say(f"retention was {_retention_s(sitting)} s")
    return findings


ROWS = [
    Row(13, "10,000 topics created, used, gone idle (retention 5 s), then 10,000 others", "RSS",
        "≤ 2 KB a topic over its events; the second round adds < 10 %", (CASE,), _row_13),
]
