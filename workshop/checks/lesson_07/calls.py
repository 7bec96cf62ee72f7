"""Calls that are lost, calls that take too long, and which of them are sent again."""

from __future__ import annotations

from workshop.checks.lesson_07.lab import Lab
from workshop.checks.lesson_07.opening import COURSE, suite
from workshop.checks.lesson_07.server import Json
from workshop.checks.lesson_07.settings import SHORT_ANSWER
from workshop.patience import stretched

# What a mistake in the learner's own code raises, whichever TODO it is in.
BUGS = ("AttributeError", "KeyError", "NameError", "TypeError", "UnboundLocalError")


@suite.check(
    "tells-of-the-loss",
    "A call whose stream has ended does not go on waiting",
    todo=3,
    after=("new-session", "returns-the-result"),
    why="The reply would have come on the stream that is gone. Nobody will send it again.",
    read="Calls that are lost",
    rule=COURSE,
    hints={
        "waits-for-ever": "The stream ended while `pay` waited for its reply, and it is still "
        "waiting. Set Lost as the exception of every future in `self.waiting`.",
        "not-lost": "The call ended, but not with Lost. (If you cancel a future, its caller "
        "thinks that it was cancelled itself.)",
    },
)
def tells_of_the_loss(lab: Lab) -> None:
    def outcomes() -> list[Json | None]:
        return [lab.outcome("forgetting", tool) for tool in ("pay", "send")]

    lab.wait(lambda: None not in outcomes())
    for outcome in outcomes():
        if outcome is None:
            raise lab.fail("waits-for-ever", "forgetting", "pay and send raise Lost")
        if outcome.get("raised", "Lost") not in ("Lost", *BUGS):
            raise lab.fail("not-lost", "forgetting", "pay and send raise Lost", at="raises")


@suite.check(
    "keeps-what-came",
    "A reply that came just before the end still counts",
    todo=3,
    after=("tells-of-the-loss",),
    why="A reply and the end of the stream may arrive in one piece. The future is done then, "
    "but its caller has not run yet, so it is still in `self.waiting`.",
    read="Calls that are lost",
    rule=COURSE,
    hints={
        "done-already": "The reply had come, then the stream ended, and setting an exception "
        "raised InvalidStateError: a future is done only once. Test `future.done()` first.",
    },
)
def keeps_what_came(lab: Lab) -> None:
    site = lab.sites["settled"]
    lab.wait(
        lambda: (
            lab.outcome("settled", "look") is not None
            and (len(site.gets) > 1 or lab.crashed("settled"))
        )
    )
    result = (lab.outcome("settled", "look") or {}).get("result")
    if lab.crashed("settled") or result != "one":
        wanted = "look returns, and the client reconnects"
        raise lab.fail("done-already", "settled", wanted, at="** run()")


@suite.check(
    "has-a-time-limit",
    "A call that is never answered ends at its time limit",
    todo=4,
    after=("returns-the-result",),
    why="A server that hangs keeps its stream open, heartbeats and all.",
    read="A POST that fails",
    rule="MCP, timeouts: SHOULD",
    hints={
        "waits-for-ever": f"No reply came for a second, and the limit was {SHORT_ANSWER:g} s. "
        "Put `asyncio.timeout(self.settings.answer)` around the whole call.",
        "another-error": "The call ended, but not with TimeoutError. Let it through.",
        "asked-again": "After its time limit the call was sent once more. The caller's time is "
        "up: let TimeoutError through.",
    },
)
def has_a_time_limit(lab: Lab) -> None:
    # A little less than the server takes to reply after all.
    lab.wait(lambda: lab.outcome("slow", "look") is not None, seconds=stretched(0.9))
    wanted = f"look raises TimeoutError after {SHORT_ANSWER:g} s"
    outcome = lab.outcome("slow", "look")
    if outcome is None and len(lab.calls("slow", "look")) > 1:
        raise lab.fail("asked-again", "slow", wanted, at="-> POST")
    # Without an error it is still waiting, or has had the late reply.
    raised = (outcome or {}).get("raised")
    if raised is None:
        raise lab.fail("waits-for-ever", "slow", wanted)
    if raised != "TimeoutError":
        raise lab.fail("another-error", "slow", wanted, at="** look")


@suite.check(
    "limits-the-wait",
    "A call that finds no session ends at its time limit too",
    todo=4,
    after=("has-a-time-limit", "waits-for-the-session", "keeps-what-came"),
    why="To the caller it makes no difference whether the server is slow or not there.",
    read="A POST that fails",
    rule=COURSE,
    hints={
        "waits-for-ever": "For a second there was no session, the limit was "
        f"{SHORT_ANSWER:g} s, and the call is still waiting. Put the limit around all of "
        "`call_until_told`: waiting for a session takes the caller's time too.",
    },
)
def limits_the_wait(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("away", "look", number=1) is not None, seconds=stretched(1.0))
    if (lab.outcome("away", "look", number=1) or {}).get("raised") != "TimeoutError":
        wanted = f"look raises TimeoutError after {SHORT_ANSWER:g} s"
        raise lab.fail("waits-for-ever", "away", wanted)


