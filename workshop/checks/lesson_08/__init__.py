"""The checks of lesson 08: an agent whose calls can be seen on the wire."""

from __future__ import annotations

from workshop.checks.engine import Suite
from workshop.checks.lesson_08.lab import TOOLS, WHY, Lab, open_program

SDK = "openai-agents"
COURSE = "this course"
LEAST_SECONDS = 30.0

suite = Suite(
    "08_agent",
    open_program=open_program,
    start_heading="The exercise",
    start_title="The program starts, and asks for a request",
    start_hint="Run the file yourself and read the last lines it prints.",
    printed=lambda lab: "".join(lab.output),
)


@suite.check(
    "connects",
    "It opens the stream, and introduces itself",
    todo=1,
    why="Without a connection an agent has no tools. It answers all the same.",
    read="One turn",
    rule="HTTP+SSE 2024-11-05",
    hints={
        "no-stream": "No GET came to the server. `servers` returns a list: is there an "
        "`MCPServerSse` in it, with a dictionary that has the `url`?",
    },
)
def connects(lab: Lab) -> None:
    if not lab.streams or not lab.handshakes:
        raise lab.fail("no-stream", "look", "GET /sse, and POST initialize")


@suite.check(
    "waits-long-enough",
    "A call may take 30 seconds",
    todo=1,
    after=("connects",),
    why="A tool that searches or compiles takes longer than the 5 seconds of openai-agents.",
    read="When a call fails",
    rule=SDK,
    hints={
        "too-short": "The limit is a named argument of `MCPServerSse` itself, "
        "`client_session_timeout_seconds`, and not one of the settings beside the URL.",
    },
)
def waits_long_enough(lab: Lab) -> None:
    if lab.seconds is None or lab.seconds < LEAST_SECONDS:
        raise lab.fail("too-short", "look", f"{LEAST_SECONDS:g} s, and it is {lab.seconds} s")


@suite.check(
    "answers",
    "A request leads to a call, and its result to an answer",
    todo=2,
    after=("connects",),
    why="What a model says without a tool, it has made up.",
    read="One turn",
    rule=SDK,
    hints={
        "no-call": "There was an answer, and no call had reached the server: "
        "has the agent been run at all?",
        "no-answer": "The call was made, and its result did not get into the answer. "
        "Print what the run's result has as its final output, as a text.",
        "failed": "The run ended in an error. The line that it printed says which.",
        "nothing-printed": "The request had no answer: nothing, or an empty line, was printed.",
    },
)
def answers(lab: Lab) -> None:
    wanted = "POST tools/call look, and an answer that says what the tool returned"
    turn = lab.turns["look"]
    if lab.crashed_in == "look":
        raise lab.crash("look", wanted)
    if not turn.printed:
        raise lab.fail("nothing-printed", "look", wanted)
    if any(line.startswith("That failed") for line in turn.printed):
        raise lab.fail("failed", "look", wanted, at="That failed")
    if not lab.called("look", "look"):
        raise lab.fail("no-call", "look", wanted, at="** prints")
    if turn.answer() != "The model was told: look was done.":
        raise lab.fail("no-answer", "look", wanted, at="** prints")


@suite.check(
    "hides",
    "The model does not see a tool that is hidden with --without",
    todo=3,
    after=("answers",),
    why="What a model does not see, nobody can talk it into calling.",
    read="Which tools",
    rule=SDK,
    hints={
        "seen": "The tool's name was in `without`, and the model saw it. "
        "Is the filter given to the server, and does it return False for this tool?",
    },
)
def hides(lab: Lab) -> None:
    if "hidden" in lab.turns["look"].tools:
        raise seen(lab, "seen", "hidden")


@suite.check(
    "hides-internal",
    "The model does not see a tool that is for internal use",
    todo=3,
    after=("hides",),
    why="What a tool is for stands in its description: nothing else says it.",
    read="Which tools",
    rule=COURSE,
    hints={
        "seen": "Its description ends with “For internal use.” Capital letters make no "
        "difference in meaning: compare without them.",
    },
)
def hides_internal(lab: Lab) -> None:
    if "audit" in lab.turns["look"].tools:
        raise seen(lab, "seen", "audit")


@suite.check(
    "keeps-the-others",
    "The model sees all other tools, with or without a description",
    todo=3,
    after=("answers",),
    why="A filter that raises hides the tool: it fails closed, and says nothing.",
    read="Which tools",
    rule=SDK,
    hints={
        "raises": "The tool `stir` has no description, and it is gone: does your filter "
        "look for a text in None?",
        "too-few": "A tool is gone that nothing was said against.",
    },
)
def keeps_the_others(lab: Lab) -> None:
    gone = [name for name in ("look", "stir", "erase", "broken") if name not in tools(lab)]
    if gone:
        raise seen(lab, "raises" if gone == ["stir"] else "too-few", gone[0])


def tools(lab: Lab) -> list[str]:
    return lab.turns["look"].tools


def seen(lab: Lab, hint: str, name: str) -> Exception:
    """A failure that shows which tools the model saw, with a caret under the one at fault."""
    turn = lab.turns["look"]
    turn.log.append(f"** the model saw: {', '.join(turn.tools)}")
    wanted = [one for one in TOOLS if one not in ("hidden", "audit")]
    return lab.fail(hint, "look", f"the model sees {', '.join(wanted)}", at=name)


