"""The window against a small model of the broker that loses lines, answers, rates and whole logs."""

from __future__ import annotations

import json
import random
from collections import deque
from itertools import count
from typing import Any

import pytest

from tidewire.errors import InvalidUse, Problem, PublishRefused
from tidewire.fold import Fold
from tidewire.kept import Kept, Tally
from tidewire.new_event import Delta, delta, new_event
from tidewire.window import IN_FLIGHT_PUBLISHES, Bounds, Room, Window
from tidewire.wire import Limits


def window(attached: bool = False, room: Room | None = None, keep: int = 1 << 20) -> Window:
    made = Window("/a/b", {"id": "p", "epoch": 1}, count(1), room or Room(), Tally(keep), attached=attached)
    made.on_connected(Limits())
    return made


def frames(w: Window, now: float = 0.0) -> list[Any]:
    sent = []
    while (frame := w.next_frame(now)) is not None:
        sent.append(json.loads(frame))
    return sent


def published(frame: Any, epoch: str = "aaaaaaaa") -> Any:
    return {"op": "published", "id": frame["id"], "epoch": epoch, "first_seq": 1, "last_seq": 1, "duplicate": False}


def refused(frame: Any, code: str, **more: Any) -> Problem:
    return Problem({"op": "error", "id": frame["id"], "code": code, "message": code, **more})  # type: ignore[typeddict-item]


class Model:
    """The broker as far as a publisher can see it: one topic, one producer, and a log that can go."""

    def __init__(self) -> None:
        self.lives = 0
        self.restart()

    def restart(self) -> None:
        self.lives += 1
        self.log: list[Any] = []
        self.producer: tuple[int, int] | None = None
        self.answered: set[tuple[int, int]] = set()
        self.refuse_next = False

    def on_frame(self, frame: Any) -> Any:
        epoch, seq = frame["producer"]["epoch"], frame["producer"]["seq"]

        def no(code: str, **more: Any) -> Any:
            return {"op": "error", "id": frame["id"], "code": code, "message": "", "retry_after_ms": 10, **more}

        if self.refuse_next:
            self.refuse_next = False
            return no("rate_limited")
        done = published(frame, f"life-{self.lives:04}")
        if (epoch, seq) in self.answered:
            return done
        if self.producer is None or epoch > self.producer[0]:
            if seq != 1:
                return no("producer_unknown")
        elif epoch < self.producer[0]:
            return no("producer_fenced")
        elif seq != self.producer[1] + 1:
            return no("producer_gap", expected_seq=self.producer[1] + 1)
        self.producer = (epoch, seq)
        self.answered.add((epoch, seq))
        self.log += frame["events"]
        return done

    def text(self) -> str:
        fold = Fold()
        for event in self.log:
            fold.apply(event)
        message = fold.get("m")
        return message.text if message else ""


class World:
    """The two ends and the line between them."""

    def __init__(self, attached: bool) -> None:
        self.room = Room()
        self.window = window(attached, self.room)
        self.attached = attached
        self.model = Model()
        self.now = 0.0
        self.up: deque[Any] = deque()
        self.down: deque[Any] = deque()
        self.text = ""

    def step(self, what: str, how_much: int = 1) -> None:
        match what:
            case "push":
                for _ in range(how_much):
                    piece = f"{len(self.text)} "
                    self.text += piece
                    self.window.push(delta("m", piece), self.now)
            case "wait":
                self.now += how_much / 100
            case "send":
                frame = self.window.next_frame(self.now)
                if frame:
                    self.up.append(json.loads(frame))
            case "arrive":
                if self.up:
                    self.down.append(self.model.on_frame(self.up.popleft()))
            case "answer":
                self.answer()
            case "cut":
                self.cut()
            case "restart":
                self.model.restart()
                self.cut()
            case "refuse":
                self.model.refuse_next = True
            case "swap":
                # no promise of the broker's is needed for the text to be right
                if len(self.down) > 1:
                    self.down[0], self.down[1] = self.down[1], self.down[0]

    def answer(self) -> None:
        if not self.down:
            return
        answer = self.down.popleft()
        if answer["op"] == "published":
            settled = self.window.on_published(answer)
        else:
            settled = self.window.on_refused(Problem(answer), self.now)
        if settled.renumbered and self.attached:
            self.cut()

    def cut(self) -> None:
        self.up.clear()
        self.down.clear()
        self.window.on_disconnected()
        self.window.on_connected(Limits())

    def settle(self) -> None:
        for _ in range(10_000):
            if self.window.is_empty:
                return
            for what in ("wait", "send", "arrive", "answer"):
                self.step(what, 3)
        pytest.fail("it never settles")


