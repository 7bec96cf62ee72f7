"""Coming back, and to the right place."""

from __future__ import annotations

from workshop.checks.lesson_03.follower import Follower, all_arrive
from workshop.checks.lesson_03.opening import COURSE, STANDARD, suite


@suite.check(
    "comes-back-after-the-end",
    "It comes back when the server ends the connection cleanly",
    todo=1,
    after=("does-not-block",),
    why="A hub that restarts, or that cuts off a slow reader, ends the stream without an "
    "error. An end is not a `[DONE]`.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "gave-up": "The stream ended, and your client did not ask for it again. When `read` "
        "returns None, the loop must go on."
    },
)
def comes_back_after_the_end(follower: Follower) -> None:
    def came_back() -> bool:
        # Or it means to, in its own good time: that is another check's business.
        return len(follower.lab.requests("ending")) > 1 or bool(
            follower.said("ending", "waits")
        )

    follower.wait(lambda: came_back() or bool(follower.said("ending", "over")))
    if not came_back():
        raise follower.fail("gave-up", "ending", "a second request for the stream")


@suite.check(
    "milliseconds",
    "It takes `retry` as milliseconds",
    todo=6,
    after=("comes-back-after-the-end",),
    why="Taken as seconds, a `retry: 2000` is more than half an hour.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "seconds": "The stream said `retry: 20`, which is 0.02 s, and the wait is many "
        "seconds. `reconnection_time` is in milliseconds."
    },
)
def milliseconds(follower: Follower) -> None:
    follower.wait(lambda: bool(follower.said("ending", "waits")))
    if max(follower.said("ending", "waits"), default=0) > 10:
        raise follower.fail("seconds", "ending", "a wait of 0.02 s and a little more")


@suite.check(
    "comes-back-after-a-cut",
    "It comes back when the connection breaks",
    todo=1,
    after=("milliseconds",),
    why="Most connections do not end, they break: then aiohttp raises an error.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "gave-up": "The connection broke, and the error ended the stream. Catch "
        "`aiohttp.ClientError`: it is the parent of everything that aiohttp raises for a lost "
        "connection, `ClientPayloadError` too."
    },
)
def comes_back_after_a_cut(follower: Follower) -> None:
    if not follower.wait(lambda: len(follower.lab.requests("cut")) > 1):
        raise follower.fail("gave-up", "cut", "a second request for the stream")


@suite.check(
    "catches-both",
    "It comes back when `read` itself says that the answer was bad",
    todo=1,
    after=("comes-back-after-a-cut",),
    why="Not every error of a connection comes from aiohttp. `ConnectionError`, which `read` "
    "raises for a 5xx, is Python's own: an `OSError`.",
    read="Coming back",
    rule=COURSE,
    hints={
        "os-error": "`read` raised ConnectionError, and that ended the stream. ConnectionError "
        "is an `OSError`, not an `aiohttp.ClientError`: catch both.",
    },
)
def catches_both(follower: Follower) -> None:
    keys = ("over", "waits", "crashed")
    follower.wait(lambda: any(follower.said("error", key) for key in keys))
    if any(
        str(each).startswith("ConnectionError(") for each in follower.said("error", "crashed")
    ):
        raise follower.fail("os-error", "error", '{"waits": …}, and a second request')


@suite.check(
    "resumes",
    "It says where it stopped, and no event is lost or doubled",
    todo=2,
    after=("catches-both",),
    why="Without `Last-Event-ID` the hub can't know what this reader has missed.",
    read="Coming back to the right place",
    rule=STANDARD + ".3",
    hints={
        "no-id": "The second request carries no `Last-Event-ID`. Put the id into the headers.",
        "after-an-end-only": "After a clean end the id was sent, after a broken connection "
        "it was not. Remember the id in both cases: a line in the `try`, after `read`, does "
        "not run when `read` raises.",
        "old-id": "The second request carries the wrong id. Remember what the parser says at "
        "the end of each connection.",
        "lost-or-doubled": "The ids were sent, and still not every event was handled once.",
        "empty-id": "The first request carries a `Last-Event-ID` with nothing in it. Send it "
        "only if there is an id.",
        "accept-lost": "The id was sent, and `Accept: text/event-stream` was not sent with it. "
        "Add the id to the headers that are there: a new dict replaces them.",
    },
)
def resumes(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("cut")) > 2)
    ids = [id for _, id in follower.lab.requests("cut")[1:3]]
    if "" in ids:
        follower.wait(lambda: len(follower.lab.requests("ending")) > 1)
        sent_after_an_end = any(id for _, id in follower.lab.requests("ending")[1:])
        hint = "after-an-end-only" if sent_after_an_end else "no-id"
        raise follower.fail(hint, "cut", "Last-Event-ID: 5 in the second request")
    if ids != ["5", "10"]:
        raise follower.fail("old-id", "cut", "Last-Event-ID: 5, and then 10")
    all_arrive(follower, "cut", 30, "lost-or-doubled")
    if "/events/cut" in follower.lab.hub.empty_ids:
        raise follower.fail("empty-id", "cut", "no Last-Event-ID in the first request")
    if "/events/cut" in follower.lab.hub.not_accepted:
        raise follower.fail("accept-lost", "cut", "Accept: text/event-stream in each request")


@suite.check(
    "keeps-the-id",
    "It still knows the id after a connection without events",
    todo=2,
    after=("resumes",),
    why="A second cut may come before the next event. The position must outlive it.",
    read="Coming back to the right place",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "After a connection that brought no event, the id was gone. A new parser "
        "starts without an id unless you give it one."
    },
)
def keeps_the_id(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("silent_second")) > 2)
    ids = [id for _, id in follower.lab.requests("silent_second")[:3]]
    if ids != ["", "1", "1"]:
        raise follower.fail("forgotten", "silent_second", "Last-Event-ID: 1 in the third too")


@suite.check(
    "unfinished",
    "It asks again for an event that was cut in the middle",
    todo=2,
    after=("resumes",),
    why="The id of an event comes before its data. A client that keeps it as soon as its line "
    "comes, and not when the event is complete, will skip the event that was cut.",
    read="Coming back to the right place",
    rule=STANDARD + ".6",
    hints={
        "too-early": "The id of an unfinished event was sent, so the hub continued after it. "
        "`parser.last_event_id` moves at the blank line: use that."
    },
)
def unfinished_event(follower: Follower) -> None:
    all_arrive(follower, "unfinished", 3, "too-early")


@suite.check(
    "primed",
    "An id without an event counts",
    todo=2,
    after=("resumes",),
    why="The hub opens each stream with an id and no data, so that a reader that is cut off "
    "before its first event can still say where it was.",
    read="Coming back to the right place",
    rule=STANDARD + ".6",
    hints={
        "ignored": "The stream began with an id and no event, and the next request did not "
        "send it. Take the id from the parser, not from the events."
    },
)
def primed_id(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("primed")) > 1)
    ids = [id for _, id in follower.lab.requests("primed")[:2]]
    if ids != ["", "7"]:
        raise follower.fail("ignored", "primed", "Last-Event-ID: 7 in the second request")


@suite.check(
    "anywhere",
    "Cuts at random places lose nothing",
    todo=1,
    after=("unfinished", "keeps-the-id"),
    why="A connection does not break between two events. It breaks anywhere, even before the "
    "first byte of the answer.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "lost": "After a cut at a random place the stream did not go on. A cut before the "
        "answer raises a different error than a cut within it: catch `aiohttp.ClientError`.",
    },
)
def anywhere(follower: Follower) -> None:
    all_arrive(follower, "anywhere", 30, "lost")
