"""How long to wait."""

from __future__ import annotations

from workshop.checks.lesson_03.follower import Follower
from workshop.checks.lesson_03.opening import COURSE, STANDARD, suite
from workshop.checks.lesson_03.settings import CROWDS, FIRST_BACKOFF, LONGEST_BACKOFF, RETRY


@suite.check(
    "honours-retry",
    "It waits at least as long as the stream asked",
    todo=6,
    after=("comes-back-after-a-cut",),
    why="`retry` is how a server keeps its clients from coming back too soon.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "too-soon": "The stream asked for 250 ms, and the wait was shorter. Start from "
        "`self.retry`, in seconds with their fractions (`/`, not `//`), and add the random "
        "part.",
        "capped": "The stream asked for 250 ms, and the wait was `longest_backoff`, which is "
        "shorter. That limit is for the random part alone: add `self.retry` afterwards.",
        "never-smaller": "The stream asked for 250 ms and later for 20 ms, and the wait was "
        "still 250 ms. What it asked for last counts.",
        "zero-ignored": "The stream asked for 0 ms, and the wait was still 250 ms. 0 is a "
        "number like any other, but Python takes it as false: ask whether it `is not None`.",
    },
)
def honours_retry(follower: Follower) -> None:
    def waits() -> list[float]:
        return follower.said("patient", "waits")

    follower.wait(lambda: len(waits()) > 4 or bool(follower.said("patient", "over")))
    wait = (waits() or [0])[0]
    if wait < 0.25:
        hint = "capped" if abs(wait - LONGEST_BACKOFF) < 1e-9 else "too-soon"
        raise follower.fail(hint, "patient", "a wait of 0.25 s and a little more")
    if len(waits()) > 2 and waits()[2] >= 0.25:
        raise follower.fail("never-smaller", "patient", "a third wait of less than 0.25 s")
    if len(waits()) > 4 and waits()[4] >= 0.25:
        raise follower.fail("zero-ignored", "patient", "a fifth wait of less than 0.25 s")


@suite.check(
    "keeps-retry",
    "It keeps `retry` until the stream asks for another",
    todo=6,
    after=("honours-retry",),
    why="A connection that fails before it has said anything leaves the reconnection time as "
    "it was.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "After a connection that asked for nothing, the reconnection time was "
        "gone. Change `self.retry` only when there is a new one."
    },
)
def keeps_retry(follower: Follower) -> None:
    follower.wait(lambda: len(follower.said("silent_second", "waits")) > 1)
    waits = follower.said("silent_second", "waits")
    if len(waits) < 2 or waits[1] < 0.2:
        raise follower.fail("forgotten", "silent_second", "waits of 0.2 s at least")


def waits_of_crowd(follower: Follower, number: int) -> list[float]:
    """The waits with this index, of those streams that always fail and got that far."""
    crowd = range(CROWDS["failing"])
    follower.wait(
        lambda: all(len(follower.said("failing", "waits", n)) > number for n in crowd)
    )
    waits = [follower.said("failing", "waits", n) for n in crowd]
    return [each[number] for each in waits if len(each) > number]


@suite.check(
    "begins-small",
    "After one failure it does not wait long",
    todo=6,
    after=("server-errors",),
    why="Most failures are over in a moment. Only when they repeat is there reason to wait.",
    read="Waiting",
    rule=COURSE,
    hints={
        "too-long": "The first wait was longer than `retry` and `first_backoff` together. The "
        "limit is `first_backoff` itself at first: it doubles after a failure, not before."
    },
)
def begins_small(follower: Follower) -> None:
    if max(waits_of_crowd(follower, 0), default=0) > RETRY + FIRST_BACKOFF:
        wanted = f"first waits of {RETRY + FIRST_BACKOFF:g} s at most"
        raise follower.fail("too-long", "failing", wanted)


@suite.check(
    "backs-off",
    "It waits longer with each failure in a row",
    todo=6,
    after=("begins-small", "honours-retry"),
    why="A server that fails needs room. Clients that keep knocking keep it down.",
    read="Waiting",
    rule=STANDARD + ".3",
    hints={
        "same-range": "After three failures no wait was longer than at first. Double the limit "
        "of the random part with each failure in a row.",
        "too-slow": "After three failures the waits are a little longer, and not eight times "
        "as long. The limit doubles each time: `first_backoff * 2 ** failures`.",
    },
)
def backs_off(follower: Follower) -> None:
    longest = max(waits_of_crowd(follower, 3) + waits_of_crowd(follower, 4), default=0) - RETRY
    if longest <= 5 * FIRST_BACKOFF:
        hint = "same-range" if longest <= 2 * FIRST_BACKOFF else "too-slow"
        wanted = f"waits of up to {RETRY + LONGEST_BACKOFF:g} s after three failures"
        raise follower.fail(hint, "failing", wanted)


@suite.check(
    "spreads",
    "Clients that fail together do not come back together",
    todo=6,
    after=("begins-small",),
    why="When a hub restarts, all of its clients fail in the same moment. Without a random "
    "part they all come back in the same moment, again and again.",
    read="Waiting",
    rule=COURSE,
    hints={
        "together": "Many clients failed together, and several of their waits are the same. "
        "Add `random.uniform(0, limit)` to `self.retry`, after the first failure too."
    },
)
def spreads(follower: Follower) -> None:
    for number in (0, 2):
        waits = waits_of_crowd(follower, number)
        if not waits or len(set(waits)) < len(waits):
            wanted = f"{CROWDS['failing']} clients with {CROWDS['failing']} different waits"
            raise follower.fail("together", "failing", wanted)


@suite.check(
    "bounded",
    "No wait grows without end",
    todo=6,
    after=("backs-off",),
    why="Doubled twenty times, half a second is six days.",
    read="Waiting",
    rule=COURSE,
    hints={
        "unbounded": "A wait was longer than `retry` and `longest_backoff` together. Take the "
        "smaller of the doubled limit and `longest_backoff`.",
    },
)
def bounded(follower: Follower) -> None:
    waits = waits_of_crowd(follower, 5) + waits_of_crowd(follower, 4)
    if not waits or max(waits) > RETRY + LONGEST_BACKOFF + 0.001:
        raise follower.fail(
            "unbounded", "failing", f"waits of {RETRY + LONGEST_BACKOFF:g} s at most"
        )


@suite.check(
    "starts-over",
    "An event makes it forget the failures",
    todo=6,
    after=("backs-off",),
    why="The failures of this morning must not slow down tonight's reconnect.",
    read="Waiting",
    rule=COURSE,
    hints={
        "remembers": "An event had come, and the next wait was still as long as after four "
        "failures. Set the count back to 0 when an event comes."
    },
)
def starts_over(follower: Follower) -> None:
    crowd = range(CROWDS["recovering"])

    def waits(number: int) -> list[float]:
        return follower.said("recovering", "waits", number)

    follower.wait(lambda: all(len(waits(n)) > 4 for n in crowd))
    if any(each[4:] and each[4] > RETRY + FIRST_BACKOFF for each in map(waits, crowd)):
        raise follower.fail(
            "remembers", "recovering", f"{RETRY + FIRST_BACKOFF:g} s at most after the event"
        )