@pytest.mark.parametrize("attached", [False, True])
def test_whatever_happens_on_the_way_the_log_ends_with_the_text_once(attached: bool) -> None:
    steps = {"push": 8, "wait": 4, "send": 8, "arrive": 8, "answer": 8, "cut": 1, "restart": 1, "refuse": 1, "swap": 1}
    for seed in range(400):
        dice = random.Random(seed)
        world = World(attached)
        world.step("push")
        taken = dice.choices(list(steps), list(steps.values()), k=dice.randrange(200))
        for what in taken:
            world.step(what, dice.randrange(1, 5))
        world.window.push(new_event("message.completed", {"message_id": "m"}), world.now)
        world.settle()
        assert world.model.text() == world.text, f"seed {seed}"
        if "restart" not in taken:
            deltas = [event["data"]["text"] for event in world.model.log if event["type"] == "token.delta"]
            assert "".join(deltas) == world.text, f"seed {seed}"
        room = world.room
        assert (room.events, room.bytes, room.flying_events, room.flying_bytes) == (0, 0, 0, 0), f"seed {seed}"


def other(n: int) -> Any:
    return new_event("a.b", n)


def sent_texts(sent: list[Any]) -> list[list[Any]]:
    return [[event["data"] if event["type"] == "a.b" else event["data"]["text"] for event in f["events"]] for f in sent]


def test_a_first_delta_and_every_other_event_leave_at_once_and_further_deltas_gather() -> None:
    w = window()
    said = []
    for event in (other(1), delta("m", "first "), delta("m", "second "), delta("m", "third ")):
        w.push(event, 0)
        said += frames(w, 0.0)
    assert sent_texts(said) == [[1], ["first "]]
    assert w.next_wake() == 0.020
    w.push(other(2), 0.001)
    assert sent_texts(frames(w, 0.001)) == [["second third ", 2]], "with the deltas that were gathered before it"
    w.push(delta("m", "again "), 0.002)
    assert sent_texts(frames(w, 0.002)) == [["again "]], "a delta behind another event is a first one"
    w.push(delta("m", "later"), 0.003)
    assert frames(w, 0.022) == [] and w.next_wake() == pytest.approx(0.023)
    assert sent_texts(frames(w, 0.023)) == [["later"]]


def test_a_delta_with_an_id_is_a_delta_too() -> None:
    w = window()
    for n in range(3):
        w.push(new_event("token.delta", {"message_id": "m", "text": "x"}, f"e{n}"), 0)
        frames(w, 0.0)
    assert w.outstanding == 3 and w.next_wake() == 0.020


def test_what_is_urgent_stays_within_the_bound_on_publishes_in_flight() -> None:
    w = window()
    flying = []
    for n in range(IN_FLIGHT_PUBLISHES + 5):
        w.push(other(n), 0)
        flying += frames(w, 0.0)
    assert len(flying) == IN_FLIGHT_PUBLISHES and w.next_wake() is None, "an answer comes first"
    w.on_published(published(flying[0]))
    (behind,) = frames(w, 0.0)
    assert sent_texts([behind]) == [[n + IN_FLIGHT_PUBLISHES for n in range(5)]], "at once, and together"
    w.push(delta("m", "x"), 0)
    w.push(delta("m", "y"), 0)
    assert frames(w, 0.0) == []
    w.on_published(published(flying[1]))
    assert sent_texts(frames(w, 0.0)) == [["xy"]]


