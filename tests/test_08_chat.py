"""`chat.py` as people use it: in a pipe, in a terminal, and with servers that come and go."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.parts import NO_MODEL, require
from tests.test_file_changes import Terminal
from workshop.course import ROOT
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/08_agent"
HUB = ROOT / "scripts/03_event_hub/hub_server.py"
READY = "Type a request, or /help."
SECONDS = 30.0


class Chat(Program):
    """`chat.py` with its lines coming from a pipe."""

    def say(self, line: str, *, until: str) -> str:
        """Type a line. Returns what is printed after that, once it has this text."""
        before = self.output
        self.type(line)
        printed = self.wait_for_output(until, seconds=SECONDS, after=len(before.encode()))
        return printed.removeprefix(before)

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end(self) -> int:
        """Close the pipe. Returns the status with which the program ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=SECONDS)


@contextmanager
def chatting(memory: Path, *arguments: str, **env: str) -> Iterator[Chat]:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "chat.py"), *arguments, "--memory", str(memory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment({**NO_MODEL, **env}),
    )
    chat = Chat(process, 0)
    try:
        chat.wait_for_output(READY, seconds=SECONDS)
        yield chat
    finally:
        chat.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def three_tools() -> Iterator[str]:
    with running(FOLDER / "server.py") as program:
        yield f"{program.url}/sse"


@pytest.fixture(scope="module")
def events() -> Iterator[str]:
    with (
        running(HUB) as hub,
        running(FOLDER / "event_server.py", env={"HUB_URL": hub.url}) as program,
    ):
        yield f"{program.url}/sse"


def test_two_servers_and_a_person_who_decides(
    three_tools: str, events: str, tmp_path: Path
) -> None:
    with chatting(tmp_path / "chat.db", three_tools, events) as chat:
        said = chat.say("Add 7 and 22", until="add(a=7, b=22): 29.0")
        assert "  add(a=7, b=22) -> 29.0  (" in said
        chat.say("Subscribe to user_events", until="): Subscribed to user_events.")
        close = "Close the event type user_events"
        chat.say(close, until="Approve close_event_type(event_type='user_events')? [y/N]")
        chat.say("n", until="The user does not want this call.")
        # Nothing was closed: it can still be sent to.
        chat.say(
            'Send a user_events event with the message "still here"', until="Subscribers: 1."
        )
        chat.say(close, until="[y/N]")
        chat.say("y", until="Closed user_events. Subscribers told: 1.")
        assert chat.end() == 0
        assert "Traceback" not in chat.output


def test_a_call_that_waits_survives_the_program(events: str, tmp_path: Path) -> None:
    memory = tmp_path / "chat.db"
    with chatting(memory, events) as chat:
        chat.say('Send an old_events event with the message "x"', until="Subscribers: 0.")
        chat.say("Close the event type old_events", until="[y/N]")
        chat.process.kill()
        chat.process.wait()
    assert (tmp_path / "chat.waiting.json").is_file()
    with chatting(memory, events) as chat:
        chat.wait_for_output("Approve close_event_type(event_type='old_events')?")
        chat.say("y", until="): Closed old_events")
        assert not (tmp_path / "chat.waiting.json").exists()
        assert chat.end() == 0


def test_what_waits_stays_when_the_lines_end_at_the_question(
    events: str, tmp_path: Path
) -> None:
    memory = tmp_path / "chat.db"
    with chatting(memory, events) as chat:
        chat.say('Send a late_events event with the message "x"', until="Subscribers: 0.")
        chat.say("Close the event type late_events", until="[y/N]")
        assert chat.end() == 0
        assert "Traceback" not in chat.output
    with chatting(memory, events) as chat:
        chat.wait_for_output("Approve close_event_type(event_type='late_events')?")
        chat.say("n", until="The user does not want this call.")
        # The memory has every call with its result, which the next turn needs.
        chat.say("List the subscriptions", until="list_subscriptions():")
        assert chat.end() == 0


def test_a_file_of_what_waits_that_cannot_be_read(events: str, tmp_path: Path) -> None:
    waiting = tmp_path / "chat.waiting.json"
    waiting.write_text("{half", encoding="utf-8")
    with chatting(tmp_path / "chat.db", events) as chat:
        chat.wait_for_output(
            "chat.waiting.json cannot be read. It is deleted.", seconds=SECONDS
        )
        chat.say("List the subscriptions", until="list_subscriptions():")
        assert chat.end() == 0
    assert not waiting.exists()


def test_a_server_that_was_started_again_is_used_again(tmp_path: Path) -> None:
    port = free_port()
    with (
        running(FOLDER / "server.py", port=port) as server,
        chatting(tmp_path / "chat.db", f"{server.url}/sse") as chat,
    ):
        chat.say("Add 1 and 2", until="): 3.0")
        server.stop()
        chat.say("Add 2 and 2", until="is not there: its tools are left out.")
        with running(FOLDER / "server.py", port=port):
            said = chat.say("Add 3 and 3", until="): 6.0")
            assert "connected again, in a new session." in said
        assert chat.end() == 0
        assert "Traceback" not in chat.output


