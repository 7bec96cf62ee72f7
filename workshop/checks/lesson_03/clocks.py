"""Two clocks: silence is limited, and the time of the whole stream is not."""

from __future__ import annotations

import itertools

from workshop.checks.lesson_03.follower import Follower, all_arrive
from workshop.checks.lesson_03.opening import COURSE, suite
from workshop.checks.lesson_03.settings import HEARTBEAT, PATIENCE, QUIET_BEATS, SLOW


@suite.check(
    "silence",
    "It gives up a connection that has fallen silent",
    todo=5,
    after=("anywhere",),
    why="A laptop that slept, a router that forgot: the connection is gone, and neither side "
    "is told. Only the missing heartbeat shows it.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "waits-for-ever": "Nothing came for 2.5 heartbeats, and the connection was kept. Set "
        "`sock_read`, in seconds."
    },
)
def silence(follower: Follower) -> None:
    limit = 2.5 * HEARTBEAT
    all_arrive(follower, "stalled", 30, "waits-for-ever", seconds=limit + PATIENCE)
    first, second = (when for when, _ in follower.lab.requests("stalled")[:2])
    if second - first > 2 * limit:
        raise follower.fail("waits-for-ever", "stalled", f"a second request after {limit:g} s")


@suite.check(
    "stays",
    "It keeps a connection that is quiet and alive",
    todo=5,
    after=("resumes",),
    why="A stream may have nothing to say for hours. Its heartbeats say that it is alive, and "
    "one of them may be late.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "impatient": "Your client gave the connection up before a heartbeat that was a little "
        "late. Wait for 2.5 heartbeats.",
        "total": "Heartbeats kept coming, and still your client gave the connection up: "
        "something limits its total time. Set `total=None`.",
    },
)
def stays(follower: Follower) -> None:
    def requests() -> list[float]:
        return [when for when, _ in follower.lab.requests("quiet")]

    def beats() -> int:
        return follower.lab.hub.beats.get("/events/quiet", 0)

    follower.wait(lambda: beats() >= QUIET_BEATS or len(requests()) > 1, seconds=SLOW)
    if len(requests()) == 1:
        return
    # A busy machine makes some connections last longer than they should: the shortest counts.
    follower.wait(lambda: len(requests()) > 3)
    lasted = min(later - earlier for earlier, later in itertools.pairwise(requests()))
    hint = "impatient" if lasted < 2 * HEARTBEAT else "total"
    raise follower.fail(hint, "quiet", "one request, however long the stream is quiet")
