"""Lesson 10's exercise: its three patients show what they have, and any cure passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.checks.engine import Report, check_program
from workshop.checks.lesson_10 import suite
from workshop.checks.lesson_10.numbers import Numbers, when_quiet
from workshop.checks.mcp_session import McpServer, Session, request
from workshop.course import ROOT
from workshop.running import running

pytestmark = pytest.mark.usefixtures("warm")

SOLUTION = ROOT / "solutions/10_observability/exercise.py"
STARTER = ROOT / "scripts/10_observability/exercise.py"
NAMES = ("ash", "birch", "cedar")
BLOCKS = 0.6  # seconds

# ---- The evidence: what the metrics say of each of the three, before anything is mended -----


@pytest.fixture(scope="module")
def loaded(warm: None) -> dict[str, Numbers]:
    """The metrics of each server, after the same load and without any client."""
    found: dict[str, Numbers] = {}
    for name in NAMES:
        # Short: three heartbeats are due while a tool blocks the loop.
        with running(
            STARTER, "--server", name, env={"HEARTBEAT_SECONDS": str(BLOCKS / 3)}
        ) as program:
            server = McpServer(f"{program.url}/sse", program, exact=True)
            with Session.open(server, initialize=False) as session:
                call = {"name": "wait", "arguments": {"seconds": BLOCKS}}
                session.post(request(1, "tools/call", call))
                session.post(request(2, "ping"))
                assert session.reply(1, seconds=10) is not None
                assert session.reply(2, seconds=10) is not None
                # Late or not, one comes after these.
                assert session.stream.wait(
                    lambda stream: b"\n: heartbeat" in stream.raw[stream.events[-1].end - 1 :],
                    seconds=10,
                )
            found[name] = when_quiet(server)
    return found


def mean(numbers: Numbers, name: str) -> float:
    return numbers.value(f"{name}_sum") / numbers.value(f"{name}_count")


def test_only_birch_has_sessions_without_streams(loaded: dict[str, Numbers]) -> None:
    sessions = {name: loaded[name].value("mcp_sessions") for name in NAMES}
    assert sessions == {"ash": 0, "birch": 1, "cedar": 0}


def test_only_cedars_heartbeats_are_late(loaded: dict[str, Numbers]) -> None:
    late = {name: mean(loaded[name], "mcp_heartbeat_late_seconds") for name in NAMES}
    assert max(late, key=late.__getitem__) == "cedar"
    in_time = loaded["cedar"].value("mcp_heartbeat_late_seconds_bucket", le="0.25")
    assert in_time < loaded["cedar"].value("mcp_heartbeat_late_seconds_count")


def test_only_ashs_events_wait(loaded: dict[str, Numbers]) -> None:
    waited = {name: mean(loaded[name], "mcp_event_wait_seconds") for name in NAMES}
    assert max(waited, key=waited.__getitem__) == "ash"
    assert waited["ash"] > 5 * waited["birch"]


# ---- Other solutions that are as good ------------------------------------------------------

Edits = list[tuple[str, str]]

ONE_WAY: Edits = [
    ('if kind.startswith("text/event-stream"):', 'if path == "/sse" and status == 200:'),
    (
        'return scope["path"] if scope["path"] in PATHS else "other"',
        'return {path: path for path in PATHS}.get(scope["path"], "unknown")',
    ),
    (
        'return name if isinstance(name, str) and name in TOOLS else "other"',
        'return str(name) if name in list(TOOLS) else "unknown tool"',
    ),
    # The id is in the text, and Python's own logging writes the line.
    ("error_id = secrets.token_hex(8)", "error_id = secrets.token_urlsafe(9) + '0'"),
    (
        'log("call failed", id=error_id, session=session.name, error=kind, where=where)',
        'logging.error("%s broke: %r in %s", error_id, type(error), where)',
    ),
    (
        '"message": "Internal error", "data": {"id": error_id}}',
        '"message": f"Internal error {error_id}"}',
    ),
    # Whatever waits already goes out together.
    (
        "        while event := await session.next_event():\n            yield [event]\n",
        "        batch: list[Event] = []\n"
        "        while event := await session.next_event():\n"
        "            batch.append(event)\n"
        "            if session.waiting.empty():\n"
        "                yield batch\n"
        "                batch = []\n"
        "        yield batch\n",
    ),
    (
        "        try:\n            await carry()\n        finally:\n"
        "            session.close()\n        # --- starter\n",
        "        with contextlib.ExitStack() as stack:\n"
        "            stack.callback(session.close)\n"
        "            await carry()\n        # --- starter\n",
    ),
    (
        "        call = asyncio.to_thread(tool, **arguments)\n"
        "        return await asyncio.wait_for(call, TOOL_LIMIT)\n",
        "        import anyio.to_thread\n\n"
        "        call = functools.partial(tool, **arguments)\n"
        "        return await anyio.to_thread.run_sync(call)\n",
    ),
    # One after the other, not drawn; with another line end, and a comment before it.
    (
        "    for session in list(sessions.values()):\n",
        "    for number, session in enumerate(list(sessions.values())):\n",
    ),
    (
        'session.send(b"retry: %d\\n\\n" % random.randint(0, 1000 * SPREAD_SECONDS))',
        'session.send(b": bye\\r\\nretry:%d\\r\\n\\r\\n" % (number * 700))',
    ),
]
ANOTHER_WAY: Edits = [
    ("error_id = secrets.token_hex(8)", "error_id = str(time.time_ns())"),
    ('"data": {"id": error_id}}', '"data": error_id}'),
    (
        'log("call failed", id=error_id, session=session.name, error=kind, where=where)',
        "print(error_id, kind, flush=True)",
    ),
    (
        "        call = asyncio.to_thread(tool, **arguments)\n"
        "        return await asyncio.wait_for(call, TOOL_LIMIT)\n",
        "        from concurrent.futures import ThreadPoolExecutor\n\n"
        "        call = functools.partial(tool, **arguments)\n"
        "        loop = asyncio.get_running_loop()\n"
        "        pool = ThreadPoolExecutor(1)\n"
        "        try:\n"
        "            return await loop.run_in_executor(pool, call)\n"
        "        finally:\n"
        "            pool.shutdown(wait=False)\n",
    ),
]


def checked(edits: Edits, folder: Path) -> Report:
    """The report on the solution with these changes."""
    text = SOLUTION.read_text(encoding="utf-8")
    for find, replace in edits:
        assert text.count(find) == 1, find
        text = text.replace(find, replace)
    program = folder / "exercise.py"
    program.write_text(text, encoding="utf-8")
    return check_program(suite, program)


@pytest.mark.parametrize("edits", [ONE_WAY, ANOTHER_WAY])
def test_other_solutions_pass(edits: Edits, tmp_path: Path) -> None:
    report = checked(edits, tmp_path)
    assert report.ok, report.as_json()


def test_a_traceback_in_the_log_is_not_held_against_the_file(tmp_path: Path) -> None:
    """It should not be there, but the tool in it fails on purpose."""
    kind = "kind = type(error).__name__"
    report = checked([(kind, f"traceback.print_exception(error)\n    {kind}")], tmp_path)
    assert report.ids("failed") == ["errors"], report.as_json()
    assert report.complaints == []


# ---- Anything may be in a learner's file ---------------------------------------------------


@pytest.mark.parametrize(
    ("find", "replace", "check"),
    [
        ("return JSONResponse(diagnosis())", "return JSONResponse([1, 2])", "diagnosis"),
        (
            '{"leaks": "birch", "blocks": "cedar", "buffers": "ash"}',
            '{"leaks": ["birch"], "blocks": None, "buffers": {}}',
            "diagnosis",
        ),
        ('Route("/metrics", metrics),', "", "metrics"),
        (
            "Event(raw, time.perf_counter())",
            "Event(raw.replace(b'jsonrpc', b'\\xff\"'), 0)",
            "labels",
        ),
    ],
)
def test_what_nobody_expects_is_a_finding(
    find: str, replace: str, check: str, tmp_path: Path
) -> None:
    report = checked([(find, replace)], tmp_path)
    assert check in report.ids("failed"), report.as_json()