def test_ctrl_c_cancels_a_turn_which_is_forgotten(tmp_path: Path) -> None:
    with (
        running(FOLDER / "slow_server.py") as server,
        chatting(tmp_path / "chat.db", f"{server.url}/sse") as chat,
    ):
        chat.type("Count the stars for 60 seconds")
        server.wait_for_output("Counting for 60 s.", seconds=SECONDS)
        chat.process.send_signal(signal.SIGINT)
        chat.wait_for_output("Cancelled.", seconds=SECONDS)
        # Half a turn in the memory would be a call without its result.
        chat.say("Count the stars for 0 seconds", until="about 9,000")
        assert chat.end() == 0


def test_tools_of_the_same_name_get_their_servers_name(
    three_tools: str, tmp_path: Path
) -> None:
    with (
        running(FOLDER / "server.py") as other,
        chatting(tmp_path / "chat.db", three_tools, f"{other.url}/sse") as chat,
    ):
        chat.say("Add 7 and 22", until="): 29.0")
        assert "__add(a=7, b=22) -> 29.0" in chat.output


def test_a_tool_that_the_agent_must_not_see(three_tools: str, tmp_path: Path) -> None:
    memory = tmp_path / "chat.db"
    with chatting(memory, three_tools, "--without", "get_secret_word") as chat:
        chat.say("Tell me the secret word", until="No tool fits")
        assert "marmalade" not in chat.output


def test_a_model_server_streams_the_answer(three_tools: str, tmp_path: Path) -> None:
    """The whole path as with Ollama: chat completions, in an event stream."""
    with running(FOLDER / "model_server.py") as model:
        url = f"{model.url}/v1"
        memory = tmp_path / "chat.db"
        with chatting(memory, three_tools, OPENAI_BASE_URL=url, OPENAI_MODEL="small") as chat:
            assert f"Model: small at {url}" in chat.output
            said = chat.say("Add 7 and 22", until="add(a=7, b=22): 29.0")
            assert "  add(a=7, b=22) -> 29.0  (" in said
            model.stop()
            chat.say("Add 1 and 1", until="The model: Connection error.")
            assert chat.end() == 0
            assert "Traceback" not in chat.output


def test_what_was_said_is_remembered_and_can_be_forgotten(
    three_tools: str, tmp_path: Path
) -> None:
    memory = tmp_path / "chat.db"

    def remembered() -> list[str]:
        with closing(sqlite3.connect(memory)) as database:
            rows = database.execute("select message_data from agent_messages").fetchall()
        return [row[0] for row in rows]

    with chatting(memory, three_tools) as chat:
        chat.say("Add 7 and 22", until="): 29.0")
        assert chat.end() == 0
    assert "Add 7 and 22" in remembered()[0]
    with chatting(memory, three_tools) as chat:
        chat.say("/forget", until="Forgotten.")
        assert remembered() == []
        assert chat.end() == 0


def test_in_a_terminal(three_tools: str, events: str, tmp_path: Path) -> None:
    command = [
        *("env", *(f"{name}={value}" for name, value in NO_MODEL.items())),
        *(sys.executable, str(FOLDER / "chat.py"), three_tools, events),
        *("--memory", str(tmp_path / "chat.db")),
    ]
    screen = Terminal(require("tmux"), tmp_path / "tmux", command)
    try:
        screen.until(lambda shown: f"{READY}\n>" in shown, seconds=SECONDS)
        screen("send-keys", "-t", "watch", "Add 7 and 23", "BSpace", "2", "Enter")
        shown = screen.until(lambda shown: "): 29.0\n>" in shown, seconds=SECONDS)
        assert "thinking" not in shown, "the spinner was not wiped"
        assert all(len(line) <= 80 for line in shown.splitlines())
        # Ctrl-C at the question cancels the turn, and the call does not wait any more.
        screen("send-keys", "-t", "watch", "Close the event type users", "Enter")
        screen.until(lambda shown: "[y/N]" in shown, seconds=SECONDS)
        screen("send-keys", "-t", "watch", "C-c")
        screen.until(lambda shown: "Cancelled.\n>" in shown, seconds=SECONDS)
        assert not (tmp_path / "chat.waiting.json").exists()
        # At the prompt Ctrl-C throws the line away, as in a shell. Ctrl-D ends the program.
        screen("send-keys", "-t", "watch", "half a li", "C-c")
        screen.until(lambda shown: shown.rstrip().endswith("half a li\n>"), seconds=SECONDS)
        screen("send-keys", "-t", "watch", "C-d")
        screen.until(lambda shown: "status 0" in shown, seconds=SECONDS)
    finally:
        screen("kill-server")