@suite.check(
    "late-reply",
    "A reply that comes too late does no harm",
    todo=4,
    after=("has-a-time-limit",),
    why="The server doesn't know that nobody is waiting any more, and replies anyway.",
    read="A POST that fails",
    rule="JSON-RPC 2.0",
    hints={
        "disturbed": "A reply came after its call had given up, and the next call had no "
        "result. Ignore a reply that nobody waits for.",
        "ended": "After its time limit the call ended the session, for all other calls as "
        "well. The stream is fine and only this call is over: let TimeoutError through.",
    },
)
def late_reply(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("slow", "look", number=1) is not None)
    wanted = "the second call returns, in the same session"
    if len(lab.sites["slow"].gets) > 1:
        raise lab.fail("ended", "slow", wanted, at="-> GET")
    if (lab.outcome("slow", "look", number=1) or {}).get("result") != "one":
        raise lab.fail("disturbed", "slow", wanted)


@suite.check(
    "repeats-what-is-safe",
    "A lost call is sent again if its tool says that this does no harm",
    todo=5,
    after=("tells-of-the-loss",),
    why="Looking twice is as good as looking once: here the caller need not hear of the loss.",
    read="Calls that are lost",
    rule="MCP: tool annotations",
    hints={
        "read-only": "`look` says `readOnlyHint: true`, and its call was lost. Send it again.",
        "idempotent": "`store` says `idempotentHint: true`: a second call changes nothing "
        "more. Send it again.",
    },
)
def repeats_what_is_safe(lab: Lab) -> None:
    def result(tool: str) -> object:
        return (lab.outcome("forgetting", tool) or {}).get("result")

    lab.wait(
        lambda: None not in [lab.outcome("forgetting", tool) for tool in ("look", "store")]
    )
    for tool, hint in (("look", "read-only"), ("store", "idempotent")):
        if result(tool) != "two":
            raise lab.fail(hint, "forgetting", f"the result of {tool} in session two")


@suite.check(
    "repeats-nothing-else",
    "No other lost call is ever sent twice",
    todo=5,
    after=("repeats-what-is-safe",),
    why="The server may have run it before it stopped. Paying again is paying twice.",
    read="Calls that are lost",
    rule="MCP: tool annotations",
    hints={
        "not-idempotent": "`pay` says `idempotentHint: false`, was lost, and was sent twice. "
        "(Not being destructive doesn't make it safe: two payments destroy nothing either. And "
        "is it Lost that you raise in TODO 3? NotTaken means that it has not run.)",
        "says-nothing": "`send` has no annotations, and was sent twice. A hint that is missing "
        "counts as false.",
        "not-raised": "`pay` was lost and may not be repeated, but its caller did not get "
        "Lost. The lines with `**` say what it got instead. A hint that is missing counts as "
        "false: look it up with `.get`. Then raise Lost as it came.",
    },
)
def repeats_nothing_else(lab: Lab) -> None:
    for tool in ("pay", "send"):
        if (lab.outcome("forgetting", tool) or {}).get("raised") in BUGS:
            raise lab.fail("not-raised", "forgetting", f"{tool} raises Lost", at=f"** {tool}")
    for tool, hint in (("pay", "not-idempotent"), ("send", "says-nothing")):
        if lab.calls("forgetting", tool) != ["one"]:
            raise lab.fail(
                hint, "forgetting", f"one call of {tool}", at=f"=two tools/call {tool}"
            )


@suite.check(
    "refused",
    "A call that was refused with 404 is sent in a new session",
    todo=5,
    after=("waits-for-the-session",),
    why="404 says that the session is gone. The call has certainly not run, so even a payment "
    "can be sent again, in a session that the server knows.",
    read="A POST that fails",
    rule=COURSE,
    hints={
        "passed-on": "The POST was answered with 404, and the caller got an error for it. "
        "Catch NotTaken, and go round again.",
        "same-session": "The POST was answered with 404, but the client kept that session. "
        "Call `end_stream`: the stream that it belongs to is of no further use.",
    },
)
def refused(lab: Lab) -> None:
    lab.wait(
        lambda: (
            lab.outcome("refusing", "pay") is not None or len(lab.calls("refusing", "pay")) > 3
        )
    )
    wanted = "a new stream, and pay in session two"
    if "raised" in (lab.outcome("refusing", "pay") or {}):
        raise lab.fail("passed-on", "refusing", wanted, at="** pay")
    if lab.calls("refusing", "pay") != ["one", "two"]:
        raise lab.fail("same-session", "refusing", wanted)
