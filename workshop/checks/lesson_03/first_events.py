"""Events arrive, and neither a mistake nor a wait keeps them from it."""

from __future__ import annotations

import time

from workshop.checks.lesson_03.follower import Follower, all_arrive
from workshop.checks.lesson_03.opening import COURSE, STANDARD, suite
from workshop.checks.lesson_03.settings import SLOW
from workshop.checks.lesson_03.streams import SETTLING, Json
from workshop.complaints import Complaint, line_it_ran, todo_of
from workshop.failed import Failed
from workshop.patience import stretched


@suite.check(
    "goes-on",
    "It neither crashes over a mistake in the code nor hangs",
    why="One slip, such as a name that does not exist, looks like a dozen other mistakes.",
    read="Your client",
    rule=COURSE,
    hints={
        "crashed": "Your code raised an exception that has nothing to do with the network. "
        "The last line shows it, and the line of your file that it came from.",
        "not-a-text": "What came back as the reason for the end is not a text. `read` returns "
        "a text or None. An error is raised, not returned.",
        "hangs": "The program has stopped printing, although events keep coming. Is there a "
        "loop that never ends, or a call that waits for long without `await`?",
    },
)
def goes_on(follower: Follower) -> None:
    def settled(name: str) -> bool:
        keys = ("data", "over", "waits", "crashed")
        return any(follower.said(name, key) for key in keys)

    def crashed() -> list[str]:
        return [name for name in SETTLING if follower.mistake(name)]

    follower.wait(lambda: bool(crashed()) or all(map(settled, SETTLING)), seconds=SLOW)
    for name in crashed():
        todo = follower.todo_at(follower.mistake(name))
        wanted = f"no {follower.mistake(name).split('(')[0]}{todo}"
        failure = follower.fail("crashed", name, wanted)
        if "over=" in follower.mistake(name) and "serializable" in follower.mistake(name):
            failure.hint, failure.wanted = "not-a-text", "a text, or None"
            todo = ", at TODO 3"
        # A missing `await` breaks something else, somewhere below.
        forgotten = [each for each in follower.complaints() if "never awaited" in each.said]
        failure.todo = int(todo[-1]) if todo else None
        if forgotten:
            failure.hint, failure.wanted = "crashed", wanted
            failure.todo = todo_of(forgotten[0]) or failure.todo
        raise failure
    if not all(map(settled, SETTLING)) and follower.silent_for() > 1:
        follower.abort()
        line = line_it_ran(follower.rest, follower.path)
        raise Failed(
            "hangs",
            todo=todo_of(line) if line else None,
            received=follower.rest[-900:],
            wanted="a line for each event and each wait",
            label="Printed",
        )


@suite.check(
    "does-not-hurry",
    "It waits before it comes back",
    todo=1,
    after=("goes-on",),
    why="A client that comes back at once asks a server that is down thousands of times a "
    "second.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "at-once": "The connection broke, and your client came back without waiting. Does a "
        "`continue` skip the wait? Set `over = None`, and let the loop run to its end.",
    },
)
def does_not_hurry(follower: Follower) -> None:
    def said_something(name: str) -> bool:
        return any(follower.said(name, key) for key in ("over", "waits", "crashed"))

    for name in ("cut", "failing"):
        follower.wait(
            lambda name=name: said_something(name) or len(follower.lab.requests(name)) > 1
        )
        # It says so before it waits, but what it says may still be on its way.
        if not follower.wait(lambda name=name: said_something(name), seconds=stretched(0.5)):
            raise follower.fail("at-once", name, '{"waits": …} before the second request')


