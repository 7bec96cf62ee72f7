"""How long to wait, and when to give up."""

from __future__ import annotations

from workshop.checks.lesson_07.bad_servers import Asking
from workshop.checks.lesson_07.lab import Lab, paces
from workshop.checks.lesson_07.opening import COURSE, SSE, suite
from workshop.checks.lesson_07.settings import ASKED_RETRY, FEW_FAILURES, PACE
from workshop.failed import Failed


def nth(lab: Lab, number: int) -> list[float]:
    """The waits with this index, from all Paces. One that gave up counts as 0."""
    return [waits[number] or 0.0 for waits in paces(lab, "in_a_row")]


def fail_pace(hint: str, waits: list[float], wanted: str) -> Failed:
    shown = " ".join(f"{wait:.2f}" for wait in waits[:10])
    return Failed(hint, received=f"{shown} …", wanted=wanted, label="The waits")


@suite.check(
    "backs-off",
    "It waits longer with each failure in a row",
    todo=7,
    after=("first-wait",),
    why="A server that starts up under a storm of clients goes down again.",
    read="How long to wait",
    rule=SSE + ".3",
    hints={
        "same-range": "With `retry` 1 s and `first_backoff` 2 s, no fourth wait was longer "
        "than a first one can be. Double the limit of the random part with each failure.",
        "not-doubled": "With `retry` 1 s and `first_backoff` 2 s, fourth waits should reach up "
        "to 17 s. The limit of the random part is `first_backoff`, doubled once for each "
        "failure before this one: 2, 4, 8, 16.",
        "not-at-least": "A wait was shorter than the reconnection time. Add the random part to "
        "`self.retry`.",
        "first": "The first wait was longer than `retry` and `first_backoff` together. Double "
        "only after the first wait.",
    },
)
def backs_off(lab: Lab) -> None:
    if min(nth(lab, 0)) < 1:
        raise fail_pace("not-at-least", nth(lab, 0), "the first waits: from 1 to 3 s")
    # A wait slightly over is for the check of the spread.
    if max(nth(lab, 0)) > 3.5:
        raise fail_pace("first", nth(lab, 0), "the first waits: from 1 to 3 s")
    if max(nth(lab, 3)) <= 3.5:
        raise fail_pace("same-range", nth(lab, 3), "the fourth waits: from 1 to 17 s")
    if max(nth(lab, 3)) <= 11:
        raise fail_pace("not-doubled", nth(lab, 3), "the fourth waits: from 1 to 17 s")


@suite.check(
    "honours-retry",
    "It waits at least as long as the stream asked",
    todo=7,
    after=("comes-back-after-the-end", "backs-off", "keeps-what-came"),
    why="`retry` is how a server says how long its restart takes.",
    read="How long to wait",
    rule=SSE + ".2",
    hints={
        "too-soon": "The stream asked for a reconnection time, and the client's wait was "
        "shorter. Store what `server_asked` is given, and start from `self.retry`.",
        "capped": "The stream asked for 40 s, `longest_backoff` was 16 s, and the wait was not "
        "40 s. `longest_backoff` limits the random part only, not the sum.",
        "seconds": "The stream asked for 40,000, and the wait was that many seconds. `retry` "
        "is in milliseconds.",
        "forgotten": "A stream asked for 40 s, the next one asked for nothing, and the wait "
        "was shorter. None changes nothing: keep the time until the server asks for another.",
    },
)
def honours_retry(lab: Lab) -> None:
    seconds = PACE["asked"] / 1_000
    wanted = "40 s, and a little more"
    asked, kept = paces(lab, "asked") or 0.0, paces(lab, "kept") or 0.0
    if asked > 100 * seconds:
        raise fail_pace("seconds", [asked], wanted)
    if asked < seconds:
        longest = PACE["settings"]["longest_backoff"]
        raise fail_pace("capped" if asked >= longest else "too-soon", [asked], wanted)
    if kept < seconds:
        raise fail_pace("forgotten", [kept], wanted)
    site = lab.sites["asking"]
    assert isinstance(site, Asking)
    lab.wait(lambda: len(site.gets) > 1)
    wanted = f"the second GET {ASKED_RETRY} ms after the end, and a little more"
    # A millisecond less is the clock's resolution.
    if len(site.gets) < 2 or site.gets[1] - site.ended < ASKED_RETRY / 1_000 - 0.005:
        raise lab.fail("too-soon", "asking", wanted, at="-> GET")


@suite.check(
    "spreads",
    "Clients that fail together do not come back together",
    todo=7,
    after=("backs-off",),
    why="A restart cuts off all clients at once. If their waits are nearly the same, "
    "they all come back at once too.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "together": "Sixty clients failed together, and several of them wait for exactly the "
        "same time. Use `random.uniform(0, limit)`.",
        "little": "Sixty clients failed together, and their waits are close together although "
        "the limit of the random part was 8 s. Spread them over all of it: "
        "`random.uniform(0, limit)`.",
    },
)
def spreads(lab: Lab) -> None:
    waits = nth(lab, 2)
    if len(set(waits)) < len(waits):
        raise fail_pace("together", waits, "sixty different waits, from 1 to 9 s")
    # Half of the limit is a well-known variant. With sixty, the outermost are near its ends.
    if max(waits) - min(waits) < 2.5:
        raise fail_pace("little", waits, "waits all over 1 to 9 s")


@suite.check(
    "bounded",
    "No wait grows without limit",
    todo=7,
    after=("backs-off", "spreads"),
    why="Doubled twenty times, half a second is six days.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "unbounded": "A wait was longer than `retry` and `longest_backoff` together.",
    },
)
def bounded(lab: Lab) -> None:
    waits = nth(lab, 6) + nth(lab, 7)
    if max(waits) > 17.001:
        raise fail_pace("unbounded", sorted(waits, reverse=True), "17 s at most")


@suite.check(
    "starts-over",
    "A session makes it forget the failures",
    todo=7,
    after=("backs-off", "spreads"),
    why="This morning's failures must not slow down tonight's reconnection.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "remembers": "A session had begun, and the next wait was as long as after eight "
        "failures. Reset the count.",
    },
)
def starts_over(lab: Lab) -> None:
    waits = [wait or 0.0 for wait in paces(lab, "after_a_session")]
    if max(waits) > 3.001:
        raise fail_pace("remembers", sorted(waits, reverse=True), "from 1 to 3 s")


@suite.check(
    "gives-up",
    "When the server stays away it gives up, and tells the waiting callers",
    todo=7,
    after=("backs-off", "waits-for-the-session", "outlives-a-refusal"),
    why="A program that waits for ever for a server that was switched off seems to hang.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "never": f"After {FEW_FAILURES} failures in a row the client is still trying. Return "
        "None from `next_wait`.",
        "too-soon": f"The client gave up after fewer than {FEW_FAILURES} attempts. The first "
        "wait comes before the first attempt: look at the count before you add to it.",
    },
)
def gives_up(lab: Lab) -> None:
    site = lab.sites["leaving"]
    lab.wait(
        lambda: (
            lab.outcome("leaving", "look", number=1) is not None
            or len(site.gets) > FEW_FAILURES + 3
        )
    )
    wanted = f"{FEW_FAILURES} attempts, and then Gone"
    if len(site.gets) > FEW_FAILURES + 1:
        raise lab.fail("never", "leaving", wanted)
    outcome = lab.outcome("leaving", "look", number=1) or {}
    if outcome.get("raised") != "Gone":
        raise lab.fail("never", "leaving", wanted)
    if len(site.gets) < FEW_FAILURES + 1:
        raise lab.fail("too-soon", "leaving", wanted)
