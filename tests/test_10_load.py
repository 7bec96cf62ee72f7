"""Lesson 10's load: what it measures is so, and it says what is wrong instead of hanging."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from ptyprocess import PtyProcess

from tests.folder_modules import modules_in
from tests.observed_parts import FOLDER, OBSERVED
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

LOAD = FOLDER / "load.py"
LESSON_05 = ROOT / "scripts/05_sse_server/sse_server.py"

LEAST_SHARE = 0.85  # of lesson 05's calls: what it costs to be looked into is the rest

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def observed() -> Iterator[Program]:
    with running(OBSERVED) as program:
        yield program


def load(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LOAD), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment({"COLUMNS": "80"}),
    )


def measured(*arguments: str) -> dict[str, Any]:
    """What a load of one server saw."""
    run = load(*arguments, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)["loads"][-1]


def metric(program: Program, name: str) -> float:
    """The sum of all samples whose line begins like this pattern. There may be none yet."""
    with urllib.request.urlopen(f"{program.url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if re.match(rf"{name}(?![a-z_])", line)
    )


@contextmanager
def loading(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(LOAD), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment({"COLUMNS": "80"}),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_it_calls(program: Program, calls: float) -> None:
    wait_until(lambda: metric(program, "mcp_tool_seconds_count") > calls)


# --- What it measures ---------------------------------------------------------------------


def test_it_agrees_with_the_server(observed: Program) -> None:
    """Within one in a hundred: in fact each call is counted by both."""
    opened = metric(observed, "mcp_streams_opened_total")
    calls = metric(observed, "mcp_tool_seconds_count")
    saw = measured(f"{observed.url}/sse", "--streams", "20", "--seconds", "0.5")
    counted = metric(observed, "mcp_tool_seconds_count") - calls
    assert saw["calls"] > 10
    assert abs(saw["calls"] - counted) <= 0.01 * counted
    assert saw["server_calls"] == counted
    # One more, with which it looks at what is there.
    assert metric(observed, "mcp_streams_opened_total") - opened == 21
    assert saw["streams"] == saw["open_at_the_end"] == 20
    assert saw["errors"] == {}
    assert 0 < saw["p50"] <= saw["p95"] <= saw["p99"]
    assert abs(saw["calls_a_second"] - saw["calls"] / 0.5) < 0.2 * saw["calls_a_second"]


def test_it_notices_calls_that_the_server_counts_and_it_does_not(observed: Program) -> None:
    """Somebody else calls meanwhile: the table says how far the two are apart."""
    report = modules_in(FOLDER, LOAD_MODULES)["load_report"]
    assert report.server_calls(a_run(calls=1000, server_calls=1009)) == "1,009"
    assert report.server_calls(a_run(calls=1000, server_calls=1200)) == "1,200 (20% off)"
    assert report.server_calls(a_run(calls=0, server_calls=0)) == "0"


LOAD_MODULES = (
    *("event_stream", "load_client", "load_servers", "load_inside", "load_run", "load_report"),
)


def a_run(**changed: Any) -> Any:
    module = modules_in(FOLDER, LOAD_MODULES)["load_run"]
    nothing = dict.fromkeys(module.Measured.__dataclass_fields__)
    return module.Measured(**(nothing | {"errors": {}} | changed))


def test_percentiles_are_times_that_were_measured() -> None:
    percentile = modules_in(FOLDER, LOAD_MODULES)["load_run"].percentile
    times = [number / 1000 for number in range(1, 101)]
    assert [percentile(times, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([0.007], 0.5) == percentile([0.007], 0.99) == 7
    assert percentile([], 0.5) is None


def test_the_servers_p95_is_the_end_of_its_bucket() -> None:
    inside = modules_in(FOLDER, LOAD_MODULES)["load_inside"]
    before = inside.Inside(calls=10, buckets=inside.Counter({0.1: 10, 1.0: 10}))
    after = inside.Inside(calls=110, buckets=inside.Counter({0.1: 104, 1.0: 110}))
    assert after.calls_since(before) == 100
    assert after.slowest_since(before, 0.94) == 0.1
    assert after.slowest_since(before, 0.95) == 1.0
    assert before.slowest_since(before, 0.95) is None


def test_the_table_is_made_for_80_columns(observed: Program) -> None:
    run = load(f"{observed.url}/sse", "--streams", "12", "--seconds", "0.2")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines), run.stdout
    shown = {line[:24].strip(): line[24:].strip() for line in lines}
    assert shown["streams open"] == "12"
    assert shown["errors"] == "none"
    assert shown["calls"] == shown["the server counted"]
    for percent in ("time to an answer: p50", "p95", "p99"):
        assert re.fullmatch(r"[\d,]+\.\d ms", shown[percent]), run.stdout
    assert re.fullmatch(r"at most [\d.]+ ms", shown["p95 in the server"])


def test_a_server_without_metrics_is_measured_too() -> None:
    with running(LESSON_05) as program:
        run = load(f"{program.url}/sse", "--streams", "2", "--seconds", "0.2")
    assert run.returncode == 0, run.stderr
    assert re.search(r"^  the server counted +\?$", run.stdout, re.M), run.stdout
    assert re.search(r"^calls +[1-9]", run.stdout, re.M)


def test_a_thousand_streams(observed: Program) -> None:
    """All open, all initialized, and calls are answered as if they were alone."""
    saw = measured(f"{observed.url}/sse", "--streams", "1000", "--seconds", "0.5")
    assert saw["streams"] == saw["open_at_the_end"] == 1000
    assert saw["errors"] == {}
    assert saw["server_calls"] == saw["calls"] > 0
    # 28 KiB here. Ten times as much, and a thousand streams would be 0.3 GiB.
    assert 1 < saw["kib_a_stream"] < 100


def test_the_plot_is_a_picture_for_a_slide(observed: Program, tmp_path: Path) -> None:
    file = tmp_path / "load.png"
    url = f"{observed.url}/sse"
    run = load(url, "--streams", "12", "--seconds", "0.1", "--plot", str(file))
    assert run.returncode == 0, run.stderr
    assert run.stderr == f"Drawn: {file}\n"
    assert re.search(r"^streams open +1 +10 +12$", run.stdout, re.M), run.stdout
    header = file.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert struct.unpack(">II", header[16:]) == (1280, 720)


def test_what_is_drawn_is_what_was_measured(tmp_path: Path, monkeypatch: Any) -> None:
    plot = modules_in(FOLDER, (*LOAD_MODULES, "load_plot"))["load_plot"]
    figures: list[Any] = []
    monkeypatch.setattr(plot.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    times = {1: (1.0, 2.0, 3.0), 10: (4.0, 5.0, 6.0), 1000: (7.0, 7.0, 7.0)}
    runs = [a_run(streams=n, p50=p50, p95=p95, p99=p99) for n, (p50, p95, p99) in times.items()]
    plot.draw(runs, 1, tmp_path / "load.png")
    [axes] = figures[0].axes
    assert axes.get_xlabel() == "open streams"
    assert axes.get_ylabel() == "time to an answer (ms)"
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 4, 7], [2, 5, 7], [3, 6, 7]]
    assert all(list(line.get_xdata()) == [1, 10, 1000] for line in axes.lines)
    names = {text.get_text(): text.xy[1] for text in axes.texts}
    assert list(names) == ["p50", "p95", "p99"]
    # The three lines end in one point, and their names are apart all the same.
    assert names["p50"] < names["p95"] < names["p99"]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["1", "10", "1,000"]


# --- When something is wrong --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--streams", "0"], "--streams must be 1 or more"),
        (["--streams", "many"], "invalid int value: 'many'"),
        (["--streams", "3", "--callers", "4"], "--callers must be between 1 and the 3 streams"),
        (["--callers", "0"], "--callers must be between 1 and the 100 streams"),
        (["--seconds", "0"], "--seconds must be more than 0, and 3600 at most"),
        (["--seconds", "nan"], "--seconds must be more than 0, and 3600 at most"),
        (["--plot", "no-such-folder/a.png"], "There is no folder no-such-folder"),
        (["--compare", "a.py", "b.py", "--plot", "a.png"], "it takes no URL and no --plot"),
        (["--compare", "no-a.py", "no-b.py"], "There is no program no-a.py"),
        (["nonsense"], "nonsense is not the URL of an event stream"),
        (["{none}/sse"], "No server answers at {none}/sse: cannot connect"),
        (["{url}/"], "{url}/ answers 404"),
        (["{url}/health"], "{url}/health is not an event stream, but application/json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_says_what_is_wrong(observed: Program, arguments: list[str], said: str) -> None:
    names = {"url": observed.url, "none": f"http://{HOST}:{free_port()}"}
    run = load(*(argument.format(**names) for argument in arguments))
    assert run.returncode in (1, 2)
    assert said.format(**names) in run.stderr
    assert "Traceback" not in run.stderr


def test_other_event_streams_are_told_apart() -> None:
    with running(ROOT / "scripts/03_event_hub/hub_server.py") as hub:
        run = load(f"{hub.url}/events/orders", "--streams", "2")
    assert run.returncode == 1
    assert "is an event stream, but not MCP's" in run.stderr


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ("event: endpoint\ndata: http://127.0.0.1:9/message\n\n", "endpoint on another origin"),
        ("event: endpoint\ndata: http://[\n\n", "neither JSON nor a URL"),
        ("data: {\n\n", "neither JSON nor a URL"),
        ("data: [1]\n\ndata: {}\n\n" + 'data: {"id":1,"error":0}\n\n', "not a reply"),
    ],
)
async def test_what_no_server_should_send(events: str, kind: str) -> None:
    client = modules_in(FOLDER, LOAD_MODULES)["load_client"]

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if "endpoint" not in events:
            await response.write(b"event: endpoint\ndata: /message\n\n")
            await posted.wait()
        await response.write(events.encode())
        await asyncio.sleep(60)
        return response

    async def message(request: web.Request) -> web.Response:
        posted.set()
        return web.Response(status=202)

    posted = asyncio.Event()
    app = web.Application()
    app.router.add_get("/sse", stream)
    app.router.add_post("/message", message)
    results = client.Results()
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        staying = asyncio.create_task(
            client.LoadClient(http, str(server.make_url("/sse")), results).stay()
        )
        async with asyncio.timeout(5):
            while not results.errors:  # noqa: ASYNC110 (it is only counted)
                await asyncio.sleep(0.01)
        assert not staying.done()
        staying.cancel()
    assert kind in results.errors


def test_too_few_open_files_are_said_before_anything_is_opened(observed: Program) -> None:
    limited = f"ulimit -n 256; exec {sys.executable} {LOAD} {observed.url}/sse --streams 1000"
    run = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert run.stderr == (
        "This takes about 1,200 open files, and this process may have 256 (ulimit -Hn).\n"
        "Open fewer streams: --streams\n"
    )


def test_where_the_system_has_no_such_limit_there_is_none() -> None:
    """Windows has no module `resource`."""
    code = (
        "import sys; sys.platform = 'win32'; sys.modules['resource'] = None\n"
        "from load_servers import more_files; more_files(10**9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_shows_what_was_measured_so_far(observed: Program, how: signal.Signals) -> None:
    calls = metric(observed, "mcp_tool_seconds_count")
    with loading(f"{observed.url}/sse", "--streams", "10", "--seconds", "3000") as process:
        wait_until_it_calls(observed, calls)
        process.send_signal(how)
        printed, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + how
    assert re.search(r"^calls +[1-9]", printed, re.M), printed
    assert " off)" not in printed  # calls that were under way got their answers
    assert "Traceback" not in printed


def test_a_server_that_dies_is_counted_by_kind_and_not_waited_for() -> None:
    with running(OBSERVED) as program:
        arguments = (f"{program.url}/sse", "--streams", "10", "--seconds", "2", "--json")
        with loading(*arguments) as process:
            wait_until_it_calls(program, 0)
            program.stop(signal.SIGKILL)
            printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0, printed
    [saw] = json.loads(printed)["loads"]
    assert (saw["streams"], saw["open_at_the_end"]) == (10, 0)
    assert saw["calls"] > 0
    assert (
        saw["errors"].get("stream cut off", 0) + saw["errors"].get("connection lost", 0) >= 10
    )
    assert saw["errors"]["cannot connect"] >= 10
    assert saw["server_calls"] is None


def test_streams_that_came_back_are_counted() -> None:
    port = free_port()
    with running(OBSERVED, port=port, env={"SPREAD_SECONDS": "0.5"}) as first:
        arguments = (f"{first.url}/sse", "--streams", "20", "--seconds", "3000", "--json")
        with loading(*arguments) as process:
            wait_until_it_calls(first, 0)
            first.stop()
            with running(OBSERVED, port=port) as second:
                initialized = 'mcp_server_operation_duration_seconds_count{.*"initialize"'
                wait_until(lambda: metric(second, initialized) == 20)
                process.send_signal(signal.SIGINT)
                printed, _ = process.communicate(timeout=20)
    assert process.returncode == 130, printed
    [saw] = json.loads(printed)["loads"]
    assert saw["came_back"] == saw["streams"] == saw["open_at_the_end"] == 20
    soonest, latest = saw["came_back_within"]
    assert 0 < soonest < latest
    # The second server counts from 0: its number says nothing about the load.
    assert saw["server_calls"] is None


def test_the_bar_fits_into_80_columns(observed: Program) -> None:
    command = [sys.executable, str(LOAD), f"{observed.url}/sse", "--streams", "60"]
    terminal = PtyProcess.spawn(
        [*command, "--seconds", "0.4"],
        dimensions=(24, 80),
        env=environment({"TERM": "xterm", "COLUMNS": "80"}),
    )
    printed = b""
    try:
        while True:
            printed += terminal.read()
    except EOFError:
        pass
    assert terminal.wait() == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", printed.decode()))
    assert all(len(line) <= 80 for line in lines), lines
    assert any(re.fullmatch(r"opening [━╸╺ ]+ \d+ of 60 streams", line) for line in lines)
    assert any(re.fullmatch(r"calling [━╸╺ ]+ 0 of 0 s", line) for line in lines), lines


def test_a_notebook_gets_no_bar(observed: Program) -> None:
    """Jupyter sets FORCE_COLOR. Each step of the bar would be one more line in its cell."""
    run = subprocess.run(
        [sys.executable, str(LOAD), f"{observed.url}/sse", "--seconds", "0.2"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({"COLUMNS": "80", "FORCE_COLOR": "1"}),
    )
    assert run.returncode == 0, run.stderr
    assert "calling" not in run.stdout
    assert "streams open" in run.stdout


# --- What it costs to be looked into ------------------------------------------------------


def share_of_lesson_05() -> tuple[float, float]:
    """Of its calls a second: the median of rounds in turn, and by processor time alone."""
    run = load(
        "--compare",
        str(LESSON_05),
        str(OBSERVED),
        "--streams",
        "20",
        "--seconds",
        "2",
        "--json",
    )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    plain, observed = (one["server_processor_ms"] for one in said["loads"])
    ratios = sorted(said["ratios"])
    return ratios[len(ratios) // 2], plain / observed


@pytest.mark.quiet
def test_what_can_be_looked_into_makes_nearly_as_many_calls() -> None:
    shares = share_of_lesson_05()
    if min(shares) < LEAST_SHARE:
        shares = share_of_lesson_05()
    assert min(shares) >= LEAST_SHARE, shares


def test_a_few_calls_a_second_have_a_span_and_no_more() -> None:
    """What makes the difference: a span for each call costs a fifth of it."""
    with running(OBSERVED) as program:
        saw = measured(f"{program.url}/sse", "--streams", "8", "--seconds", "1")
        program.stop()
    spans = re.findall(r'"name": "((?:tools|GET|POST)[^"]*)"', program.output)
    assert 1 <= spans.count("tools/call add") <= 30 < saw["calls"]
    # FastAPI makes spans of its own, if it is let: with the session's id in `url.query`.
    assert not [span for span in spans if span.startswith(("GET", "POST"))]
