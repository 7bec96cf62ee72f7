"""Where the client may be sent."""

from __future__ import annotations

from workshop.checks.lesson_07.lab import Lab
from workshop.checks.lesson_07.opening import COURSE, TRANSPORT, suite


@suite.check(
    "endpoint-origin",
    "It sends nothing to any server but the one it connected to",
    todo=6,
    after=("returns-the-result", "catches-no-more"),
    why="The endpoint is data from outside. A server that may choose it freely can make the "
    "client send requests to any machine that the client can reach.",
    read="Where the client may be sent",
    rule=COURSE,
    hints={
        "went-there": "The endpoint was on another port, and was POSTed to. Compare the "
        "`origin()` of both URLs and raise Gone. (`session_opened` has to store the URL that "
        "`checked` returns.)",
        "looks-alike": "The endpoint only begins like the server's URL: what comes before an "
        "`@` is a user's name. Compare the `origin()` of both URLs.",
        "came-back": "The endpoint was refused, but the call did not end with Gone. A server "
        "that names such an endpoint will name it again: raise Gone, and nothing else.",
    },
)
def endpoint_origin(lab: Lab) -> None:
    lab.wait(
        lambda: all(
            lab.outcome(name, "look") is not None or lab.sites[f"not_{name}"].posts
            for name in ("elsewhere", "looks_alike")
        )
    )
    for name, hint in (("elsewhere", "went-there"), ("looks_alike", "looks-alike")):
        wanted = "no POST at all, and look raises Gone"
        if lab.sites[f"not_{name}"].posts:
            raise lab.fail(hint, name, wanted, at="-> POST")
        if (lab.outcome(name, "look") or {}).get("raised") != "Gone":
            raise lab.fail("came-back", name, wanted)


@suite.check(
    "own-origin",
    "It takes an absolute URL on the same server",
    todo=6,
    after=("returns-the-result",),
    why="The specification says that the endpoint is a URI. Many servers send an absolute one.",
    read="Where the client may be sent",
    rule=TRANSPORT,
    hints={
        "refused": "The endpoint was an absolute URL on the server itself, and was refused. "
        "Only `origin()` has to be the same.",
    },
)
def own_origin(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("absolute", "look") is not None)
    if (lab.outcome("absolute", "look") or {}).get("result") != "one":
        raise lab.fail("refused", "absolute", "the call returns", at="http:")
