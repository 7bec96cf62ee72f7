"""Lesson 02's parser and encoder, held against the HTML standard, section 9.2."""

from __future__ import annotations

import codecs
import random
import re
import time
import tracemalloc
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx2
import httpx_sse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.course import ROOT
from workshop.loading import load

pytestmark = pytest.mark.usefixtures("warm")

event_stream = load(ROOT / "scripts/02_event_format/event_stream.py")
EventStreamParser = event_stream.EventStreamParser
EventTooLarge = event_stream.EventTooLarge
encode_event = event_stream.encode_event

Found = tuple[str, str, str]  # type, data, last event id

# Streams that parsers get wrong, and the events that the standard has in them.
# tests/test_02_browser.py plays the same streams to Chromium's EventSource.
TRICKY: dict[str, tuple[bytes, list[Found]]] = {
    "one event": (b"data: hello\n\n", [("message", "hello", "")]),
    "no space": (b"data:hello\n\n", [("message", "hello", "")]),
    "two spaces": (b"data:  hello\n\n", [("message", " hello", "")]),
    "a tab": (b"data:\thello\n\n", [("message", "\thello", "")]),
    "trailing space": (b"data: hello \n\n", [("message", "hello ", "")]),
    "space before the colon": (b"data : hello\n\n", []),
    "space before the name": (b" data: hello\n\n", []),
    "two data lines": (b"data: a\ndata: b\n\n", [("message", "a\nb", "")]),
    "data without a colon": (b"data\n\n", [("message", "", "")]),
    "data with a colon only": (b"data:\n\n", [("message", "", "")]),
    "two empty data lines": (b"data\ndata\n\n", [("message", "\n", "")]),
    "last data line empty": (b"data: a\ndata:\n\n", [("message", "a\n", "")]),
    "colons in the value": (b"data: a: b:c\n\n", [("message", "a: b:c", "")]),
    "an event type": (b"event: add\ndata: 1\n\n", [("add", "1", "")]),
    "the last type counts": (b"event: a\nevent: b\ndata: 1\n\n", [("b", "1", "")]),
    "an empty type": (b"event: a\nevent\ndata: 1\n\n", [("message", "1", "")]),
    "a type without data": (b"event: add\n\ndata: 1\n\n", [("message", "1", "")]),
    "the type ends with its event": (
        b"event: add\ndata: 1\n\ndata: 2\n\n",
        [("add", "1", ""), ("message", "2", "")],
    ),
    "an id stays": (
        b"id: 7\ndata: a\n\ndata: b\n\n",
        [("message", "a", "7"), ("message", "b", "7")],
    ),
    "an id alone is no event": (b"id: 7\n\n", []),
    "an id alone stays": (b"id: 7\n\ndata: a\n\n", [("message", "a", "7")]),
    "an empty id resets": (
        b"id: 7\ndata: a\n\nid\ndata: b\n\n",
        [("message", "a", "7"), ("message", "b", "")],
    ),
    "an id with NUL": (
        b"id: 7\n\nid: 8\0\ndata: a\n\n",
        [("message", "a", "7")],
    ),
    "an id with spaces": (b"id:  7 \ndata: a\n\n", [("message", "a", " 7 ")]),
    "nothing after an id": (b"id: 7\ndata: a\n\n\n\n\n", [("message", "a", "7")]),
    "an id after its data": (b"data: a\nid: 7\n\n", [("message", "a", "7")]),
    "retry alone": (b"retry: 10\n\n", []),
    "a comment": (b": hello\n\n", []),
    "a comment between data": (b"data: a\n: b\ndata: c\n\n", [("message", "a\nc", "")]),
    "a comment that looks like data": (b":data: a\n\n", []),
    "a lone colon": (b":\n\ndata: a\n\n", [("message", "a", "")]),
    "names have one case": (b"Data: a\nDATA: b\n\n", []),
    "an unknown field": (b"foo: a\ndata: b\nfoo\n\n", [("message", "b", "")]),
    "only blank lines": (b"\n\n\r\r\r\n\r\n", []),
    "CR": (b"data: a\rdata: b\r\r", [("message", "a\nb", "")]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\n", [("message", "a\nb", "")]),
    "LF then CR": (b"data: a\n\rdata: b\n\r", [("message", "a", ""), ("message", "b", "")]),
    "CR, then CRLF": (
        b"data: a\r\r\ndata: b\r\n\r",
        [("message", "a", ""), ("message", "b", "")],
    ),
    "mixed": (b"data: a\ndata: b\rdata: c\r\n\r\n", [("message", "a\nb\nc", "")]),
    "other separators are data": (
        "data: a\vb\fc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n\n".encode(),
        [("message", "a\vb\fc\x1cd\x1de\x1ef\x85g\u2028h\u2029i", "")],
    ),
    "NUL in data": (b"data: a\0b\n\n", [("message", "a\0b", "")]),
    "UTF-8": ("data: naïve 漢字 🙂\n\n".encode(), [("message", "naïve 漢字 🙂", "")]),
    "UTF-8 in the id": ("id: ß\ndata: a\n\n".encode(), [("message", "a", "ß")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "a later byte order mark": (
        b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbfc\n\n",
        [("message", "a", ""), ("message", "\ufeffc", "")],
    ),
    "two thirds of a mark": (b"\xef\xbbdata: a\n\ndata: b\n\n", [("message", "b", "")]),
    "a byte that is not UTF-8": (b"data: a\xffb\n\n", [("message", "a\ufffdb", "")]),
    "a character cut short": (
        b"data: \xe6\xbc\ndata: \xf0\x9f\x99\n\n",
        [("message", "\ufffd\n\ufffd", "")],
    ),
    "overlong": (b"data: \xc0\xaf\n\n", [("message", "\ufffd\ufffd", "")]),
    "a surrogate": (b"data: \xed\xa0\x80\n\n", [("message", "\ufffd\ufffd\ufffd", "")]),
    "unfinished": (b"data: a\n\ndata: b\n", [("message", "a", "")]),
    "an unfinished line": (b"data: a\n\ndata: b", [("message", "a", "")]),
    "nothing": (b"", []),
}

# What arbitrary streams are put together from, to meet every branch often.
PIECES = [
    *(b"\n", b"\n", b"\n\n", b"\r", b"\r\n", b":", b" ", b"\0", b"x", b"7"),
    *(b"data", b"data: ", b"data:", b"event: ", b"id: ", b"id", b"retry: ", b"ping"),
    *(b"\xef\xbb\xbf", b"\xef", "漢".encode(), b"\xf0\x9f", b"\xff", "\u2028".encode()),
]
streams = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
lines = texts.map(lambda text: re.sub("[\r\n]", "", text))


def parse(parser: Any, chunks: list[bytes]) -> list[Found]:
    return [
        (event.type, event.data, event.last_event_id)
        for chunk in chunks
        for event in parser.feed(chunk)
    ]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """`stream` cut before each of these indices (taken modulo its length)."""
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(ends)]


def by_the_letter(stream: bytes) -> tuple[list[Found], str, int | None]:
    """The standard's algorithm on a whole stream, step by step, without any care for speed."""
    text = codecs.decode(stream, "utf-8-sig", "replace")
    found: list[Found] = []
    data_buffer = event_type_buffer = last_event_id_buffer = last_event_id = ""
    reconnection_time = None
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        if line == "":
            last_event_id = last_event_id_buffer
            if data_buffer == "":
                event_type_buffer = ""
                continue
            if data_buffer[-1] == "\n":
                data_buffer = data_buffer[:-1]
            found.append((event_type_buffer or "message", data_buffer, last_event_id))
            data_buffer = event_type_buffer = ""
            continue
        if line[0] == ":":
            continue
        field, value = line, ""
        if ":" in line:
            colon = line.index(":")
            field, value = line[:colon], line[colon + 1 :]
            if value[:1] == " ":
                value = value[1:]
        if field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            last_event_id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            reconnection_time = int(value)
    return found, last_event_id, reconnection_time


@pytest.mark.parametrize("name", TRICKY)
def test_a_tricky_stream_in_every_cut(name: str) -> None:
    stream, wanted = TRICKY[name]
    assert by_the_letter(stream)[0] == wanted
    assert parse(EventStreamParser(), [stream]) == wanted
    assert parse(EventStreamParser(), [stream[i : i + 1] for i in range(len(stream))]) == wanted
    for place in range(len(stream)):
        chunks = [stream[:place], b"", stream[place:]]
        assert parse(EventStreamParser(), chunks) == wanted, chunks


@given(streams, st.lists(st.integers(0, 1_000), max_size=8))
def test_any_stream_in_any_cut_is_read_by_the_letter(stream: bytes, places: list[int]) -> None:
    parser = EventStreamParser()
    found = parse(parser, cut(stream, places))
    assert (found, parser.last_event_id, parser.reconnection_time) == by_the_letter(stream)


@given(st.binary(max_size=200), st.lists(st.integers(0, 1_000), max_size=8))
def test_any_bytes_in_any_cut_are_read_by_the_letter(stream: bytes, places: list[int]) -> None:
    parser = EventStreamParser()
    assert parse(parser, cut(stream, places)) == by_the_letter(stream)[0]


def test_a_cr_ends_its_line_at_once() -> None:
    parser = EventStreamParser()
    assert parse(parser, [b"data: a\r\n\r"]) == [("message", "a", "")]
    # The LF that comes later is the rest of that CRLF, not one more blank line.
    assert parse(parser, [b"\ndata: b\n\n"]) == [("message", "b", "")]


def test_the_last_event_id_changes_with_the_blank_line() -> None:
    parser = EventStreamParser()
    parser.feed(b"id: 7\ndata: a\n")
    assert parser.last_event_id == ""
    parser.feed(b"\n")
    assert parser.last_event_id == "7"
    parser.feed(b"id: 8\n")
    assert parser.last_event_id == "7"


def test_a_new_connection_goes_on_with_the_last_event_id() -> None:
    parser = EventStreamParser(last_event_id="7")
    assert parse(parser, [b"data: a\n\n"]) == [("message", "a", "7")]


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("3000", 3000),
        (" 3000", 3000),
        ("0", 0),
        ("007", 7),
        ("  1", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1_000", None),
        ("1e3", None),
        ("", None),
        ("soon", None),
        ("٣", None),  # a digit, but not an ASCII digit
        ("²", None),
        ("9" * 5_000, None),  # int() itself would raise ValueError
    ],
)
def test_retry(value: str, milliseconds: int | None) -> None:
    parser = EventStreamParser()
    assert parser.feed(f"retry:{value}\n".encode()) == []
    assert parser.reconnection_time == milliseconds


def test_an_event_can_not_be_changed() -> None:
    (event,) = EventStreamParser().feed(b"data: a\n\n")
    with pytest.raises(AttributeError):
        event.data = "b"
    assert event == event_stream.Event("message", "a", "")
    assert hash(event) == hash(event_stream.Event("message", "a", ""))
    assert repr(event) == "Event(type='message', data='a', last_event_id='')"


def test_an_event_takes_half_the_time_of_a_plain_frozen_dataclass() -> None:
    @dataclass(frozen=True)
    class Plain:
        type: str
        data: str
        last_event_id: str

    def seconds(event: Any) -> float:
        began = time.process_time()
        for _ in range(5_000):
            event("message", "a", "")
        return time.process_time() - began

    # About a half. The machine may be busy for a while, with something that slows down all
    # processes: so the least of many short runs, in turn.
    runs = [(seconds(event_stream.Event), seconds(Plain)) for _ in range(40)]
    ours, plain = (min(times) for times in zip(*runs, strict=True))
    assert ours < 0.7 * plain


# --- the bound ---------------------------------------------------------------------------


@given(streams, st.lists(st.integers(0, 1_000), max_size=8), st.integers(0, 40))
def test_the_bound_is_the_same_in_any_cut(stream: bytes, places: list[int], size: int) -> None:
    def run(chunks: list[bytes]) -> tuple[list[Found], bool]:
        parser = EventStreamParser(max_event_size=size)
        found: list[Found] = []
        try:
            for chunk in [*chunks, b"", b""]:  # the error can be one call late
                found += parse(parser, [chunk])
        except EventTooLarge:
            return found, True
        return found, False

    assert run(cut(stream, places)) == run([stream])


def test_an_event_as_large_as_the_bound_passes() -> None:
    assert len(EventStreamParser(max_event_size=12).feed(b"data: a\nid: 1\n\n")) == 1
    with pytest.raises(EventTooLarge, match="over 12 characters"):
        EventStreamParser(max_event_size=12).feed(b"data: a\nid: 12\n\n")


@pytest.mark.parametrize("endless", [b"data: ", b"foo: ", b"event: ", b""])
def test_an_endless_line_is_refused(endless: bytes) -> None:
    parser = EventStreamParser(max_event_size=1_000)
    with pytest.raises(EventTooLarge):
        parser.feed(endless)
        for _ in range(20):
            parser.feed(b"x" * 100)


def test_endless_lines_are_refused() -> None:
    parser = EventStreamParser(max_event_size=1_000)
    with pytest.raises(EventTooLarge):
        for _ in range(200):
            parser.feed(b"data: x\n")


def test_what_came_before_a_too_large_event_is_not_lost() -> None:
    parser = EventStreamParser(max_event_size=20)
    stream = b"id: 1\ndata: a\n\ndata: " + b"x" * 50
    assert parse(parser, [stream]) == [("message", "a", "1")]
    for _ in range(2):
        with pytest.raises(EventTooLarge):
            parser.feed(b"\n\ndata: b\n\n")


def test_endless_comments_take_no_memory() -> None:
    parser = EventStreamParser(max_event_size=10_000)
    parser.feed(b"data: a\n:")
    tracemalloc.start()
    for _ in range(1_000):
        parser.feed(b"x" * 10_000)  # one comment of 10 MB
    for _ in range(1_000):
        parser.feed(b"\n: ping")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000
    assert parse(parser, [b"\n\n"]) == [("message", "a", "")]


@pytest.mark.parametrize(
    ("what", "size"),
    [("a line, byte by byte", 1), ("a line in chunks", 100), ("many lines", 0)],
)
def test_the_work_grows_with_the_bytes_and_no_faster(what: str, size: int) -> None:
    def seconds(total: int) -> float:
        parser = EventStreamParser(max_event_size=10**9)
        piece = b"x" * size if size else b"data: x\n"
        began = time.process_time()
        parser.feed(b"data: ")
        for _ in range(total):
            parser.feed(piece)
        parser.feed(b"\n\n")
        return time.process_time() - began

    # Eight times the bytes take eight times as long, sixty-four times if it were quadratic.
    ratio = min(seconds(80_000) for _ in range(3)) / min(seconds(10_000) for _ in range(3))
    assert ratio < 24, what


# --- the encoder -------------------------------------------------------------------------


@given(
    data=texts,
    event=st.none() | lines,
    id=st.none() | lines.filter(lambda text: "\0" not in text),
    retry=st.none() | st.integers(0, 10**19 - 1),
    comment=st.none() | texts,
    places=st.lists(st.integers(0, 1_000), max_size=8),
)
def test_what_is_written_is_read_back(
    data: str,
    event: str | None,
    id: str | None,
    retry: int | None,
    comment: str | None,
    places: list[int],
) -> None:
    stream = encode_event(data, event=event, id=id, retry=retry, comment=comment)
    parser = EventStreamParser()
    wanted = (event or "message", re.sub("\r\n|\r", "\n", data), id or "")
    assert parse(parser, cut(stream, places)) == [wanted]
    assert parser.reconnection_time == retry


@given(st.lists(texts, max_size=5), st.lists(st.integers(0, 1_000), max_size=8))
def test_events_in_a_row_are_read_back(messages: list[str], places: list[int]) -> None:
    stream = b"".join(encode_event(data, comment=data) for data in messages)
    found = parse(EventStreamParser(), cut(stream, places))
    assert [data for _, data, _ in found] == [re.sub("\r\n|\r", "\n", m) for m in messages]


def test_one_message_in_every_cut_into_three() -> None:
    stream = encode_event("a\r\nß", event="add", id="🙂", retry=5, comment="c")
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            chunks = [stream[:first], stream[first:second], stream[second:]]
            assert parse(EventStreamParser(), chunks) == [("add", "a\nß", "🙂")]


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ({"data": "hello"}, b"data: hello\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": "a\r\nb\rc\nd"}, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ({"data": "a\n"}, b"data: a\ndata: \n\n"),
        ({"data": "a\u2028b\x85c"}, "data: a\u2028b\x85c\n\n".encode()),
        ({"data": "1", "event": "add", "id": "7"}, b"event: add\nid: 7\ndata: 1\n\n"),
        ({"data": "1", "id": ""}, b"id: \ndata: 1\n\n"),
        ({"data": None, "comment": "ping"}, b": ping\n\n"),
        ({"data": None, "comment": "a\nb"}, b": a\n: b\n\n"),
        ({"data": None, "retry": 3000}, b"retry: 3000\n\n"),
        ({"data": None, "id": "7"}, b"id: 7\n\n"),
    ],
)
def test_what_is_written(call: dict[str, Any], wanted: bytes) -> None:
    assert encode_event(**call) == wanted


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"data": "x", "event": "a\ndata: injected"}, "event"),
        ({"data": "x", "event": "a\rdata: injected"}, "event"),
        ({"data": "x", "event": "a\r\n\r\ndata: injected"}, "event"),
        ({"data": None, "event": "add"}, "event"),
        ({"data": "x", "id": "7\ndata: injected"}, "id"),
        ({"data": "x", "id": "7\r"}, "id"),
        ({"data": "x", "id": "7\0"}, "id"),
        ({"data": "x", "retry": -1}, "retry"),
        ({"data": "x", "retry": 10**19}, "retry"),  # the parser passes over more digits
        ({"data": "x", "retry": 1.5}, "retry"),
        ({"data": "x", "retry": True}, "retry"),
        ({"data": "x", "retry": "5\ndata: injected"}, "retry"),
    ],
)
def test_what_would_break_a_field_is_refused_by_name(call: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        encode_event(**call)


@given(data=texts, comment=texts)
def test_nobody_can_write_a_field_of_his_own(data: str, comment: str) -> None:
    stream = encode_event(data, comment=comment)
    for line in re.split(b"\r\n|\r|\n", stream):
        assert line == b"" or line.startswith((b"data: ", b": "))
    assert stream.endswith(b"\n\n") and stream.count(b"\n\n") == 1


def test_half_a_character_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        encode_event("\ud83d")


# --- what others do with the same bytes --------------------------------------------------


def httpx_sse_reads(stream: bytes) -> list[Found]:
    response: Any = SimpleNamespace(
        headers={"content-type": "text/event-stream"},
        iter_text=lambda: iter([stream.decode("utf-8", "replace")]),
    )
    events = httpx_sse.EventSource(response).iter_sse()
    return [(event.event, event.data, event.id) for event in events]


def httpx2_reads(stream: bytes) -> list[Found]:
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=stream,
        request=httpx2.Request("GET", "http://127.0.0.1/"),
    )
    return [(event.event, event.data, event.id) for event in httpx2.EventSource(response)]


@pytest.mark.parametrize("reads", [httpx_sse_reads, httpx2_reads])
def test_others_take_an_id_without_data_for_an_event(reads: Any) -> None:
    assert reads(b"id: 7\n\n") == [("message", "", "7")]
    assert by_the_letter(b"id: 7\n\n")[0] == []
    assert reads(b"retry: 10\n\n") == [("message", "", "")]


def test_httpx_sse_sees_events_at_every_blank_line_after_an_id() -> None:
    stream = b"id: 7\ndata: a\n\n: ping\n\n: ping\n\n"
    assert [data for _, data, _ in httpx_sse_reads(stream)] == ["a", "", ""]
    assert [data for _, data, _ in parse(EventStreamParser(), [stream])] == ["a"]


def test_others_agree_where_the_streams_are_plain() -> None:
    """The comparison itself is sound: on everyday streams all three read the same."""
    source = random.Random(2)
    stream = b"".join(
        encode_event("x" * source.randrange(1, 50), event="tick", id=str(i)) for i in range(50)
    )
    ours = parse(EventStreamParser(), [stream])
    assert ours == httpx_sse_reads(stream) == httpx2_reads(stream)
