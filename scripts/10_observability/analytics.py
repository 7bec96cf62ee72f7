"""Analytics: how many events of which type, in which minute. Kept in SQLite, written as CSV.

    sqlite3 events.sqlite "SELECT * FROM events ORDER BY minute DESC LIMIT 5"

SQLite writes to a disk. The disk may be slow or full, and another program may have locked the
file. So events are added up in memory, and a thread writes the sums. If it can't, only the sums
have to wait.
"""

import asyncio
import csv
import io
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from log import log

KEEP = timedelta(days=7)
MOST_WAITING = 10_000  # sums in memory, while nothing can be written
LOCKED_SECONDS = 0.2  # another process may be writing to the same file: wait, but not for long

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    minute TEXT, type TEXT, tool TEXT, outcome TEXT,
    events INTEGER, received INTEGER, milliseconds REAL,
    PRIMARY KEY (minute, type, tool, outcome)
) WITHOUT ROWID
"""
# Adds to what is there: during a rolling restart, two processes write to one file.
ADD = """
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    events = events + excluded.events,
    received = received + excluded.received,
    milliseconds = milliseconds + excluded.milliseconds
"""
SUMS = """
SELECT type, tool, outcome, SUM(events), SUM(received), SUM(milliseconds)
FROM events WHERE minute > ? GROUP BY type, tool, outcome
"""
COLUMNS = ("minute", "type", "tool", "outcome", "events", "received", "milliseconds")


class Kind(NamedTuple):
    """What is counted together. It has no session's id, and nothing that clients wrote."""

    minute: str
    type: str
    tool: str = ""
    outcome: str = ""


@dataclass(slots=True)
class Sums:
    """How many events, how many readers received them, and how long it all took."""

    events: int = 0
    received: int = 0
    milliseconds: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        return Sums(
            self.events + other.events,
            self.received + other.received,
            self.milliseconds + other.milliseconds,
        )


class Analytics:
    """All methods run on the event loop, except those of the thread (`_…`)."""

    def __init__(self, path: str = ":memory:") -> None:
        self.path = path
        self.failure = ""  # why the last write failed
        self.waiting: dict[Kind, Sums] = {}
        self.thread = ThreadPoolExecutor(1, "analytics")
        self.connection: sqlite3.Connection | None = None

    def count(self, kind: Kind, received: int = 0, milliseconds: float = 0.0) -> None:
        """One event. It takes a microsecond: nothing is written here."""
        sums = self.waiting.get(kind)
        if sums is None:
            if len(self.waiting) >= MOST_WAITING:
                del self.waiting[next(iter(self.waiting))]  # the oldest
            sums = self.waiting[kind] = Sums()
        sums.events += 1
        sums.received += received
        sums.milliseconds += milliseconds

    async def write(self) -> None:
        """Call this every second, and once at the end. If it fails, nothing is lost."""
        sums, self.waiting = self.waiting, {}
        try:
            await self._in_thread(partial(self._add, sums))
        except sqlite3.Error as error:
            for kind, newer in self.waiting.items():
                sums[kind] = sums.get(kind, Sums()).plus(newer)
            self.waiting = sums
            if not self.failure:  # one line, not one per second
                log.error("analytics not written", file=self.path, error=str(error))
            self.failure = str(error)
        else:
            if self.failure:
                log.info("analytics written again", file=self.path)
            self.failure = ""

    async def last_minutes(self, minutes: int) -> dict[tuple[str, str, str], Sums]:
        """The sums of the last minutes by type, tool and outcome, written or not."""
        after = minute_ago(timedelta(minutes=minutes))
        try:
            found: dict[tuple[str, str, str], Sums] = await self._in_thread(
                partial(self._sums, after)
            )
        except sqlite3.Error:
            found = {}  # `failure` says why
        for kind, sums in self.waiting.items():
            if kind.minute > after:
                found[kind[1:]] = found.get(kind[1:], Sums()).plus(sums)
        return found

    async def as_csv(self) -> bytes:
        """Everything that is kept, as in RFC 4180. Raises sqlite3.Error.

        A spreadsheet treats a cell that begins with `=` as a formula. All words here are the
        server's own: any tool that it does not have is "unknown".
        """
        await self.write()
        return await self._in_thread(self._csv)

    async def close(self) -> None:
        await self.write()
        await self._in_thread(self._close)
        self.thread.shutdown(wait=False)

    async def _in_thread(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            connection = sqlite3.connect(self.path, timeout=LOCKED_SECONDS)
            try:
                connection.execute(SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def _add(self, sums: dict[Kind, Sums]) -> None:
        too_old = minute_ago(KEEP)
        try:
            with self._open() as connection:  # all or nothing
                connection.executemany(
                    ADD, [(*kind, *astuple(each)) for kind, each in sums.items()]
                )
                connection.execute("DELETE FROM events WHERE minute < ?", (too_old,))
        except sqlite3.Error:
            self._close()  # the file may have been replaced or deleted: open it again
            raise

    def _sums(self, after: str) -> dict[tuple[str, str, str], Sums]:
        rows = self._open().execute(SUMS, (after,)).fetchall()
        return {tuple(row[:3]): Sums(*row[3:]) for row in rows}

    def _csv(self) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        select = "SELECT * FROM events ORDER BY minute, type, tool, outcome"
        with closing(self._open().execute(select)) as rows:
            for *words, milliseconds in rows:
                writer.writerow((*words, round(milliseconds, 1)))
        return text.getvalue().encode()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def minute_ago(ago: timedelta) -> str:
    """As it is in the file: "2026-11-28T16:45Z". A later one also sorts later as text."""
    return minute_of((datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ"))


def minute_of(second: str) -> str:
    return second[:16] + "Z"
