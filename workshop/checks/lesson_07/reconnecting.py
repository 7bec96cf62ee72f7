"""When the server restarts: another stream, and a new session on it."""

from __future__ import annotations

from workshop.checks.lesson_07.lab import Lab
from workshop.checks.lesson_07.opening import COURSE, LIFECYCLE, SSE, suite
from workshop.checks.lesson_07.server import Json, name_of
from workshop.checks.lesson_07.settings import AWAY
from workshop.patience import stretched


@suite.check(
    "comes-back-after-the-end",
    "It reconnects when the stream ends cleanly",
    todo=1,
    after=("returns-the-result", "first-wait"),
    why="A server that is told to stop ends its streams without an error. To the client this "
    "looks like a stream that has nothing more to say.",
    read="When the server restarts",
    rule=SSE + ".3",
    hints={
        "gave-up": "The stream ended, and nothing opened another. `connect` returned: the loop "
        "in `keep_connected` must go on.",
        "no-wait": "The stream ended, and the client was back without waiting. After "
        "`connect`, however it ended, go on below: `session_ended`, `next_wait`, sleep.",
    },
)
def comes_back_after_the_end(lab: Lab) -> None:
    site = lab.sites["ending"]
    if not lab.wait(lambda: len(site.gets) > 1):
        hint = "crashed" if lab.crashed("ending") else "gave-up"
        raise lab.fail(hint, "ending", "a second GET /sse", at="** run()")
    lab.wait(lambda: "ending" in lab.came_back)
    if not lab.came_back.get("ending"):
        raise lab.fail("no-wait", "ending", "a wait before the second GET", at="-> GET")


@suite.check(
    "comes-back-after-a-cut",
    "It reconnects when the connection breaks",
    todo=1,
    after=("comes-back-after-the-end",),
    why="A server that crashes doesn't end its streams cleanly. aiohttp then raises an error.",
    read="When the server restarts",
    rule=SSE + ".3",
    hints={
        "crashed": "The connection broke, and `run` ended. Catch `aiohttp.ClientError`: it is "
        "the base class of everything that aiohttp raises for a lost connection.",
    },
)
def comes_back_after_a_cut(lab: Lab) -> None:
    site = lab.sites["cutting"]
    if not lab.wait(lambda: len(site.gets) > 1):
        raise lab.fail("crashed", "cutting", "a second GET /sse")


@suite.check(
    "outlives-a-restart",
    "It reconnects after a time when nothing listened",
    todo=1,
    after=("comes-back-after-a-cut",),
    why="While a server restarts, its port refuses connections. The first attempt is nearly "
    "always too early.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "gave-up": f"For {AWAY:g} s nothing listened, and the client gave up. The error from a "
        "connection that can't be opened must be caught, too.",
    },
)
def outlives_a_restart(lab: Lab) -> None:
    site = lab.sites["restarting"]
    if not lab.wait(lambda: len(site.gets) > 1):
        raise lab.fail("gave-up", "restarting", "a GET /sse when the server listens again")


@suite.check(
    "outlives-a-refusal",
    "It tries again when the answer is not a stream",
    todo=1,
    after=("outlives-a-restart",),
    why="While a server starts, a proxy in front of it answers 503.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "gave-up": "The answer was 503, and the client gave up. `connect` raises "
        "ConnectionError then, which is an OSError: catch that too.",
        "spins": "The answer was 503, and the client tried again without waiting. After the "
        "`except`, don't `continue`: go on below, where it waits.",
    },
)
def outlives_a_refusal(lab: Lab) -> None:
    site = lab.sites["leaving"]
    lab.wait(lambda: len(site.gets) > 2)
    wanted = "a wait, and another GET /sse"
    if len(site.gets) < 3:
        raise lab.fail("gave-up", "leaving", wanted, at="<- 503")
    # One wait before each GET but the first. What was said may still be on its way.
    if not lab.wait(lambda: lab.waits_said("leaving") > 1, seconds=stretched(0.3)):
        raise lab.fail("spins", "leaving", wanted, at="-> GET")


@suite.check(
    "catches-no-more",
    "It doesn't reconnect to a server that sends nonsense",
    todo=1,
    after=("comes-back-after-the-end",),
    why="It would send the same nonsense again. `run` has an `except` for this.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "everything": "The server sent something that is not JSON, and the client came back. "
        "Catch `aiohttp.ClientError` and `OSError` in `keep_connected`, and nothing else: "
        "`except Exception` also swallows Gone and ValueError, which should end `run`.",
    },
)
def catches_no_more(lab: Lab) -> None:
    site = lab.sites["unreadable"]
    lab.wait(lambda: lab.outcome("unreadable", "look") is not None or len(site.gets) > 1)
    if (lab.outcome("unreadable", "look") or {}).get("raised") != "Gone":
        raise lab.fail("everything", "unreadable", "look raises Gone", at="-> GET")


@suite.check(
    "new-session",
    "On the new stream it shakes hands again, at the new endpoint",
    todo=2,
    after=("comes-back-after-the-end",),
    why="A session lives in the server's memory, and ends with its stream. The new process "
    "has never heard of the old session id.",
    read="When the server restarts",
    rule=LIFECYCLE,
    hints={
        "nothing-sent": "The second stream named its endpoint, and nothing was sent there. "
        "Every `endpoint` event begins a session.",
        "old-endpoint": "With the second stream open, something was sent to the endpoint of "
        "the first. Store what the newest `endpoint` event says.",
        "no-initialize": "The first message to the new endpoint was not `initialize`. The "
        "server knows nothing about the handshake in the last session.",
    },
)
def new_session(lab: Lab) -> None:
    def sent_later() -> list[tuple[str, str]]:
        # Before its end, session one got two requests, a notification and a call.
        later = [(session, name_of(each)) for session, each in lab.sites["ending"].posts[4:]]
        # Whether a call was sent too early is for the next check.
        return [each for each in later if each != ("one", "tools/call look")]

    lab.wait(lambda: bool(sent_later()))
    later = sent_later()
    wanted = "POST …=two initialize"
    if not later:
        hint = "crashed" if lab.crashed("ending") else "nothing-sent"
        raise lab.fail(hint, "ending", wanted, at="-> GET")
    session, name = later[0]
    if session == "one":
        raise lab.fail("old-endpoint", "ending", wanted, at=f"=one {name}")
    if name != "initialize":
        raise lab.fail("no-initialize", "ending", wanted, at=name)


@suite.check(
    "waits-for-the-session",
    "A call waits until the new session is ready",
    todo=2,
    after=("new-session", "outlives-a-restart"),
    why="The caller of a tool should not have to know that the server is restarting.",
    read="When the server restarts",
    rule=LIFECYCLE,
    hints={
        "too-early": "A call was sent before the new session was initialized. Clear `ready` "
        "when a session ends.",
        "no-result": "A call that was made between two sessions had no result in the new one.",
    },
)
def waits_for_the_session(lab: Lab) -> None:
    def results() -> list[Json | None]:
        return [lab.outcome(name, "look", number=1) for name in ("ending", "restarting")]

    lab.wait(lambda: None not in results())
    if lab.calls("ending", "look")[1:2] == ["one"]:
        raise lab.fail(
            "too-early",
            "ending",
            "POST …=two tools/call look, after the handshake",
            at="=one tools/call",
        )
    for name, result in zip(("ending", "restarting"), results(), strict=True):
        if (result or {}).get("result") != "two":
            raise lab.fail("no-result", name, "the call returns, in session two")
