"""Row 15: an hour of chats in memory. Replayed faster than they were, so what waits a minute waits a second here."""

import random
import time

from kit.client import Client
from kit.servers import Tidewire
from kit.trouble import Trouble

from .row import Case, Findings, Row
from .sitting import Figures, Sitting

CHATS = 1_700
TOKENS = 3_000
# 3,000 tokens take a minute at 50 a second, so of 1,700 an hour so many are written at once
AT_ONCE = 28
BATCH = 50
# a minute, by default; the hour takes about one
COMPACT_AFTER = "1s"
# nothing is trimmed by number or size: a chat has 3,002 events. These are the defaults
BOUNDS = {"age": "1h", "events": "10000", "bytes": "16MiB"}
# tokens as models write them: a space and a word; 4 to 5 bytes in the mean
WORDS = "the of to and a in is it you that for on are with as be have this from or by not which answer model because".split()
PATIENCE_S = 60


def _tokens(chat: int) -> list[str]:
    random_ = random.Random(chat)
    return [f" {random_.choice(WORDS)}" for _ in range(TOKENS)]


def _event(kind: str, **data) -> dict:
    return {"type": kind, "data": {"message_id": "m1", **data}}


def _write(client: Client, chats: range) -> dict[int, int]:
    """Some chats at once, from beginning to end; how long the text of each became."""
    tokens = {chat: _tokens(chat) for chat in chats}
    for chat in chats:
        client.publish(f"/bench/chat/{chat}", [_event("message.started", role="assistant")])
    for first in range(0, TOKENS, BATCH):
        for chat in chats:
            some = tokens[chat][first:first + BATCH]
            client.publish(f"/bench/chat/{chat}", [_event("token.delta", text=text) for text in some])
    for chat in chats:
        client.publish(f"/bench/chat/{chat}", [_event("message.completed", finish_reason="stop")])
    return {chat: sum(map(len, tokens[chat])) for chat in chats}


def _settle(broker: Tidewire) -> float:
    """Until no more leaves the log; how many events are left."""
    until, last, since = time.monotonic() + PATIENCE_S, -1.0, time.monotonic()
    while time.monotonic() < until:
        events = broker.metrics()["tidewire_log_events"]
        if events != last:
            last, since = events, time.monotonic()
        if time.monotonic() - since > 3:
            break
        time.sleep(0.5)
    return last


def _look(client: Client, lengths: dict[int, int]) -> None:
    """Every text is there, whole."""
    for chat, length in lengths.items():
        ends = [event for event in client.history(f"/bench/chat/{chat}") if event["type"] == "message.completed"]
        parts = ends[0].get("parts") if len(ends) == 1 else None
        if not parts or sum(len(part["text"]) for part in parts) != length:
            raise Trouble(f"the text of chat {chat} is not whole")


def _chats(sitting: Sitting) -> Figures:
    chats = sitting.count(CHATS)
    bounds = [word for what, most in BOUNDS.items() for word in (f"--defaults-retention-{what}", most)]
    with sitting.broker(*bounds, "--limits-compact-after", COMPACT_AFTER) as broker, Client(broker.url) as client:
        begin, peak, lengths = time.monotonic(), 0, {}
        for first in range(0, chats, AT_ONCE):
            lengths |= _write(client, range(first, min(first + AT_ONCE, chats)))
            peak = max(peak, broker.rss_kib())
        took = time.monotonic() - begin
        left = _settle(broker)
        figures = {"rss_mb": broker.rss_kib() / 1024, "peak_mb": peak / 1024, "seconds": took, "events_left": left,
                   "log_mb": broker.metrics()["tidewire_log_bytes"] / 2**20, "text_mb": sum(lengths.values()) / 2**20}
        _look(client, lengths)
    return figures


CASE = Case("chats", _chats, most_rounds=1)


def _row_15(sitting: Sitting) -> Findings:
    findings = Findings()
    findings.judge("{} MB at the end", sitting.spread(CASE.name, "rss_mb"), 512, digits=0)
    for text, figure in [("at most {} MB", "peak_mb"), ("log {} MB", "log_mb"), ("text {} MB", "text_mb"),
                         ("{} events left", "events_left"), ("replayed in {} s", "seconds")]:
        findings.tell(text, sitting.spread(CASE.name, figure), digits=0)
    if sitting.spread(CASE.name, "rss_mb"):
        findings.say("every text was whole")
    findings.say(f"bounds are the defaults (10,000 events and 16 MiB a topic), compact_after={COMPACT_AFTER}")
    return findings


ROWS = [
    Row(15, "1,700 chats of 3,000 tokens in an hour's retention (replayed faster; tokens of 2 to 9 bytes)", "RSS",
        "≤ 512 MB: ended messages are compacted", (CASE,), _row_15),
]