def test_what_was_refused_is_taken_out_and_the_rest_goes_on_in_its_place() -> None:
    w = window(attached=True)
    w.push(delta("gone", "a"), 0)
    w.push(delta("stays", "b"), 0)
    (first,) = frames(w)
    w.push(delta("gone", "c"), 0)
    w.push(delta("stays", "d"), 0)
    with pytest.raises(PublishRefused) as error:
        w.on_refused(refused(first, "message_ended", index=0), 0)
    abandoned = w.abandon(error.value, 0)
    assert [event.message_id for event in abandoned.events] == ["gone", "gone"] and not abandoned.whole_topic
    (again,) = frames(w)
    assert again["producer"]["seq"] == first["producer"]["seq"], "a refused publish uses up no seq"
    assert [event["data"] for event in again["events"]] == [{"message_id": "stays", "text": "bd"}]


def test_a_topic_that_is_refused_is_given_up_as_a_whole() -> None:
    room = Room()
    w = window(attached=True, room=room)
    w.push(delta("m", "a"), 0)
    (first,) = frames(w)
    with pytest.raises(PublishRefused) as error:
        w.on_refused(refused(first, "forbidden"), 0)
    assert w.abandon(error.value, 0).whole_topic
    assert w.is_idle and (room.events, room.bytes, room.flying_events) == (0, 0, 0)


def test_an_attached_producer_keeps_its_epoch_where_only_the_end_of_the_log_is_gone() -> None:
    w = window(attached=True)
    w.assign(4)
    for text in ("one ", "two "):
        w.push(delta("m", text), 0)
        w.on_published(published(frames(w)[0]))
    w.push(delta("m", "three"), 0)
    (third,) = frames(w)
    settled = w.on_refused(refused(third, "producer_gap", expected_seq=2), 0)
    assert settled.renumbered and settled.loss and settled.loss.kind == "replaced"
    (again,) = frames(w)
    assert (again["producer"]["epoch"], again["producer"]["seq"]) == (4, 2)
    w.on_published(published(again))
    w.push(new_event("message.completed", {"message_id": "m"}), 0)
    assert frames(w)[0]["events"][0]["data"]["text"] == "one two three"


def test_a_full_window_has_no_room_until_something_is_acknowledged() -> None:
    room = Room(Bounds(100, 1000))
    w = window(room=room)
    w.push(delta("m", "x" * 1000), 0)
    (first,) = frames(w)
    assert not room.left
    w.on_published(published(first))
    assert room.left and w.is_empty


def test_publishes_stay_within_what_the_broker_takes() -> None:
    w = window()
    w.on_connected(Limits(max_batch_events=3))
    for n in range(10):
        w.push(new_event("a.b", n), 0)
    w.push(delta("m", "\x01" * 200_000), 0)
    text = ""
    while (frame := w.next_frame(1)) is not None:
        assert len(frame) < (128 << 10) + 4096
        sent = json.loads(frame)
        assert len(sent["events"]) <= 3
        text += "".join(event["data"]["text"] for event in sent["events"] if event["type"] == "token.delta")
        w.on_published(published(sent))
    assert text == "\x01" * 200_000


def test_what_is_kept_stays_within_its_bound_and_says_what_is_missing() -> None:
    kept = Kept(Tally(80))
    kept.acknowledged(delta("short", "keep"))
    for _ in range(20):
        kept.acknowledged(delta("long", "0123456789"))
    restored = kept.restore()
    assert restored.bytes <= 80 and restored.bytes + restored.missing == 204
    assert isinstance(restored.events[0], Delta) and restored.events[0].text == "keep"


def test_a_divided_delta_is_the_same_text_in_pieces_that_fit() -> None:
    text = 'é"\n\x01🌊 plain ' * 20
    for limit in range(6, 40):
        pieces = delta("m", text).divided(limit)
        assert "".join(piece.text for piece in pieces) == text
        assert all(piece.text_bytes <= limit for piece in pieces)
        assert all(len(piece.json().encode()) <= len(piece) for piece in pieces)


@pytest.mark.parametrize(
    ("type", "data"),
    [("nodots", 1), ("a..b", 1), ("a.b", float("nan")), ("a.b", {1, 2}), ("a.b", "\ud800"), ("a.b\n", 1)],
)
def test_what_the_broker_would_refuse_in_any_case_is_refused_at_once(type: str, data: Any) -> None:
    with pytest.raises(InvalidUse):
        new_event(type, data)
