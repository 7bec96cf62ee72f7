"""The first session: a stream, a handshake, a call, and a time to wait."""

from __future__ import annotations

from workshop.checks.lesson_07.lab import Lab, paces
from workshop.checks.lesson_07.opening import COURSE, LIFECYCLE, TRANSPORT, suite
from workshop.checks.lesson_07.server import name_of
from workshop.failed import Failed


@suite.check(
    "opens-a-stream",
    "It opens the stream",
    todo=1,
    why="This works in the starter. Until it works again, nothing else can be checked.",
    read="When the server restarts",
    rule=TRANSPORT,
    hints={
        "no-get": "No GET came. `connect` is a coroutine: `await self.connect()`.",
    },
)
def opens_a_stream(lab: Lab) -> None:
    site = lab.sites["ending"]
    if not lab.wait(lambda: bool(site.gets)):
        raise lab.fail("no-get", "ending", "GET /sse")


@suite.check(
    "takes-a-path",
    "It takes an endpoint that is only a path",
    todo=6,
    after=("opens-a-stream",),
    why="This is what most servers send. Joined to the stream's URL, it is an absolute URL.",
    read="Where the client may be sent",
    rule=TRANSPORT,
    hints={
        "refused": "The endpoint was a path on the server itself, and `checked` refused it. "
        "Compare `url`, which is already an absolute URL, and not the text of the endpoint.",
    },
)
def takes_a_path(lab: Lab) -> None:
    lab.wait(lambda: bool(lab.outcome("ending", "look") or lab.sites["ending"].posts))
    outcome = lab.outcome("ending", "look") or {}
    if outcome.get("raised") == "Gone" and not lab.sites["ending"].posts:
        raise lab.fail("refused", "ending", "POST /message?session_id=one", at="/message")


@suite.check(
    "talks",
    "It shakes hands",
    todo=2,
    after=("opens-a-stream", "takes-a-path"),
    why="This works in the starter. Until it works again, nothing else can be checked.",
    read="What goes over the wire",
    rule=LIFECYCLE,
    hints={
        "nothing-sent": "The stream named its endpoint, and nothing was sent there. "
        "`session_opened` stores the URL that `checked` returns, and starts `shake_hands` as a "
        "task: `asyncio.create_task(self.shake_hands())`.",
        "no-session": "The very first handshake did not finish. Look at the last lines: what "
        "was sent, what came, and did a task raise an exception?",
    },
)
def talks(lab: Lab) -> None:
    def shaken() -> bool:
        names = [name_of(message) for _, message in list(lab.sites["ending"].posts)]
        return "tools/list" in names

    if not lab.wait(shaken):
        hint = "no-session" if lab.sites["ending"].posts else "nothing-sent"
        raise lab.fail(hint, "ending", "POST /message?session_id=one tools/list")


@suite.check(
    "returns-the-result",
    "`call` returns the result",
    todo=4,
    after=("talks",),
    why="Whatever else a client survives, this is what it is for.",
    read="A POST that fails",
    rule=LIFECYCLE,
    hints={
        "no-result": "The server was ready, and the very first call did not return its result. "
        "The last lines say what happened instead. Both `call` (TODO 4) and `call_until_told` "
        "(TODO 5) have to `return await` what they call.",
        "too-soon": "The limit is 20 s, and the first call ended at once with TimeoutError. "
        "`settings.answer` is in seconds, as `asyncio.timeout` wants it.",
    },
)
def returns_the_result(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("ending", "look") is not None)
    outcome = lab.outcome("ending", "look") or {}
    if outcome.get("result") != "one":
        hint = "too-soon" if outcome.get("raised") == "TimeoutError" else "no-result"
        raise lab.fail(hint, "ending", "look returns a result of session one", at="** look")


@suite.check(
    "first-wait",
    "`next_wait` returns a time",
    todo=7,
    why="Without it the client gives up after the first stream.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "none": "The first `next_wait` of all returned None, as if it were time to give up. "
        "Is there a `return` in front of the sum?",
        "sleeps": "`next_wait` took as long as the wait. It only says how long to wait: "
        "`keep_connected` then sleeps, with `asyncio.sleep`, so that nobody else has to wait.",
    },
)
def first_wait(lab: Lab) -> None:
    if "slept" in lab.pace:
        slept = f"{lab.pace['slept']:.1f} s"
        raise Failed("sleeps", received=slept, wanted="at once", label="`next_wait` took")
    waits = [waits[0] for waits in paces(lab, "in_a_row")]
    if None in waits:
        raise Failed("none", received=repr(waits[0]), wanted="1 to 3", label="Returned")
