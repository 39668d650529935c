"""The small state machines."""

from __future__ import annotations

from typing import Any

import pytest

from tidewire.attachment import AnotherEpoch, Claim
from tidewire.backoff import FIRST, Backoff
from tidewire.control import ControlInbox
from tidewire.endpoint import Endpoint
from tidewire.errors import InvalidUse
from tidewire.fold import ENDED_KEPT, Fold
from tidewire.heartbeat import Heartbeat
from tidewire.reader import Reader, admits
from tidewire.wire import NotAFrame, parse


def control(epoch: str, *seqs: int) -> Any:
    events = [{"seq": seq, "type": "run.cancel", "time": 1, "data": {}} for seq in seqs]
    return {"op": "control", "topic": "/a", "epoch": epoch, "events": events}


def test_what_comes_again_after_a_cut_is_given_out_once_and_its_lost_acknowledgement_repeated() -> None:
    inbox = ControlInbox()
    new, _ = inbox.on_frame(control("aaaaaaaa", 3, 4))
    assert [event.seq for event in new] == [3, 4]
    acknowledgement = {"op": "control_ack", "topic": "/a", "seq": 3}
    assert inbox.acknowledge(new[0]) == acknowledgement
    assert inbox.acknowledge(new[0]) is None, "once is enough"
    inbox.on_disconnected()
    assert inbox.acknowledge(new[1]) is None, "there is no line"
    again, repeated = inbox.on_frame(control("aaaaaaaa", 3, 4, 8))
    assert [event.seq for event in again] == [8] and len(repeated) == 2 and repeated[0] == acknowledgement
    other, _ = inbox.on_frame(control("bbbbbbbb", 3))
    assert [event.seq for event in other] == [3], "another life of the topic has other events"
    assert inbox.acknowledge(new[0]) is None


def test_the_first_claim_leaves_the_epoch_to_the_broker_and_the_next_keeps_it() -> None:
    claim = Claim("p", 1.5)
    assert claim.frame(["/a"]) == {
        "op": "attach",
        "id": 0,
        "producer": {"id": "p"},
        "lease_ms": 1500,
        "control": ["/a"],
        "demand": ["/a"],
    }
    claim.on_attached({"op": "attached", "epoch": 4})
    assert claim.frame([])["producer"] == {"id": "p", "epoch": 4}
    with pytest.raises(AnotherEpoch):
        claim.on_attached({"op": "attached", "epoch": 7})


def test_the_first_retry_is_quick_and_the_bound_doubles_up_to_its_cap() -> None:
    backoff = Backoff()
    assert [backoff.next_wait(1.0) for _ in range(9)] == [0.15, 0.5, 1, 2, 4, 8, 16, 20, 20]
    assert backoff.next_wait(0.0) == 0 and backoff.next_wait(0.5) == 10, "jitter is full"
    backoff.worked()
    assert backoff.next_wait(1.0) == FIRST
    backoff.told(3)
    assert backoff.next_wait(0.0) == 3, "what a draining broker says counts"
    assert backoff.next_wait(1.0) == 0.5, "once"
    assert max(Backoff(0.25).next_wait(1.0) for _ in range(9)) <= 0.25
    backoff.worked()
    backoff.disagreed()
    assert backoff.next_wait(1.0) >= 2


def test_silence_is_pinged_once_and_then_dead() -> None:
    heartbeat = Heartbeat(1.0, 0.0)
    assert heartbeat.due(1.24) == "nothing" and heartbeat.next == 1.25
    assert heartbeat.due(1.25) == "ping" and heartbeat.due(1.3) == "nothing"
    assert heartbeat.next == 2.5 and heartbeat.due(2.5) == "dead"
    heartbeat.heard(2.0)
    assert heartbeat.due(2.6) == "nothing" and heartbeat.due(3.25) == "ping"


def test_ended_messages_are_held_up_to_a_bound() -> None:
    fold = Fold()
    fold.apply({"type": "token.delta", "time": 1, "data": {"message_id": "open", "text": "x"}})
    for n in range(ENDED_KEPT + 10):
        fold.apply({"type": "message.completed", "time": 1, "data": {"message_id": f"m{n}"}})
    assert len(fold.messages) == ENDED_KEPT + 1
    assert fold.get("open") and fold.get("m9") is None and fold.get("m10")


@pytest.mark.parametrize("data", [None, 1, {}, {"message_id": 1}, {"message_id": "m"}, {"message_id": "m", "text": 1}])
def test_an_event_that_cannot_be_understood_changes_nothing(data: Any) -> None:
    fold = Fold()
    assert fold.apply({"type": "token.delta", "time": 1, "data": data}) is None
    assert fold.messages == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"op":1}', '{"op":"events"}', '{"op":"gap","topic":"/a","from":"x","to":1,"reason":""}']
)
def test_what_is_no_frame_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NotAFrame):
        parse(text)


def test_a_position_is_not_ahead_of_what_was_given_out() -> None:
    reader = Reader({"/a": "aaaaaaaa:0"})
    events: Any = [{"seq": n, "type": "a.b", "time": 1, "data": n} for n in (1, 2)]
    items = reader.take({"op": "events", "topic": "/a", "epoch": "aaaaaaaa", "after": 0, "upto": 2, "events": events})
    next(items), next(items)
    assert str(reader.positions["/a"]) == "aaaaaaaa:0", "the second was not dealt with yet"
    assert next(items, None) is None and str(reader.positions["/a"]) == "aaaaaaaa:2"


def test_types_are_matched_as_the_broker_does() -> None:
    assert admits("*", "token.delta") and admits("token.*", "token.delta") and admits("token.delta", "token.delta")
    assert not admits("token.*", "tokens.delta") and not admits("message.*", "token.delta")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:7070", "ftp://x", "http://", "http://h:x", "http://a:b@h", "http://h?x=1"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidUse):
        Endpoint(url)


def test_a_token_is_never_shown() -> None:
    endpoint = Endpoint("https://chat.example.com/tidewire/", "very-secret")
    assert endpoint.websocket == "wss://chat.example.com/tidewire/v1/ws"
    assert "very-secret" not in repr(endpoint)
    with pytest.raises(InvalidUse) as error:
        Endpoint("http://h", "very secret")
    assert "very" not in str(error.value)