@suite.check(
    "tells-why",
    "The model is told why a call failed",
    todo=4,
    after=("keeps-the-others",),
    why="A model that knows the reason can try something else, or tell its user.",
    read="When a call fails",
    rule=SDK,
    hints={
        "silent": "The server said why, and the model was not told. The reason is in the "
        "cause of the error, not in the error itself.",
        "ended": "A call that fails must not end the turn: return a text, and raise nothing.",
    },
)
def tells_why(lab: Lab) -> None:
    turn = lab.turns["fail"]
    wanted = f"The model is told: … {WHY}"
    if not turn.told:
        raise lab.fail("ended", "fail", wanted)
    if WHY not in turn.told[-1]:
        raise lab.fail("silent", "fail", wanted, at="** prints")


@suite.check(
    "asks-first",
    "A person is asked before a destructive call",
    todo=5,
    after=("keeps-the-others",),
    why="A model can be talked into anything. What was erased stays erased.",
    read="A person decides",
    rule="MCP: tool annotations",
    hints={
        "not-asked": "The call was made, and nobody was asked. `needs_a_person` must return "
        "True for a tool whose annotations say so.",
        "no-question": "The run stopped before the call, and nobody was asked: call "
        "`approved` with the call, written as Python would write it.",
    },
)
def asks_first(lab: Lab) -> None:
    turn = lab.turns["erase"]
    wanted = "Approve erase(what='draft')? before POST tools/call erase"
    if turn.calls and (not turn.asked or turn.asked_before[0] > 0):
        raise lab.fail("not-asked", "erase", wanted, at="-> POST tools/call erase")
    if not turn.asked:
        raise lab.fail("no-question", "erase", wanted)


@suite.check(
    "asks-only-then",
    "Nobody is asked about a call that destroys nothing",
    todo=5,
    after=("answers",),
    why="Somebody who is asked about everything soon says yes to everything.",
    read="A person decides",
    rule="MCP: tool annotations",
    hints={
        "asked": "This tool is not marked as destructive: it has no annotations, or they "
        "say False.",
    },
)
def asks_only_then(lab: Lab) -> None:
    for request, tool in (("look", "look"), ("stir", "stir")):
        turn = lab.turns[request]
        if turn.asked:
            raise lab.fail("asked", request, f"POST tools/call {tool} at once", at="Approve")


@suite.check(
    "does-as-told",
    "A call is made after yes, and never after no",
    todo=5,
    after=("asks-first",),
    why="A decision that has no effect is worse than none.",
    read="A person decides",
    rule=COURSE,
    hints={
        "rejected-was-made": "The person said no to this call, and it was made. Which call "
        "does each answer belong to?",
        "approved-was-not-made": "The person said yes to this call, and it was not made. Run "
        "the agent again on the state, once each call is approved or rejected.",
    },
)
def does_as_told(lab: Lab) -> None:
    erased = [one.get("what") for one in lab.called("erase", "erase")]
    wanted = "erase draft, and not diary"
    if "diary" in erased:
        raise lab.fail("rejected-was-made", "erase", wanted, at="diary")
    if "draft" not in erased:
        raise lab.fail("approved-was-not-made", "erase", wanted)


@suite.check(
    "asks-again",
    "Later calls of the same turn are asked about, too",
    todo=5,
    after=("does-as-told",),
    why="A model may want one more call after it has seen the first results.",
    read="A person decides",
    rule=COURSE,
    hints={
        "only-once": "After the first decisions the model wanted one more call, and the new "
        "result has interruptions again. `while`, not `if`.",
        "asked-twice": "One call was asked about more than once.",
    },
)
def asks_again(lab: Lab) -> None:
    turn = lab.turns["erase"]
    if not any("cache" in question for question in turn.asked):
        raise lab.fail("only-once", "erase", "Approve erase(what='cache')?")
    if len(set(turn.asked)) < len(turn.asked):
        raise lab.fail("asked-twice", "erase", "one question for each call", at="Approve")


@suite.check(
    "comes-back",
    "After a restart of the server it opens a new session",
    todo=6,
    after=("answers",),
    why="The old connection ended with the old process. No retry brings it back.",
    read="A server that dies",
    rule=COURSE,
    hints={
        "old-session": "The server was restarted, and no new stream was opened. Look before "
        "each request whether the session is alive, and let the manager reconnect: also to "
        "a server that it does not know to have failed.",
        "no-call": "A new stream was opened, and the call did not arrive.",
    },
)
def comes_back(lab: Lab) -> None:
    wanted = "GET /sse, then POST tools/call look"
    if len(lab.streams) == lab.streams_before_restart:
        raise lab.fail("old-session", "again", wanted)
    if not lab.called("again", "look"):
        raise lab.fail("no-call", "again", wanted)


@suite.check(
    "stays-connected",
    "While the server is there, its session stays",
    todo=6,
    after=("connects",),
    why="With the session goes what it holds: subscriptions, and results on their way.",
    read="A server that dies",
    rule=COURSE,
    hints={
        "reconnects": "The server was there all the time, and there was more than one stream. "
        "It does not know `ping`: a refusal is an answer, too. Look at the error's code.",
    },
)
def stays_connected(lab: Lab) -> None:
    if lab.streams_before_restart > 1:
        turns = [turn for turn in lab.turns.values() if any("GET" in line for line in turn.log)]
        request = turns[0].request if turns else "look"
        raise lab.fail("reconnects", request, "one GET /sse until the restart", at="-> GET")
