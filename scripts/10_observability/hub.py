"""The hub itself: who listens to what, what happened lately, and what each reader missed.

No network here. Every method of `Hub` is plain, synchronous code that runs on the
event loop's thread. Nothing can happen between two of its steps, so it needs no lock,
and no event can fall into the seam between the replay of old events and the arrival
of new ones.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from event_stream import encode_event

TYPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# `message`, `open` and `error` are EventSource's own events; the others are the hub's.
RESERVED = frozenset({"message", "open", "error", "gap", "closed"})

MAX_TYPES = 1_000
PIECE = 65_536

DONE = encode_event("[DONE]")
HEARTBEAT = encode_event(None, comment="heartbeat")

# One encoder for all events: json.dumps makes a new one for each call with options.
to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

Address = tuple[str, int]


class HubError(Exception):
    """The hub refuses a request. `status` is the HTTP status that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Finished(Exception):
    """All of these types are closed, and the reader has had everything they held."""


class Subscriber:
    """One open stream: the bytes that are waiting to be sent to one reader."""

    def __init__(
        self, types: set[str], replay: list[bytes], room: int, reader: Address | None
    ) -> None:
        self.types = types
        self.reader = reader
        self.ended = False
        self._waiting = deque(replay)
        # The replay does not count: it is bounded by the history, and shares its bytes.
        self._limit = len(replay) + room
        self._news = asyncio.Event()
        self._moved = True

    def put(self, wire: bytes) -> bool:
        """Queue `wire` for the reader. False: its queue is full."""
        if len(self._waiting) >= self._limit:
            return False
        self._waiting.append(wire)
        self._news.set()
        return True

    def end(self, last: bytes, *, drop: bool = False) -> None:
        """Send `last`, then end the stream; with `drop`, forget what is waiting before it."""
        if drop:
            self._waiting.clear()
        self._waiting.append(last)
        self.ended = True
        self._news.set()

    def idle(self) -> bool:
        """Whether nothing is waiting."""
        return not self._waiting

    def moved(self) -> bool:
        """Whether the reader has taken anything since this was last asked."""
        moved, self._moved = self._moved, False
        return moved

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is waiting, as soon as it is, until the stream ends.

        Events that wait together leave together: one write instead of many.
        A piece ends with the event that fills 64 KiB.
        """
        while self._waiting or not self.ended:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            piece = self._waiting.popleft()
            if self._waiting:
                together = [piece]
                size = len(piece)
                while self._waiting and size < PIECE:
                    together.append(self._waiting.popleft())
                    size += len(together[-1])
                piece = b"".join(together)
            self._moved = True
            yield piece


@dataclass(slots=True)
class Topic:
    """One event type: its latest events, and who listens."""

    lost: int
    """The newest id that the history no longer holds."""
    history: deque[tuple[int, bytes]] = field(default_factory=deque)
    subscribers: set[Subscriber] = field(default_factory=set)
    closed: bool = False


class Hub:
    """Publishes events to the subscribers of their type, and remembers the latest.

    history: how many events of each type are kept for readers that come back.
    queue: how many events may wait for one reader before it is cut off.
    retry: milliseconds that a reader is told to wait before it comes back.
    first_id: the first event's id. The default is the clock in microseconds, so that
    ids keep growing when the hub is restarted: a reader that comes back with an id from
    before the restart is told that it may have missed something, instead of being taken
    for a reader of the new hub.
    """

    def __init__(
        self,
        *,
        history: int = 1_000,
        queue: int = 256,
        retry: int = 2_000,
        first_id: int | None = None,
    ) -> None:
        self.history = history
        self.queue = queue
        self.retry = retry
        self.before_first = (time.time_ns() // 1_000 if first_id is None else first_id) - 1
        self.last_id = self.before_first
        self.topics: dict[str, Topic] = {}
        self.streams: set[Subscriber] = set()

    def publish(self, type: str, data: dict[str, Any]) -> tuple[int, int]:
        """Give the event to every subscriber of `type`. Returns its id, and how many got it.

        Raises HubError: a bad name, too many types, a closed type, or data that
        JSON can't carry.
        """
        topic = self._topic(type)
        if topic.closed:
            raise HubError(410, f"The type {type!r} is closed.")
        try:
            # Encoded once: the history and every subscriber share these bytes.
            wire = encode_event(to_json(data), event=type, id=str(self.last_id + 1))
        except ValueError as error:
            raise HubError(400, f"JSON can't carry this: {error}") from None
        self.last_id += 1
        topic.history.append((self.last_id, wire))
        while len(topic.history) > self.history:
            topic.lost = topic.history.popleft()[0]
        receivers = 0
        for subscriber in list(topic.subscribers):
            if subscriber.put(wire):
                receivers += 1
            else:
                self._cut(subscriber)
        return self.last_id, receivers

    def subscribe(
        self,
        types: Iterable[str],
        last_event_id: str | None = None,
        reader: Address | None = None,
    ) -> Subscriber:
        """Open a stream of these types, from now on or from `last_event_id`.

        Raises HubError (a bad name, no type) and Finished (nothing will ever come).
        """
        topics = {type: self._topic(type) for type in types}
        if not topics:
            raise HubError(400, "Say which types: /events/orders or /events?types=orders,news")
        still_open = {type for type, topic in topics.items() if not topic.closed}
        missed = self._missed(topics, last_event_id) if last_event_id else []
        if not still_open and not missed:
            raise Finished
        # Tell the reader where it is: from here on it has everything. Without this id, a
        # reader that is cut off before its first event would have nothing to come back with.
        stands = str(self.last_id)
        replay = [encode_event(None, id=stands, retry=self.retry)]
        if missed:
            replay = [
                encode_event(None, retry=self.retry),
                *missed,
                encode_event(None, id=stands),
            ]
        if still_open:
            replay += [_closed(type) for type in topics if type not in still_open]

        subscriber = Subscriber(still_open, replay, self.queue, reader)
        self.streams.add(subscriber)
        for type in still_open:
            topics[type].subscribers.add(subscriber)
        if not still_open:
            subscriber.end(DONE)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """The stream is over: forget the subscriber."""
        self.streams.discard(subscriber)
        for type in subscriber.types:
            topic = self.topics.get(type)
            if topic is None:
                continue
            topic.subscribers.discard(subscriber)
            empty = not (topic.subscribers or topic.history or topic.closed)
            if empty and topic.lost == self.before_first:
                del self.topics[type]

    def close(self, type: str) -> int:
        """End the type for good: `[DONE]` to its subscribers. Returns how many there were.

        Its history stays, for readers that are on their way back. Raises HubError.
        """
        if type not in self.topics:
            raise HubError(404, f"Nothing was published as {type!r}, and nobody listens to it.")
        topic = self.topics[type]
        topic.closed = True
        told = list(topic.subscribers)
        for subscriber in told:
            subscriber.types.discard(type)
            if not subscriber.types:
                subscriber.end(DONE)
            elif not subscriber.put(_closed(type)):
                self._cut(subscriber)
        topic.subscribers.clear()
        return len(told)

    def beat(self) -> list[Subscriber]:
        """A heartbeat to every idle stream. Call it regularly.

        Returns the streams that were cut and still take nothing: nobody reads at
        the other end, so their connections must be torn down.
        """
        stuck: list[Subscriber] = []
        for subscriber in list(self.streams):
            moved = subscriber.moved()
            if subscriber.ended:
                if not moved:
                    stuck.append(subscriber)
            elif subscriber.idle():
                subscriber.put(HEARTBEAT)
            elif not moved:
                self._cut(subscriber)
        return stuck

    def end_all(self) -> None:
        """End every stream, because the hub is stopping; readers may come back."""
        for subscriber in [stream for stream in self.streams if not stream.ended]:
            self._silence(subscriber)
            subscriber.end(encode_event(None, retry=self.retry, comment="the hub stops"))

    def _topic(self, type: str) -> Topic:
        if not TYPE_NAME.fullmatch(type):
            raise HubError(
                400,
                f"{type!r} is not a type name: use 1 to 64 letters, digits, `_`, `-` or `.`, "
                "the first a letter or digit.",
            )
        if type in RESERVED:
            raise HubError(400, f"The name {type!r} is reserved. Choose another.")
        if type not in self.topics:
            if len(self.topics) >= MAX_TYPES:
                raise HubError(409, f"The hub holds {MAX_TYPES} types, which is its limit.")
            # Nothing of this type was lost, except what an earlier hub may have had.
            self.topics[type] = Topic(lost=self.before_first)
        return self.topics[type]

    def _missed(self, topics: dict[str, Topic], last_event_id: str) -> list[bytes]:
        """What came after `last_event_id`, in order, after a `gap` if some of it is lost."""
        after = self._position(last_event_id)
        found: list[tuple[int, bytes]] = []
        lost: dict[int, list[str]] = {}
        for type, topic in topics.items():
            found += [kept for kept in topic.history if after is None or kept[0] > after]
            if after is None or after < topic.lost:
                lost.setdefault(topic.lost, []).append(type)
        # The gaps come first, and without an id. What is lost may be older than any event
        # that follows: a reader cut off between an event and its gap would not hear of it.
        gaps = [
            {"types": types, "after": after, "through": through}
            for through, types in lost.items()
        ]
        told = [encode_event(to_json(gap), event="gap") for gap in gaps]
        return told + [wire for _, wire in sorted(found, key=itemgetter(0))]

    def _position(self, last_event_id: str) -> int | None:
        """The id as a number; None if this hub can't have given it."""
        if not re.fullmatch(r"[0-9]{1,19}", last_event_id):
            return None
        position = int(last_event_id)
        return position if position <= self.last_id else None

    def _cut(self, subscriber: Subscriber) -> None:
        """The reader is too slow: end its stream now. What it missed is in the history."""
        self._silence(subscriber)
        subscriber.end(
            encode_event(None, retry=self.retry, comment="too slow: come back for the rest"),
            drop=True,
        )

    def _silence(self, subscriber: Subscriber) -> None:
        for type in subscriber.types:
            self.topics[type].subscribers.discard(subscriber)
        subscriber.types.clear()


def _closed(type: str) -> bytes:
    return encode_event(to_json({"type": type}), event="closed")
