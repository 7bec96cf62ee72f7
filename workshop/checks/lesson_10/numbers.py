"""What /metrics says: streams are not requests, and labels have few values."""

from __future__ import annotations

import secrets
import time

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from workshop.checks.answers import wrong_status
from workshop.checks.lesson_10.opening import Lab, suite
from workshop.checks.mcp_session import McpServer, Session, notification, request
from workshop.failed import Failed
from workshop.raw_client import Answer
from workshop.raw_stream import SOON

REQUESTS = "http_request_seconds"
STREAMS = "mcp_server_session_duration_seconds"
TIMES = 10  # requests of the check `requests`
NAMES = 10  # unknown names, of tools and of paths
PATHS = {"/sse", "/message", "/health", "/metrics", "/diagnosis"}


class Numbers:
    """What GET /metrics answered. Raises Failed with this hint if that can't be read."""

    def __init__(self, server: McpServer, hint: str = "crashed") -> None:
        self.answer: Answer = server.request("GET", "/metrics")
        self.text = self.answer.body.decode("utf-8", "replace")
        try:
            families: list[Metric] = list(text_string_to_metric_families(self.text))
        except Exception:  # the parser raises whatever its code runs into
            families = []
        self.samples = [sample for family in families for sample in family.samples]
        if self.answer.status != 200 or not self.samples:
            wanted = "the text that generate_latest() makes"
            raise wrong_status(hint, self.answer, wanted)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels; 0 if there are none."""
        wanted = labels.items()
        found = [one for one in self.samples if one.name == name]
        return sum(one.value for one in found if wanted <= one.labels.items())

    def lines(self, *names: str) -> str:
        """The lines of these samples, as they came."""
        return "\n".join(line for line in self.text.splitlines() if line.startswith(names))


def when_quiet(server: McpServer) -> Numbers:
    """The metrics once the server has noticed that all its clients have left."""
    deadline = time.monotonic() + SOON
    while True:
        numbers = Numbers(server)
        if numbers.value("mcp_streams_active") == 0 or time.monotonic() > deadline:
            return numbers
        time.sleep(0.02)  # it notices in a moment


@suite.check(
    "metrics",
    "Prometheus can read GET /metrics",
    read="Run it",
    rule="Prometheus, exposition formats: the text format",
    why="The checks need these numbers, and so do you.",
    hints={
        "unreadable": "GET /metrics does not answer with metrics in Prometheus's text format. "
        "Did you change the route? Compare it with a fresh starter, where it works.",
    },
)
def metrics(lab: Lab) -> None:
    for name in lab.programs:
        Numbers(lab.server(name), "unreadable")


@suite.check(
    "sessions",
    "The session of an open stream accepts messages",
    after=("metrics",),
    read="Run it",
    rule="MCP 2024-11-05: messages are sent with POST to the URI of the `endpoint` event",
    why="Without it there is nothing to measure.",
    hints={
        "too-early": "The stream is open, but POST does not find its session. It was closed "
        "before its client left.",
    },
)
def sessions(lab: Lab) -> None:
    for todo, name in enumerate(lab.programs, start=5):
        with Session.open(lab.server(name), initialize=False) as session:
            answer = session.post(notification("there?"))
            if answer.status != 202:
                raise wrong_status("too-early", answer, "HTTP status 202", todo=todo)


@suite.check(
    "requests",
    "A stream's lifetime is not the time of a request",
    todo=1,
    after=("sessions",),
    read="The number that lies",
    rule="this course",
    why="With streams in it, the 95th percentile says how long clients listen. A server that "
    "answers in milliseconds then looks slow, and one that really is slow looks no different.",
    hints={
        "stream-in-requests": "A stream was opened and closed, and its lifetime is in the "
        "histogram of requests.",
        "stream-nowhere": "A stream was opened and closed, and its lifetime is in neither "
        "histogram.",
        "stream-in-both": "The stream's lifetime is where it belongs, but also in the "
        "histogram of requests. Is there an `else`?",
        "request-nowhere": "Requests were answered, but the histogram of requests did not "
        "count them.",
        "request-in-streams": "The histogram of streams counts requests, too. Only what is "
        "answered with an event stream is a stream.",
        "other-unit": "The stream's lifetime is counted, but the sum grew by far more or far "
        "less than the seconds that it lasted.",
    },
    alone=True,  # it counts every request to the server
)
def requests(lab: Lab) -> None:
    server = lab.server("cedar")
    before = when_quiet(server)  # other checks have just closed their streams
    began = time.monotonic()
    with Session.open(server, initialize=False) as session:
        opened = time.monotonic()
        for number in range(TIMES):
            session.post(request(number, "ping"))
        shortest = time.monotonic() - opened
        sent = f"{session.stream.request}\n\nPOST {session.endpoint}\n({TIMES} pings)"
    sent = f"{sent}\n\n(the client closes its stream)\n\nGET /metrics"

    def grew(name: str, **labels: str) -> float:
        return now.value(name, **labels) - before.value(name, **labels)

    now = when_quiet(server)
    longest = time.monotonic() - began
    streams = grew(f"{STREAMS}_count")
    in_requests = sum(
        one.value
        for one in now.samples
        if one.name == f"{REQUESTS}_count" and one.labels.get("path", "").startswith("/sse")
    )
    lasted = grew(f"{STREAMS}_sum")
    wrong = None
    if in_requests:
        wrong = "stream-in-both" if streams else "stream-in-requests"
    elif not streams:
        wrong = "stream-nowhere"
    elif streams > 1:
        wrong = "request-in-streams"
    elif grew(f"{REQUESTS}_count") < TIMES:
        wrong = "request-nowhere"
    elif not 0.9 * shortest <= lasted <= 1.1 * longest:
        wrong = "other-unit"
    if wrong is None:
        return
    counts = (f"{REQUESTS}_count", f"{REQUESTS}_sum", f"{STREAMS}_count", f"{STREAMS}_sum")
    lines = now.lines(*counts)
    mark = f'{REQUESTS}_count{{path="/sse' if in_requests else f"{STREAMS}_"
    raise Failed(
        wrong,
        sent=sent,
        received=lines,
        at=max(lines.find(mark), 0),
        wanted=f"{STREAMS}_count grows by 1, its sum by {shortest:.3f} to {longest:.3f}, and "
        f"{REQUESTS}_count by at least {TIMES}, none of them for /sse",
    )


@suite.check(
    "labels",
    "Nothing that comes from outside becomes a label",
    todo=2,
    after=("sessions",),
    read="Keep labels bounded",
    rule="Prometheus, metric and label naming: no labels with an unbounded set of values",
    why="Each value of a label is a new time series, in your server's memory and in "
    "Prometheus's. Anyone can make up names until one of them runs out of memory.",
    hints={
        "session-id": "The id of a session is in a label. Each session adds a time "
        "series, and anyone who reads /metrics can send messages in that session.",
        "path": "A path that the server does not have became a label.",
        "query": "The path is known, but its query, which can be anything, is in the label.",
        "tool": "The name of a tool that does not exist became a label.",
        "no-string": "The name of a tool was a list, which is valid JSON, and no reply came. "
        "Did `in` raise TypeError? Check first that the name is a string.",
        "all-other": "A known tool or path does not have its own label any more, so you can't "
        "see which one it was.",
    },
)
def labels(lab: Lab) -> None:
    server = lab.server("birch")
    mark = secrets.token_hex(6)
    with Session.open(server, initialize=False) as session:
        for number in range(NAMES):
            server.request("GET", f"/{mark}-{number}")
            session.ask("tools/call", {"name": f"{mark}-{number}", "arguments": {}})
        server.request("GET", f"/metrics?{mark}=1")
        known = session.ask("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        asked = session.post(request("list", "tools/call", {"name": ["add"]}))
        answered = session.reply("list") is not None
        session_id = session.endpoint.partition("=")[2]
        numbers = Numbers(server)
    sent = f"POST {session.endpoint} and others\n\nGET /metrics"
    for one in numbers.samples:
        for label, value in one.labels.items():
            if session_id and session_id in value:
                wrong = "session-id"
            elif mark in value:
                query = "?" in value and not value.startswith(f"/{mark}")
                wrong = "tool" if label == "tool" else "query" if query else "path"
            else:
                continue
            lines = [line for line in numbers.text.splitlines() if value in line]
            raise Failed(
                wrong,
                sent=sent,
                received=lines[0] if lines else value,
                at=lines[0].find(value) if lines else 0,
                wanted=f'{label}="other"' if wrong != "query" else f'{label}="/metrics"',
            )
    if not answered:
        raise Failed("no-string", sent=asked.request, wanted="an error in reply")
    for label, values, example in (("tool", {"add"}, "add"), ("path", PATHS, "/message")):
        shown = {one.labels[label] for one in numbers.samples if label in one.labels}
        if shown and not shown & values:
            raise Failed(
                "all-other",
                sent=f"{known.sent}\n\nGET /metrics",
                received=numbers.lines("mcp_tool_seconds_count", f"{REQUESTS}_count"),
                wanted=f'{label}="{example}"',
            )
