"""Lesson 10's analytics: how many events of which type, by minute, in SQLite and as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.folder_modules import modules_in
from tests.hub_parts import PatientServer
from tests.observed_parts import FOLDER, PATIENCE, callers, events_of, observed, table
from workshop.running import Program

pytestmark = pytest.mark.usefixtures("warm")

ANALYTICS = modules_in(FOLDER, ("log", "analytics"))["analytics"]
Analytics, Kind, Sums = ANALYTICS.Analytics, ANALYTICS.Kind, ANALYTICS.Sums


def this_minute(earlier: timedelta = timedelta()) -> str:
    return ANALYTICS.minute_ago(earlier)


@asynccontextmanager
async def opened(path: Path | str) -> AsyncIterator[Any]:
    analytics = Analytics(str(path))
    yield analytics
    await analytics.close()


def in_file(path: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT * FROM events ORDER BY minute, type, tool").fetchall()
    connection.close()
    return rows


def failures(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    return re.findall(r"analytics (not written|written again)", said.out + said.err)


# --- In a server ----------------------------------------------------------------------------


def test_counts_are_exact_and_last_longer_than_a_server(tmp_path: Path) -> None:
    """Calls at once in four sessions; then another server, with the same file."""
    path = tmp_path / "events.sqlite"
    settings = {"ANALYTICS": str(path)}
    with observed(settings) as program, callers(program, 4) as clients:
        numbers = [
            (client, client.send("tools/call", call))
            for _ in range(10)
            for client in clients
            for call in (
                {"name": "add", "arguments": {"a": 1, "b": 2}},
                {"name": "echo", "arguments": {"message": "hello"}},
                {"name": "fail", "arguments": {}},
            )
        ]
        for client, number in numbers:
            client.reply(number)
        rows = table(program)
        calls = {(row["tool"], row["outcome"]): 0 for row in rows if row["type"] == "call"}
        for row in rows:
            if row["type"] == "call":
                calls[row["tool"], row["outcome"]] += int(row["events"])
        assert calls == {("add", "ok"): 40, ("echo", "ok"): 40, ("fail", "-32603"): 40}
        assert events_of(rows, "stream.opened") == 4
        minutes = {row["minute"] for row in rows}
        assert minutes <= {this_minute(timedelta(minutes=ago)) for ago in range(3)}
    with observed(settings) as program, callers(program, 1) as [client]:
        client.call("add", a=1, b=2)
        rows = table(program)
        assert events_of(rows, "call") == 121
        assert events_of(rows, "stream.closed") == 4
        # What the page shows is the same.
        with PatientServer(program.url).open("/dashboard/events?types=summary") as stream:
            event = stream.event(lambda event: event.type == "summary", seconds=PATIENCE)
            assert event is not None
            types = {type["type"]: type for type in json.loads(event.data)["types"]}
            assert types["call"]["events"] == 121
            assert {"of": "add ok", "events": 41} in types["call"]["parts"]
            assert json.loads(event.data)["file"] == "events.sqlite"  # and not where it is
    assert {row[0] for row in in_file(path)} >= {row["minute"] for row in rows}


def test_no_session_and_no_word_of_a_client_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with observed({"ANALYTICS": str(path)}) as program, callers(program, 1) as [client]:
        client.call("echo", message="planted-secret")
        client.call("=HYPERLINK(planted)")
        client.call("add", a="planted", b=2)
        text = PatientServer(program.url).request("GET", "/dashboard/events.csv").body
        rows = table(program)
    assert {row["tool"] for row in rows if row["type"] == "call"} == {"echo", "unknown", "add"}
    for kept in (path.read_bytes(), text):
        assert b"planted" not in kept
        assert client.session_id.encode() not in kept
    # RFC 4180: lines end with CRLF, and all have as many fields as the first.
    lines = list(csv.reader(io.StringIO(text.decode("utf-8"), newline=""), strict=True))
    assert text.count(b"\r\n") == text.count(b"\n") == len(lines)
    assert {len(line) for line in lines} == {7}
    # A spreadsheet would take these for formulas. "-32602" it takes for a number, as it is.
    cells = [cell for line in lines for cell in line]
    assert not [cell for cell in cells if re.match(r"[=+@\t]|-(?!\d+$)", cell)]


def test_a_file_that_cannot_be_written_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "events.sqlite"
    with observed({"ANALYTICS": str(path)}) as program, callers(program, 1) as [client]:
        client.call("add", a=1, b=2)
        with PatientServer(program.url).open("/dashboard/events?types=summary") as stream:

            def told(event: Any) -> bool:
                return event.type == "summary" and bool(json.loads(event.data)["failure"])

            assert stream.event(told, seconds=PATIENCE)
            count = len(stream.events)
            # Two more attempts, which fail, too.
            assert stream.wait(lambda stream: len(stream.events) >= count + 2, seconds=PATIENCE)
            summary = json.loads(stream.events[-1].data)
        assert summary["failure"] == "unable to open database file"
        calls = next(type for type in summary["types"] if type["type"] == "call")
        assert calls["events"] == 1  # from memory
        client.call("add", a=1, b=2)
        answer = PatientServer(program.url).request("GET", "/dashboard/events.csv")
        assert answer.status == 503
        assert b"unable to open database file" in answer.body
        assert said(program) == 1
        # As soon as it can be written, all of it is.
        path.parent.mkdir()
        program.wait_for_output("analytics written again")
        assert events_of(table(program), "call") == 2
    assert said(program) == 1
    assert "Traceback" not in program.output


def said(program: Program) -> int:
    return program.output.count("analytics not written")


# --- By itself ------------------------------------------------------------------------------


async def test_two_processes_may_write_to_one_file(tmp_path: Path) -> None:
    """As the old and the new worker do in a rolling restart."""
    path = tmp_path / "events.sqlite"
    kind = Kind(this_minute(), "call", "add", "ok")
    async with opened(path) as old, opened(path) as new:
        for _ in range(20):
            old.count(kind, 0, 0.5)
            new.count(kind, 1, 0.25)
            new.count(kind)
            await asyncio.gather(old.write(), new.write())
        old.count(kind)  # just before it leaves
    assert in_file(path) == [(*kind, 61, 20, 15.0)]


async def test_while_the_file_is_locked_events_wait_and_nobody_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.sqlite"
    kind = Kind(this_minute(), "call", "add", "ok")
    async with opened(path) as analytics:
        await analytics.write()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        turns = 0
        for _ in range(3):
            analytics.count(kind)
            writing = asyncio.create_task(analytics.write())
            while not writing.done():
                turns += 1  # meanwhile the event loop goes round
                await asyncio.sleep(0.001)
            assert analytics.failure == "database is locked"
        assert turns > 30
        assert await analytics.last_minutes(10) == {kind[1:]: Sums(3)}
        other.execute("ROLLBACK")
        other.close()
        await analytics.write()
        assert analytics.failure == ""
        assert await analytics.last_minutes(10) == {kind[1:]: Sums(3)}
    assert in_file(path) == [(*kind, 3, 0, 0.0)]
    assert failures(capsys) == ["not written", "written again"]


async def test_a_full_disk_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.sqlite"
    kinds = [Kind(this_minute(), "call", f"tool {number}", "ok") for number in range(500)]
    async with opened(path) as analytics:
        await analytics.write()
        # SQLite then says what it says of a full disk.
        await analytics._in_thread(lambda: analytics._open().execute("PRAGMA max_page_count=2"))
        for kind in kinds:
            analytics.count(kind)
        await analytics.write()
        assert analytics.failure == "database or disk is full"
        assert len(analytics.waiting) == 500
        await analytics.write()  # it has opened the file again: there is room
        assert not analytics.waiting
    assert len(in_file(path)) == 500
    assert failures(capsys) == ["not written", "written again"]


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 100, encoding="utf-8")
    async with opened(path) as analytics:
        analytics.count(Kind(this_minute(), "call"))
        await analytics.write()
        assert analytics.failure == "file is not a database"
    assert path.read_text(encoding="utf-8") == "Dear reader, " * 100


async def test_old_minutes_are_removed_and_memory_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    old, kept = (this_minute(ANALYTICS.KEEP + timedelta(minutes=by)) for by in (2, -2))
    async with opened(path) as analytics:
        for minute in (old, kept, this_minute()):
            analytics.count(Kind(minute, "call"))
        await analytics.write()
        assert [row[0] for row in in_file(path)] == [kept, this_minute()]
        for number in range(ANALYTICS.MOST_WAITING + 10):
            analytics.count(Kind(str(number), "call"))
        assert len(analytics.waiting) == ANALYTICS.MOST_WAITING
        assert next(iter(analytics.waiting)).minute == "10"  # the oldest have gone
        analytics.waiting.clear()


async def test_to_count_takes_no_time() -> None:
    """Nothing is written then: not even while the disk is busy."""
    async with opened(":memory:") as analytics:
        kind = Kind(this_minute(), "call", "add", "ok")
        began = time.perf_counter()
        for _ in range(10_000):
            analytics.count(kind, 0, 0.2)
        assert (time.perf_counter() - began) / 10_000 < 0.0001
        assert await analytics.last_minutes(10) == {
            kind[1:]: Sums(10_000, 0, pytest.approx(2_000))
        }