@suite.check(
    "reads-a-stream",
    "It reads an answer that is an event stream",
    todo=3,
    after=("does-not-hurry",),
    why="Only an answer that is not an event stream may be refused.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "refused": "The answer was 200 with `text/event-stream`, and `read` gave it up. Look "
        "at the comparisons before the loop over the pieces.",
    },
)
def reads_a_stream(follower: Follower) -> None:
    def gave_up() -> bool:
        # On a busy machine a connection may be given up once for no reason.
        tries = len(follower.said("burst", "waits"))
        return tries > 3 or any(follower.said("burst", key) for key in ("over", "crashed"))

    follower.wait(lambda: bool(follower.said("burst", "data")) or gave_up())
    if not follower.said("burst", "data") and gave_up():
        raise follower.fail("refused", "burst", "the events 1 to 30")


@suite.check(
    "arrives",
    "Events that come in one chunk are all handled",
    after=("reads-a-stream",),
    why="A proxy may collect events and pass them on together. A client that takes one "
    "event from each piece loses the others.",
    read="Your client",
    rule=STANDARD + ".6",
    hints={
        "lost": "Some events of one piece were not handled. `parser.feed` returns a list.",
        "twice": "Each event came once and was handled twice. `handle` must be called in one "
        "place only: inside the `try` (TODO 4).",
        "skipped-too": "Events that are all right were handled, and then skipped as well. What "
        "the line says was raised beside `handle`, in your own `try` (TODO 4). `handle` is no "
        "coroutine: it is called without `await`.",
    },
)
def arrives(follower: Follower) -> None:
    try:
        all_arrive(follower, "burst", 30, "lost")
    except Failed as failure:
        numbers = follower.numbers("burst")
        once = len(follower.lab.requests("burst")) == 1
        if failure.hint == "lost" and once and len(numbers) != len(set(numbers)):
            failure.hint, failure.todo = "twice", 4
        raise
    if follower.said("burst", "skipped"):
        failure = follower.fail("skipped-too", "burst", "nothing skipped")
        failure.todo = 4
        raise failure


@suite.check(
    "split",
    "Events that come in many small pieces are put together",
    after=("arrives",),
    why="The network cuts the bytes anywhere: inside a line, inside a character.",
    read="Your client",
    rule=STANDARD + ".6",
    hints={
        "torn": "An event whose bytes came in several pieces was lost. One parser must see "
        "all the pieces of a connection: it keeps what is not complete yet."
    },
)
def split(follower: Follower) -> None:
    all_arrive(follower, "split", 5, "torn")


@suite.check(
    "does-not-block",
    "While one stream waits, the others go on",
    todo=1,
    after=("split",),
    why="All streams share one thread. A call that sleeps in it stops every one of them.",
    read="Coming back",
    rule=COURSE,
    hints={
        "blocked": "While one stream waited, no other stream got anything, although events "
        "came every 30 ms. `time.sleep` stops the event loop: use `await asyncio.sleep`."
    },
)
def does_not_block(follower: Follower) -> None:
    streams = ("patient", "silent_second")

    def pauses(name: str) -> list[Json]:
        lines = follower.lines(name)
        return [line for line in lines if line.get("waits", 0) >= 0.1][:2]

    def ready() -> bool:
        ended = all(
            follower.said(name, "over") or follower.said(name, "crashed") for name in streams
        )
        return ended or all(len(pauses(name)) == 2 for name in streams)

    follower.wait(ready, seconds=SLOW)
    blocked = 0
    for name in streams:
        for number, pause in enumerate(pauses(name)):
            said, length = pause["time"], pause["waits"]
            slept_after = not follower.spoke_between(said, said + 0.8 * length)
            slept_before = not follower.spoke_between(said - 0.8 * length, said)
            # A sleep after the last line seen so far may only seem to be one.
            over = time.monotonic() > said + length
            blocked += (over and slept_after) or (number > 0 and slept_before)
    if blocked > 1:
        lines = follower.path.read_text(encoding="utf-8").splitlines()
        places = [number for number, line in enumerate(lines, 1) if "time.sleep(" in line]
        wanted = "events of other streams during the wait"
        failure = follower.fail("blocked", "patient", wanted)
        if places:
            failure.wanted += f", line {places[0]}"
            failure.todo = todo_of(Complaint(follower.path, "", places[0]))
        raise failure
