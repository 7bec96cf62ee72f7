"""Lesson 03's hub without a network: no loss, no repeat, and gaps that are exact."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub_parts import load_lesson
from workshop.course import ROOT

pytestmark = pytest.mark.usefixtures("warm")

hub_module = load_lesson("hub")
parser_class = load_lesson("event_stream").EventStreamParser


def new_hub(**options: Any) -> Any:
    return hub_module.Hub(**{"first_id": 1, **options})


def waiting(subscriber: Any) -> bytes:
    """What waits for a subscriber, without a reader taking it."""
    return b"".join(subscriber._waiting)


def events(raw: bytes) -> list[Any]:
    return parser_class().feed(raw)


def ids(raw: bytes, type: str) -> list[int]:
    return [int(event.last_event_id) for event in events(raw) if event.type == type]


def gaps(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in events(raw) if event.type == "gap"]


def missed_by(raw: bytes, type: str) -> list[range]:
    """The ids that gaps say may be lost for this type."""
    return [
        range((gap["after"] or 0) + 1, gap["through"] + 1)
        for gap in gaps(raw)
        if type in gap["types"]
    ]


def test_an_event_reaches_every_subscriber_of_its_type_and_no_other() -> None:
    hub = new_hub()
    orders, both = hub.subscribe(["orders"]), hub.subscribe(["orders", "news"])
    assert hub.publish("orders", {"n": 1}) == (1, 2)
    assert hub.publish("news", {"n": 2}) == (2, 1)
    assert ids(waiting(orders), "orders") == [1]
    assert [event.type for event in events(waiting(both))] == ["orders", "news"]


def test_all_subscribers_and_the_history_share_the_same_bytes() -> None:
    hub = new_hub()
    one, two = hub.subscribe(["orders"]), hub.subscribe(["orders"])
    hub.publish("orders", {"n": 1})
    assert one._waiting[-1] is two._waiting[-1] is hub.topics["orders"].history[-1][1]


def test_a_new_reader_is_told_where_it_begins() -> None:
    """So a cut before its first event loses nothing: it has an id to come back with."""
    hub = new_hub()
    hub.publish("orders", {"n": 1})
    parser = parser_class()
    assert parser.feed(waiting(hub.subscribe(["orders"]))) == []
    assert parser.last_event_id == "1"
    hub.publish("orders", {"n": 2})
    again = hub.subscribe(["orders"], parser.last_event_id)
    assert ids(waiting(again), "orders") == [2]
    assert gaps(waiting(again)) == []


@given(
    published=st.lists(st.sampled_from(["a", "b", "c"]), max_size=40),
    cut_at=st.integers(0, 40),
    history=st.integers(0, 12),
    types=st.sets(st.sampled_from(["a", "b"]), min_size=1),
)
def test_coming_back_gives_each_event_once_or_an_exact_gap(
    published: list[str], cut_at: int, history: int, types: set[str]
) -> None:
    """Whatever was published, and wherever the reader was cut."""
    hub = new_hub(history=history)
    for type in published[:cut_at]:
        hub.publish(type, {})
    before = hub.last_id
    for type in published[cut_at:]:
        hub.publish(type, {})
    raw = waiting(hub.subscribe(types, str(before) if before else None))
    if before == 0:
        return  # it was never here: it begins now
    for type in types:
        wanted = [id for id, each in enumerate(published, 1) if each == type and id > before]
        got = ids(raw, type)
        lost = missed_by(raw, type)
        assert [id for id in wanted if not any(id in span for span in lost)] == got
        # A gap is told only where something is lost, and it ends with the last lost event.
        for span in lost:
            assert [id for id in wanted if id in span][-1:] == [span.stop - 1]
    kinds = [event.type == "gap" for event in events(raw)]
    assert kinds == sorted(kinds, reverse=True), "gaps come first"
    order = [int(event.last_event_id) for event in events(raw) if event.type != "gap"]
    assert order == sorted(order)


@given(
    published=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=30),
    history=st.integers(0, 8),
    cuts=st.data(),
)
def test_a_reader_cut_within_the_replay_again_and_again_still_has_everything(
    published: list[str], history: int, cuts: st.DataObject
) -> None:
    hub = new_hub(history=history)
    hub.publish("z", {})
    last_id = "1"
    for type in published:
        hub.publish(type, {})
    seen: list[int] = []
    lost: list[range] = []
    for _ in range(4):
        raw = waiting(hub.subscribe(["a", "b"], last_id))
        raw = raw[: cuts.draw(st.integers(0, len(raw)))]
        parser = parser_class(last_event_id=last_id)
        for event in parser.feed(raw):
            if event.type == "gap":
                gap = json.loads(event.data)
                lost += [range(gap["after"] + 1, gap["through"] + 1)]
            else:
                seen.append(int(event.last_event_id))
        last_id = parser.last_event_id
    assert seen == sorted(set(seen))
    for id in range(2, int(last_id) + 1):
        assert id in seen or any(id in span for span in lost)


def test_a_reader_cut_behind_an_event_has_heard_of_the_older_one_that_is_lost() -> None:
    """Found by the test above: b is lost, a is newer and kept, and the reader is cut at a."""
    hub = new_hub(history=1)
    for type in ("z", "b", "a", "b", "b"):
        hub.publish(type, {})
    raw = waiting(hub.subscribe(["a", "b"], "1"))
    assert [event.type for event in events(raw)] == ["gap", "a", "b"]
    assert gaps(raw) == [{"types": ["b"], "after": 1, "through": 4}]


def test_after_the_replay_a_reader_stands_at_the_newest_id() -> None:
    """So a gap is told once, also when nothing else of the type comes."""
    hub = new_hub(history=0)
    for type in ("a", "a", "z"):
        hub.publish(type, {})
    parser = parser_class(last_event_id="1")
    assert [event.type for event in parser.feed(waiting(hub.subscribe(["a"], "1")))] == ["gap"]
    assert parser.last_event_id == "3"
    assert events(waiting(hub.subscribe(["a"], parser.last_event_id))) == []


def test_a_reader_with_an_id_of_the_hubs_last_life_hears_of_a_gap() -> None:
    first = hub_module.Hub()
    id, _ = first.publish("orders", {})
    second = hub_module.Hub()
    second.publish("orders", {})
    raw = waiting(second.subscribe(["orders"], str(id)))
    assert [(gap["types"], gap["after"]) for gap in gaps(raw)] == [(["orders"], id)]
    assert len(ids(raw, "orders")) == 1


@pytest.mark.parametrize("strange", ["99", "abc", "-1", "1.5", "9" * 5_000, "١"])
def test_an_id_the_hub_never_gave_gets_a_gap_and_the_whole_history(strange: str) -> None:
    hub = new_hub()
    hub.publish("orders", {})
    raw = waiting(hub.subscribe(["orders"], strange))
    assert gaps(raw) == [{"types": ["orders"], "after": None, "through": 0}]
    assert ids(raw, "orders") == [1]


def test_a_full_queue_cuts_its_reader_and_nobody_else() -> None:
    hub = new_hub(queue=3)
    slow, quick = hub.subscribe(["orders"]), hub.subscribe(["orders"])
    taken = b""
    for _ in range(6):
        hub.publish("orders", {})
        taken += waiting(quick)
        quick._waiting.clear()
    assert slow.ended
    assert b"retry: 2000" in waiting(slow)
    assert ids(taken, "orders") == [1, 2, 3, 4, 5, 6]
    back = hub.subscribe(["orders"], "0")
    assert ids(waiting(back), "orders") == [1, 2, 3, 4, 5, 6]


def test_a_cut_reader_that_takes_nothing_is_reported_as_stuck_and_a_live_one_is_not() -> None:
    hub = new_hub()

    async def scene() -> None:
        dead, alive = hub.subscribe(["orders"]), hub.subscribe(["orders"])
        reading = alive.pieces()
        for beat in range(6):
            while not alive.idle():
                await anext(reading)
            if dead in hub.beat():
                assert beat <= 3
                break
        else:
            raise AssertionError("it was never found")
        assert not alive.ended

    asyncio.run(scene())


def test_events_that_wait_together_leave_in_pieces_of_a_bounded_size() -> None:
    hub = new_hub(queue=1_000)
    subscriber = hub.subscribe(["orders"])
    for _ in range(500):
        hub.publish("orders", {"text": "x" * 1_000})
    hub.close("orders")

    async def sizes() -> list[int]:
        return [len(piece) async for piece in subscriber.pieces()]

    found = asyncio.run(sizes())
    assert sum(found) > 500_000
    assert max(found) < 65_536 + 2_000
    assert len(found) < 12


def test_closing_a_type_ends_its_streams_when_nothing_else_is_left_in_them() -> None:
    hub = new_hub()
    orders, both = hub.subscribe(["orders"]), hub.subscribe(["orders", "news"])
    hub.publish("orders", {})
    assert hub.close("orders") == 2
    assert waiting(orders).endswith(b"data: [DONE]\n\n")
    assert not both.ended
    assert [event.type for event in events(waiting(both))] == ["orders", "closed"]
    hub.close("news")
    assert waiting(both).endswith(b"data: [DONE]\n\n")


def test_a_closed_type_still_gives_what_was_missed_and_then_nothing() -> None:
    hub = new_hub()
    hub.publish("orders", {})
    hub.publish("orders", {})
    hub.close("orders")
    late = hub.subscribe(["orders"], "1")
    assert [event.data for event in events(waiting(late))] == ["{}", "[DONE]"]
    for last_event_id in ("2", None):
        with pytest.raises(hub_module.Finished):
            hub.subscribe(["orders"], last_event_id)


def test_nothing_is_left_of_subscribers_who_left() -> None:
    hub = new_hub()
    for number in range(50):
        hub.leave(hub.subscribe([f"type{number}", "orders"]))
    assert hub.streams == set()
    assert hub.topics == {}


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a/b", "-a", "é", "a\n", "x" * 65, "error", "open", "message", "gap"],
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(hub_module.HubError) as refused:
        new_hub().publish(name, {})
    assert refused.value.status == 400


def test_the_number_of_types_is_bounded() -> None:
    hub = new_hub()
    for number in range(hub_module.MAX_TYPES):
        hub.publish(f"type{number}", {})
    with pytest.raises(hub_module.HubError) as refused:
        hub.publish("one-more", {})
    assert refused.value.status == 409


def test_the_parser_is_lesson_02s_to_the_byte() -> None:
    ours = ROOT / "scripts/03_event_hub/event_stream.py"
    assert ours.read_bytes() == (ROOT / "scripts/02_event_format/event_stream.py").read_bytes()
