"""Stopping for good, and what is no reason to."""

from __future__ import annotations

from workshop.checks.lesson_03.follower import Follower, all_arrive, stops
from workshop.checks.lesson_03.opening import COURSE, STANDARD, suite
from workshop.failed import Failed


@suite.check(
    "server-errors",
    "It comes back after a 5xx",
    todo=3,
    after=("catches-both",),
    why="A 5xx says that the server, or a proxy in front of it, is in trouble now.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "gave-up": "A 503 ended the stream for good. Only 204, a 4xx and a 200 that is not an "
        "event stream do that: raise ConnectionError for all else, and the loop comes back. "
        "Look at the status first: the page that comes with a 503 is no event stream either."
    },
)
def server_errors(follower: Follower) -> None:
    all_arrive(follower, "error", 30, "gave-up")


@suite.check(
    "stops-at-204",
    "It stops for good at 204",
    todo=3,
    after=("catches-both",),
    why="204 is how a server tells a client of an event stream to stop reconnecting.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was 204, and your client asked for the stream again. `read` "
        "must return a string, and `follow` must return that text.",
        "never-returns": "The answer was 204, and your client asked for the stream again. "
        "There is no `return` in `follow`, so it goes on whatever `read` says: when `read` "
        "returns a text, return it (TODO 1).",
    },
)
def stops_at_204(follower: Follower) -> None:
    try:
        stops(follower, "over", "came-back")
    except Failed as failure:
        if failure.hint == "came-back" and not follower.returns("follow"):
            failure.hint, failure.todo = "never-returns", 1
        raise


@suite.check(
    "stops-at-4xx",
    "It stops for good at any 4xx",
    todo=3,
    after=("stops-at-204",),
    why="A 4xx says that the request is wrong. The same request will be wrong next time, too.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was 404, and your client asked for the stream again. Return a "
        "text for every status from 400 to 499.",
        "not-all": "It stopped at 404, and came back after 410. Return a text for every status "
        "from 400 to 499, and not only for those that you know.",
        "off-by-one": "It stopped at 404, and came back after 400. That is a 4xx, too: "
        "`400 <= response.status < 500`.",
    },
)
def stops_at_4xx(follower: Follower) -> None:
    stops(follower, "refused", "came-back")
    stops(follower, "gone", "not-all")
    stops(follower, "bad", "off-by-one")


@suite.check(
    "stops-at-done",
    "It stops for good at `[DONE]`",
    todo=3,
    after=("stops-at-204",),
    why="When a type is closed, the hub says `data: [DONE]` and ends the stream. Without that, "
    "the end would look like any lost connection.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "came-back": "`[DONE]` came, and your client asked for the stream again. Return a "
        "string: `break` and `return None` only end this connection.",
        "raised": "`[DONE]` came, and raised an error. Compare the text of `event.data` "
        "before anything tries to read it as JSON.",
        "too-early": "An event whose data has `[DONE]` somewhere in it ended the stream. Only "
        "the whole of the data counts: compare with `==`, not with `in`.",
        "handled": "`[DONE]` was handled as an event. Look for it before you call `handle`.",
    },
)
def stops_at_done(follower: Follower) -> None:
    stops(follower, "done", "raised" if follower.said("done", "crashed") else "came-back")
    if not follower.said("done", "data") and not follower.said("done", "skipped"):
        raise follower.fail("too-early", "done", "one event, and then the end")
    if follower.said("done", "skipped") or len(follower.said("done", "data")) != 1:
        raise follower.fail("handled", "done", "one event, and then the end")


@suite.check(
    "stops-at-a-page",
    "It stops for good when the answer is not an event stream",
    todo=3,
    after=("stops-at-204",),
    why="A login page with status 200 is not a stream. The standard says to give up, whatever "
    "the page contains.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was `text/html` with 200, and your client asked for the "
        "stream again. Look at `response.content_type`.",
        "not-all": "It stopped at `text/html`, and came back after `application/json`. Only "
        "`text/event-stream` is an event stream: return a string for all else.",
    },
)
def stops_at_a_page(follower: Follower) -> None:
    stops(follower, "page", "came-back")
    stops(follower, "json", "not-all")


@suite.check(
    "charset",
    "A `charset` in the content type changes nothing",
    todo=3,
    after=("catches-both",),
    why="Many servers send `text/event-stream; charset=utf-8`. That is an event stream.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "refused": "The answer was `text/event-stream; charset=utf-8`, and `read` gave it up. "
        "The header may have parameters: `response.content_type` leaves them out."
    },
)
def charset(follower: Follower) -> None:
    all_arrive(follower, "charset", 5, "refused")


@suite.check(
    "odd-data",
    "An event that can't be handled costs nothing but itself",
    todo=4,
    after=("stops-at-done",),
    why="One publisher's mistake must not take the stream away from everybody.",
    read="An event that can't be handled",
    rule=COURSE,
    hints={
        "ended": "The handler raised, and that ended the stream. Catch it around `handle`.",
        "reconnected": "The handler raised, and your client gave up the connection. Catch it "
        "around `handle` alone, inside the loop over the events.",
        "rest-lost": "Event 2 was skipped, and event 3 was lost with it: they came in one "
        "piece. After a skipped event the loop over the events must go on: catch around "
        "`handle` alone, without `break` or `return`.",
        "not-said": "The event was skipped without a word. Say what was skipped, or nobody "
        "will ever find out.",
    },
)
def odd_data(follower: Follower) -> None:
    def gave_up() -> bool:
        return bool(follower.said("odd_data", "crashed") or follower.said("odd_data", "waits"))

    follower.wait(lambda: 3 in follower.numbers("odd_data") or gave_up())
    wanted = 'the events 1 and 3, and {"skipped": …} between them'
    if follower.numbers("odd_data") != [1, 3]:
        hint = "rest-lost"
        if gave_up():
            hint = "reconnected" if follower.said("odd_data", "waits") else "ended"
        raise follower.fail(hint, "odd_data", wanted)
    if not follower.said("odd_data", "skipped"):
        raise follower.fail("not-said", "odd_data", wanted)
