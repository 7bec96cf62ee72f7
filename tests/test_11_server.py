"""Lesson 11: the terminal server. Nothing leads out of its workspace, and no command stays.

Its commands are another matter: `what_it_can_do.py` shows what they can do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.parts import NO_MODEL
from tests.sdk_parts import session
from workshop.checks.engine import check_url
from workshop.checks.lesson_05 import suite
from workshop.checks.mcp_session import (
    JSON_HEADERS,
    Session,
    handshake,
    notification,
    parsed,
    request,
)
from workshop.course import ROOT
from workshop.patience import stretched
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = [
    pytest.mark.usefixtures("warm"),
    pytest.mark.skipif(os.name != "posix", reason="the server needs openat"),
]

FOLDER = ROOT / "scripts/11_docker"
SERVER = FOLDER / "terminal_server.py"
COMMANDS = "cat,echo,env,ls,printf,python3,sh,sleep,yes"
EVENT_BYTES = 1024 * 1024  # the SDK's client refuses more
LONG = 20  # seconds for what should not take one


class Terminal:
    """A session with a terminal server, its workspace, and a folder beside it."""

    def __init__(self, session: Session, program: Program, workspace: Path) -> None:
        self.session = session
        self.program = program
        self.workspace = workspace

    def ask(self, method: str, params: object) -> int:
        """Send a request and don't wait. The request's id."""
        asked = self.session.next_id()
        answer = self.session.post(request(asked, method, params), seconds=LONG)
        assert answer.status == 202
        return asked

    def begin(self, tool: str, **arguments: object) -> int:
        """Call a tool and ask for its progress. The request's id, and the progress token."""
        token = self.session._last_id + 1
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": token}}
        return self.ask("tools/call", params)

    def end(self, asked: int) -> tuple[str, bool]:
        """Wait for the result of a call: its text, and whether it is an error."""
        event = self.session.reply(asked, seconds=LONG)
        assert event is not None, self.program.output
        assert len(event.data.encode()) < EVENT_BYTES
        message = json.loads(event.data)
        (content,) = message["result"]["content"]
        return content["text"], message["result"].get("isError", False)

    def call(self, tool: str, **arguments: object) -> tuple[str, bool]:
        return self.end(self.begin(tool, **arguments))

    def run(self, *command: str) -> tuple[str, bool]:
        return self.call("run_command", command=list(command))

    def refused(self, tool: str, **arguments: object) -> str:
        """Why a tool refuses, without what the SDK puts in front."""
        text, is_error = self.call(tool, **arguments)
        assert is_error, text
        return text.removeprefix(f"Error executing tool {tool}: ")

    def progress_of(self, asked: int) -> dict[str, Any]:
        """Wait for a notification of a call's progress."""

        def fits(event: Any) -> bool:
            message = parsed(event) or {}
            return message.get("params", {}).get("progressToken") == asked

        event = self.session.stream.event(fits, seconds=LONG)
        assert event is not None, self.program.output
        return json.loads(event.data)["params"]


@contextmanager
def session_with(program: Program, workspace: Path) -> Iterator[Terminal]:
    with session(f"{program.url}/sse", seconds=LONG) as opened:
        yield Terminal(opened, program, workspace)


@contextmanager
def terminal_in(folder: Path, **settings: str) -> Iterator[Terminal]:
    """A terminal server of its own, with a session."""
    workspace = folder / "workspace"
    env = {"WORKSPACE": str(workspace), "ALLOWED_COMMANDS": COMMANDS, **settings}
    with running(SERVER, env=env) as program, session_with(program, workspace) as terminal:
        yield terminal


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("terminal")
    settings = {"COMMAND_SECONDS": "60", "A_KEY": "sk-secret"}
    with terminal_in(folder, **settings) as started:
        yield started


@pytest.fixture
def outside(terminal: Terminal) -> Iterator[Path]:
    """A folder beside the workspace, with a secret in it. Both are empty otherwise."""
    folder = terminal.workspace.parent / "workspace2"  # its name begins as the workspace's
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # The workspace itself stays: the server holds it open.
    for each in terminal.workspace.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    (folder / "secret.txt").write_text("SECRET")
    (terminal.workspace / "sub").mkdir()
    yield folder


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


# --- Twenty ways out of the workspace -------------------------------------------------------

Prepare = Callable[[Path, Path], None]


def nothing(workspace: Path, outside: Path) -> None: ...


def link(name: str, target: str) -> Prepare:
    """Make a symbolic link in the workspace. {out} in its target is the folder outside."""

    def prepare(workspace: Path, outside: Path) -> None:
        (workspace / name).symlink_to(target.format(out=outside))

    return prepare


def hard_link(name: str) -> Prepare:
    def prepare(workspace: Path, outside: Path) -> None:
        (workspace / name).hardlink_to(outside / "secret.txt")

    return prepare


def chain(workspace: Path, outside: Path) -> None:
    (workspace / "first").symlink_to("second")
    (workspace / "second").symlink_to(outside / "secret.txt")


READ: dict[str, tuple[str, Prepare]] = {
    "dots": ("../workspace2/secret.txt", nothing),
    "dots after a dot": ("./../workspace2/secret.txt", nothing),
    "dots after a folder": ("sub/../../workspace2/secret.txt", nothing),
    "dots, dots and dots": ("sub/./.././/../workspace2/secret.txt", nothing),
    "an absolute path": ("{out}/secret.txt", nothing),
    "two slashes": ("/{out}/secret.txt", nothing),
    "absolute, through the workspace": ("{workspace}/../workspace2/secret.txt", nothing),
    "a link to the file": ("link", link("link", "{out}/secret.txt")),
    "a relative link to the file": ("link", link("link", "../workspace2/secret.txt")),
    "a link in a folder": ("sub/link", link("sub/link", "../../workspace2/secret.txt")),
    "a link to a link": ("first", chain),
    "a link to the folder": ("link/secret.txt", link("link", "{out}")),
    "a link to the parent": ("up/workspace2/secret.txt", link("up", "..")),
    "a link to the root": ("root{out}/secret.txt", link("root", "/")),
    "a hard link": ("hard", hard_link("hard")),
    "a hard link in a folder": ("sub/hard", hard_link("sub/hard")),
}


@pytest.mark.parametrize("way", READ)
def test_a_way_out_to_read(terminal: Terminal, outside: Path, way: str) -> None:
    template, prepare = READ[way]
    prepare(terminal.workspace, outside)
    path = template.format(out=outside, workspace=terminal.workspace)
    assert (terminal.workspace / path).read_text() == "SECRET", "no way out at all"
    assert "SECRET" not in terminal.refused("read_file", path=path)


WRITE: dict[str, tuple[str, Prepare]] = {
    "dots": ("../workspace2/secret.txt", nothing),
    "dots, a new file": ("../workspace2/new.txt", nothing),
    "an absolute path": ("{out}/secret.txt", nothing),
    "a link to the folder": ("link/secret.txt", link("link", "{out}")),
    "a link to the folder, a new file": ("link/new.txt", link("link", "{out}")),
    "a link to the file": ("link", link("link", "{out}/secret.txt")),
    "a link to a file that is not there yet": ("link", link("link", "{out}/new.txt")),
    "a hard link": ("hard", hard_link("hard")),
}


@pytest.mark.parametrize("way", WRITE)
def test_a_way_out_to_write(terminal: Terminal, outside: Path, way: str) -> None:
    template, prepare = WRITE[way]
    prepare(terminal.workspace, outside)
    path = template.format(out=outside)
    (terminal.workspace / path).write_text("naive")
    changed = {each.name: each.read_text() for each in outside.iterdir()}
    assert "naive" in changed.values(), "no way out at all"
    terminal.call("write_file", path=path, content="broken out")
    assert {each.name: each.read_text() for each in outside.iterdir()} == changed


LIST: dict[str, tuple[str, Prepare]] = {
    "dots": ("../workspace2", nothing),
    "dots after a folder": ("sub/../../workspace2", nothing),
    "an absolute path": ("{out}", nothing),
    "a link": ("link", link("link", "{out}")),
}


@pytest.mark.parametrize("way", LIST)
def test_a_way_out_to_list(terminal: Terminal, outside: Path, way: str) -> None:
    template, prepare = LIST[way]
    prepare(terminal.workspace, outside)
    folder = template.format(out=outside)
    assert (terminal.workspace / folder / "secret.txt").is_file(), "no way out at all"
    assert "secret.txt" not in terminal.refused("list_files", folder=folder)


def test_what_a_link_with_this_name_points_to_stays(terminal: Terminal, outside: Path) -> None:
    """The link is replaced, as the docstring of `write` says. So is a hard link."""
    link("link", "{out}/secret.txt")(terminal.workspace, outside)
    hard_link("hard")(terminal.workspace, outside)
    for name in ("link", "hard"):
        assert terminal.call("write_file", path=name, content="mine")[1] is False
        assert terminal.call("read_file", path=name) == ("mine", False)
    assert (outside / "secret.txt").read_text() == "SECRET"


# --- Races: what the path names changes between two steps -----------------------------------


def load(name: str) -> Any:
    """A module of the server's, under a name that is in nobody's way."""
    spec = importlib.util.spec_from_file_location(f"lesson_11_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Swapped:
    """A workspace whose folder `sub` can become a link to outside, and a folder again."""

    def __init__(self, folder: Path) -> None:
        self.module = load("confined")
        self.outside = folder / "outside"
        self.inside = folder / "workspace"
        self.workspace = self.module.Workspace(self.inside)
        for each, text in ((self.outside, "SECRET"), (self.inside / "sub", "mine")):
            each.mkdir()
            (each / "file.txt").write_text(text)

    def swap(self) -> None:
        (self.inside / "sub").rename(self.inside / "was sub")
        (self.inside / "sub").symlink_to(self.outside)

    def swap_back(self) -> None:
        (self.inside / "sub").unlink()
        (self.inside / "was sub").rename(self.inside / "sub")


@pytest.fixture
def swapped(tmp_path: Path) -> Swapped:
    return Swapped(tmp_path)


def resolved(workspace: Path, path: str, meanwhile: Callable[[], None]) -> Path:
    """What many servers do: resolve, compare, and then open by name."""
    found = (workspace / path).resolve()
    assert found.is_relative_to(workspace.resolve())
    meanwhile()
    return found


def test_a_link_that_comes_after_the_comparison(swapped: Swapped) -> None:
    found = resolved(swapped.inside, "sub/file.txt", swapped.swap)
    assert found.read_text() == "SECRET"


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("write", [False, True])
def test_a_link_that_comes_at_each_step(
    swapped: Swapped, monkeypatch: pytest.MonkeyPatch, step: int, write: bool
) -> None:
    """Before the folder is opened, the read is refused. Afterwards, the folder is held."""
    opened = os.open
    steps = 0

    def after_the_swap(*arguments: Any, **options: Any) -> int:
        nonlocal steps
        steps += 1
        if steps == step:
            swapped.swap()
        return opened(*arguments, **options)

    monkeypatch.setattr(os, "open", after_the_swap)
    with suppress(swapped.module.Refused):
        if write:
            swapped.workspace.write("sub/file.txt", "broken out")
        else:
            assert swapped.workspace.read("sub/file.txt") == "mine"
            assert step > 1
    assert steps == (1 if step == 1 else 2)
    assert (swapped.outside / "file.txt").read_text() == "SECRET"
    assert names_in(swapped.outside) == ["file.txt"]


def test_a_hard_link_that_is_gone_when_its_links_are_counted(
    swapped: Swapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened, then removed. The open file has one name then, which is outside."""
    (swapped.inside / "hard").hardlink_to(swapped.outside / "file.txt")
    opened = os.open
    counted = []

    def then_remove(path: str, *arguments: Any, **options: Any) -> int:
        descriptor = opened(path, *arguments, **options)
        if path == "hard":
            (swapped.inside / "hard").unlink()
            counted.append(os.fstat(descriptor).st_nlink)
        return descriptor

    monkeypatch.setattr(os, "open", then_remove)
    with pytest.raises(swapped.module.Refused):
        swapped.workspace.read("hard")
    assert counted == [1]


def test_a_link_that_comes_and_goes_all_the_time(swapped: Swapped) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            swapped.swap()
            swapped.swap_back()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    seen = set()
    try:
        for _ in range(500):
            try:
                seen.add(swapped.workspace.read("sub/file.txt"))
            except swapped.module.Refused:
                seen.add("refused")
    finally:
        stop.set()
        thread.join()
    assert seen <= {"mine", "refused"}


# --- Files ----------------------------------------------------------------------------------


def test_files_and_folders(terminal: Terminal, outside: Path) -> None:
    said = terminal.call("write_file", path="notes/tea/green.txt", content="sencha: 7 €\n")
    assert said == ("Wrote 14 bytes to notes/tea/green.txt.", False)
    assert terminal.call("read_file", path="./notes//tea/green.txt") == ("sencha: 7 €\n", False)
    assert (terminal.workspace / "notes/tea/green.txt").read_bytes().decode() == "sencha: 7 €\n"
    assert terminal.call("list_files") == ("notes/\nsub/", False)
    assert terminal.call("list_files", folder="") == ("notes/\nsub/", False)
    assert terminal.call("list_files", folder="notes/tea/") == ("green.txt", False)
    assert terminal.call("list_files", folder="sub") == ("", False)
    # No partial file is left.
    assert names_in(terminal.workspace / "notes/tea") == ["green.txt"]
    assert terminal.call("add", a=2, b=5) == ("7.0", False)


REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "'' is not the name of a file."),
    "the workspace": (".", "'.' is not the name of a file."),
    "a slash at the end": ("notes.txt/", "'notes.txt/' is not the name of a file."),
    "dots": ("..", "'..' leads out of the workspace."),
    "a slash": ("/", "'/' is absolute: name a file in the workspace, such as notes.txt."),
    "NUL": ("a\0b", "A path cannot hold the character NUL."),
    "a long name": ("n" * 300, f"'{'n' * 300}': File name too long."),
    "a long path": ("n/" * 2000, "A path may have 1000 characters; this one has 4000."),
    "a file on the way": ("notes.txt/more.txt", "'notes.txt/more.txt': Not a directory."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_is_none(terminal: Terminal, outside: Path, name: str) -> None:
    path, why = REFUSED[name]
    terminal.call("write_file", path="notes.txt", content="")
    before = sorted(os.walk(terminal.workspace))
    assert terminal.refused("read_file", path=path) == why
    assert terminal.refused("write_file", path=path, content="") == why
    assert sorted(os.walk(terminal.workspace)) == before


def test_what_is_no_text_file(terminal: Terminal, outside: Path) -> None:
    os.mkfifo(terminal.workspace / "pipe")  # nobody writes: opening it could take for ever
    (terminal.workspace / "link").symlink_to("pipe")
    (terminal.workspace / "picture").write_bytes(b"\xff\xd8\xff")
    assert terminal.refused("read_file", path="pipe") == "'pipe' is not a file."
    assert terminal.refused("read_file", path="sub") == "'sub': Is a directory."
    assert terminal.refused("read_file", path="link") == (
        "'link' is a link, and no link is followed."
    )
    assert terminal.refused("read_file", path="picture") == "picture is not text in UTF-8."
    assert terminal.refused("read_file", path="none") == "'none': No such file or directory."
    assert terminal.refused("write_file", path="sub", content="") == "'sub': Is a directory."
    assert terminal.refused("list_files", folder="picture") == "'picture': Not a directory."
    assert names_in(terminal.workspace) == ["link", "picture", "pipe", "sub"]


def test_the_largest_results_fit_in_an_event(terminal: Terminal, outside: Path) -> None:
    """`Terminal.end` compares each with the limit of the SDK's client."""
    most = 128 * 1024
    worst = "\x01" * most  # JSON has six characters for this one
    assert terminal.call("write_file", path="large", content=worst)[1] is False
    assert terminal.call("read_file", path="large") == (worst, False)
    (terminal.workspace / "large").write_text(worst + "!")
    assert terminal.refused("read_file", path="large") == "large is larger than 131072 bytes."
    assert terminal.refused("write_file", path="new", content="€" * (most // 3 + 1)) == (
        "A file may have 131072 bytes; this would be 131073."
    )
    for number in range(500):
        (terminal.workspace / "sub" / f"{number:0255}".replace("0", "\x01")).touch()
    text, is_error = terminal.call("list_files", folder="sub")
    assert (len(text), is_error) == (500 * 256 - 1, False)
    (terminal.workspace / "sub" / "one more").touch()
    assert terminal.refused("list_files", folder="sub") == "'sub' has more than 500 entries."
    # Nor is what a client sends sent back to it.
    assert len(terminal.refused("run_command", command=["n" * 1_000_000])) < 500


def test_what_the_sdk_refuses(terminal: Terminal) -> None:
    """More than 4 MiB, and half a character: neither reaches a tool."""
    large = {"name": "write_file", "arguments": {"path": "large", "content": "x" * 10_000_000}}
    answer = terminal.session.post(request(9, "tools/call", large), seconds=LONG)
    assert answer.status == 413
    half = (
        rb'{"jsonrpc":"2.0","id":9,"method":"tools/call",'
        rb'"params":{"name":"read_file","arguments":{"path":"\ud800"}}}'
    )
    assert terminal.session.post(half, seconds=LONG).status == 400
    assert terminal.call("add", a=2, b=5) == ("7.0", False)


def test_names_that_are_no_line_of_text(terminal: Terminal, outside: Path) -> None:
    (terminal.workspace / "two\nlines").touch()
    assert terminal.call("list_files") == ("sub/\ntwo\\nlines", False)


# --- Commands -------------------------------------------------------------------------------


def is_gone(pid: int) -> bool:
    """Wait until a process is no more, or only waits to be counted. False if it stays."""

    def ended() -> bool:
        ask = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(ask, stdout=subprocess.PIPE, text=True).stdout.strip()
        return not state or state.startswith("Z")

    return soon(ended)


def soon(happened: Callable[[], bool]) -> bool:
    """Whether something happens, of which nobody would tell us."""
    deadline = time.monotonic() + LONG
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_command(terminal: Terminal, outside: Path) -> None:
    terminal.call("write_file", path="notes.txt", content="sencha\n")
    assert terminal.run("cat", "notes.txt") == ("sencha\n", False)
    text, is_error = terminal.run("cat", "none")
    assert text == "cat: none: No such file or directory\n\n[exit status 1]"
    assert is_error is False
    assert terminal.run("sh", "-c", "kill -9 $$") == ("[exit status -9]", False)
    # No shell reads it: these are three words for `echo`.
    assert terminal.run("echo", "$HOME", "; ls", "> x") == ("$HOME ; ls > x\n", False)
    # Its standard input is empty.
    assert terminal.run("cat") == ("", False)


def test_its_environment_has_no_key(terminal: Terminal) -> None:
    text, _ = terminal.run("env")
    assert dict(line.split("=", 1) for line in text.splitlines()) == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(terminal.workspace.resolve()),
        "LANG": "C.UTF-8",
    }


def test_a_command_is_not_held_in_the_workspace(terminal: Terminal, outside: Path) -> None:
    """That is why this server belongs in a container."""
    assert terminal.run("cat", "../workspace2/secret.txt") == ("SECRET", False)
    assert terminal.run("cat", str(outside / "secret.txt")) == ("SECRET", False)


ALLOWED = "Allowed: cat, echo, env, ls, printf, python3, sh, sleep, yes."
NOT_RUN: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "The command is empty."),
    "empty": ([""], f"'' is not allowed. {ALLOWED}"),
    "not on the list": (["rm", "x"], f"'rm' is not allowed. {ALLOWED}"),
    "a path": (["/bin/ls"], f"'/bin/ls' is not allowed. {ALLOWED}"),
    "a file of the workspace": (["./ls"], f"'./ls' is not allowed. {ALLOWED}"),
    "a line for a shell": (["ls; ls"], f"'ls; ls' is not allowed. {ALLOWED}"),
    "NUL": (["echo", "a\0b"], "A command cannot hold the character NUL."),
    "too long": (["echo", *["x" * 1000] * 3000], "echo could not be started: Argument list"),
}


@pytest.mark.parametrize("name", NOT_RUN)
def test_a_command_that_is_not_run(terminal: Terminal, name: str) -> None:
    command, why = NOT_RUN[name]
    assert terminal.refused("run_command", command=command).startswith(why)


def test_a_program_in_the_workspace_is_not_found(terminal: Terminal, outside: Path) -> None:
    """Commands come from three folders, whatever the workspace has in it."""
    mine = terminal.workspace / "ls"
    mine.write_text("#!/bin/sh\necho mine\n")
    mine.chmod(0o755)
    assert terminal.run("ls") == ("ls\nsub\n", False)


def test_it_prints_for_ever(terminal: Terminal) -> None:
    text, is_error = terminal.run("yes")
    assert is_error
    assert text == "y\n" * 32768 + "\n[stopped: it printed more than 65536 bytes]"
    # And none of it is in the server's log.
    assert "y\ny" not in terminal.program.output
    assert "y\\ny" not in terminal.program.output


def test_the_parent_ends_and_its_child_holds_the_pipe(terminal: Terminal) -> None:
    text, is_error = terminal.run("sh", "-c", "sleep 97 & echo $!")
    assert not is_error
    assert is_gone(int(text))


def test_a_child_in_a_group_of_its_own_stays(terminal: Terminal) -> None:
    """It is out of reach, and holds the pipe. The answer comes all the same."""
    child = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(97)"
    start = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}],"
        " stdout=subprocess.PIPE); print(p.stdout.readline().decode())"
    )
    text, is_error = terminal.run("python3", "-c", start)
    assert not is_error
    os.kill(int(text), 9)  # it is there: otherwise this raises


def test_progress_comes_while_it_runs(terminal: Terminal, outside: Path) -> None:
    """The command does not end before its progress has arrived."""
    asked = terminal.begin(
        "run_command",
        command=["sh", "-c", "echo 12345; while [ ! -e go ]; do sleep 0.05; done; echo end"],
    )
    progress = terminal.progress_of(asked)
    assert progress["total"] == 60
    assert progress["progress"] < 60
    assert progress["message"] == "6 bytes so far"
    (terminal.workspace / "go").touch()
    assert terminal.end(asked) == ("12345\nend\n", False)


def begin_long(terminal: Terminal) -> tuple[int, list[int]]:
    """Begin a command that stays. The request's id, and the processes: it, and its child."""
    script = "sleep 97 & echo $$ $! > pids; wait"
    asked = terminal.begin("run_command", command=["sh", "-c", script])
    terminal.progress_of(asked)
    return asked, [int(pid) for pid in (terminal.workspace / "pids").read_text().split()]


def test_a_cancelled_call_ends_it(terminal: Terminal, outside: Path) -> None:
    asked, pids = begin_long(terminal)
    cancelled = {**notification("notifications/cancelled"), "params": {"requestId": asked}}
    assert terminal.session.post(cancelled, seconds=LONG).status == 202
    assert all(map(is_gone, pids))
    assert terminal.call("add", a=2, b=5) == ("7.0", False)


def test_a_client_that_leaves_ends_it(terminal: Terminal, outside: Path) -> None:
    with session_with(terminal.program, terminal.workspace) as other:
        _, pids = begin_long(other)
    assert all(map(is_gone, pids))


def test_four_at_once_and_the_fifth_waits(terminal: Terminal, outside: Path) -> None:
    """The four wait for each other: one after another, they would never end."""
    script = "touch here$1; while [ ! -e go ]; do sleep 0.05; done"
    with (
        session_with(terminal.program, terminal.workspace) as second,
        session_with(terminal.program, terminal.workspace) as third,
        session_with(terminal.program, terminal.workspace) as fourth,
    ):
        clients = [terminal, second, third, fourth]
        running = [
            each.begin("run_command", command=["sh", "-c", script, "sh", str(number)])
            for number, each in enumerate(clients)
        ]
        for each, asked in zip(clients, running, strict=True):
            each.progress_of(asked)
        assert len(list(terminal.workspace.glob("here*"))) == 4
        fifth = second.begin("run_command", command=["cat", "go"])
        for _ in range(5):
            assert second.call("add", a=2, b=5) == ("7.0", False)  # nobody else waits
        (terminal.workspace / "go").touch()
        for each, asked in zip(clients, running, strict=True):
            assert each.end(asked) == ("", False)
        assert second.end(fifth) == ("", False)


def test_a_client_that_does_not_read_holds_up_no_limit(tmp_path: Path) -> None:
    """Its progress can't be sent: the command ends in time all the same."""
    with (
        terminal_in(tmp_path, COMMAND_SECONDS="3") as terminal,
        socket.create_connection((HOST, terminal.program.port)) as deaf,
    ):
        terminal.call("write_file", path="large", content="\x01" * 128 * 1024)
        deaf.sendall(f"GET /sse HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        said = b""
        while not (endpoint := re.search(rb"data: (\S+)\r\n", said)):
            said += deaf.recv(65_536)

        def post(message: object) -> None:
            body = json.dumps(message).encode()
            answer = terminal.session.server.request(
                "POST", endpoint[1].decode(), body, JSON_HEADERS, seconds=LONG
            )
            assert answer.status == 202

        post(request(0, "initialize", handshake()))
        post(notification("notifications/initialized"))
        # 24 MB are more than what lies between the two can hold.
        read = {"name": "read_file", "arguments": {"path": "large"}}
        for number in range(1, 31):
            post(request(number, "tools/call", read))
        script = "sleep 97 & echo $$ $! > pids; wait"
        run = {"command": ["sh", "-c", script]}
        call = {"name": "run_command", "arguments": run, "_meta": {"progressToken": 99}}
        post(request(99, "tools/call", call))
        pids = terminal.workspace / "pids"
        assert soon(lambda: pids.is_file() and pids.read_text().endswith("\n"))
        assert all(is_gone(int(pid)) for pid in pids.read_text().split())


def test_nothing_is_left_after_fifty_calls(terminal: Terminal, outside: Path) -> None:
    pid = terminal.program.process.pid
    descriptors = Path(f"/proc/{pid}/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc here")

    def held() -> int:
        terminal.call("add", a=2, b=5)
        return len(list(descriptors.iterdir()))

    terminal.run("echo")  # the first call opens what stays open
    terminal.refused("read_file", path="a/b")
    before = held()
    for number in range(10):
        terminal.run("echo", str(number))
        terminal.run("sh", "-c", "sleep 97 &")
        terminal.call("write_file", path=f"notes/{number}", content="")
        terminal.refused("read_file", path="sub")
        terminal.refused("run_command", command=["echo", "x" * 200_000])
    # A connection that was closed last may not be gone yet.
    assert soon(lambda: held() <= before)
    ask = ["ps", "-o", "stat=,args=", "--ppid", str(pid)]
    assert soon(lambda: subprocess.run(ask, stdout=subprocess.PIPE).stdout == b"")


def test_the_time_limit_and_the_end_of_the_server(tmp_path: Path) -> None:
    """The limit ends the command's children, too. And so does the server, when it stops."""
    script = "sleep 97 & echo $!; wait"
    with terminal_in(tmp_path, COMMAND_SECONDS="3", OUTPUT_BYTES="10") as terminal:
        text, is_error = terminal.run("sh", "-c", script)
        assert is_error
        assert text.endswith("\n[stopped: it ran for more than 3 seconds]")
        assert is_gone(int(text.split()[0]))
        assert terminal.run("printf", "1234567890") == ("1234567890", False)
        assert terminal.run("printf", "1234567890x") == (
            "1234567890\n[stopped: it printed more than 10 bytes]",
            True,
        )
        _, pids = begin_long(terminal)
        took = terminal.program.stop()
        assert terminal.program.process.returncode == 0, terminal.program.output
        assert took < stretched(2)
        assert "Traceback" not in terminal.program.output
    assert all(map(is_gone, pids))


# --- Its peers ------------------------------------------------------------------------------


def test_the_checks_of_lesson_05(terminal: Terminal) -> None:
    report = check_url(suite, terminal.program.url + "/sse")
    assert report.ok, report.as_json()


def test_what_a_person_sees(terminal: Terminal) -> None:
    client = str(ROOT / "scripts/07_sdk_client/client_sse.py")
    url = f"{terminal.program.url}/sse"
    ended = run_with(
        [client, url, "--once", "add two numbers 2 and 5 using the tools"], NO_MODEL
    )
    assert ended.stdout.endswith("\nadd(a=2, b=5): 7.0\n"), ended.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_what_it_can_do(tmp_path: Path) -> None:
    """The table of the program that tries it all, outside a container. Nothing is left."""
    with terminal_in(tmp_path, ALLOWED_COMMANDS="") as terminal:
        program = str(FOLDER / "what_it_can_do.py")
        ended = run_with([program, f"{terminal.program.url}/sse"], {})
        assert ended.returncode == 0, ended.stderr
        rows = re.findall(r"(?m)^(.{31}) (yes|no)\b", ended.stdout)
        said = {what.rstrip(): answer for what, answer in rows}
        assert len(said) == len(ended.stdout.splitlines())
        # Whether it may write elsewhere, or is root, depends on who runs this.
        for mine in ("be root", "write files elsewhere", "reach the network"):
            del said[mine]
        assert [what for what, answer in said.items() if answer == "no"] == [
            "read_file ../../etc/passwd",
            "read_file /etc/passwd",
        ]
        assert names_in(terminal.workspace) == []


def test_what_is_written_does_not_run_when_the_server_starts_again(tmp_path: Path) -> None:
    """A package comes before a module of the same name, also for a module of the server's."""
    folder = tmp_path / "server"
    shutil.copytree(FOLDER, folder, ignore=lambda _, names: {n for n in names if "." not in n})
    (folder / "workspace").mkdir()
    (folder / "workspace/__init__.py").write_text("raise SystemExit('broken out')")
    load = [
        sys.executable,
        "-c",
        "import terminal_server; print(terminal_server.workspace.folder)",
    ]
    ended = subprocess.run(load, cwd=folder, env=environment(), capture_output=True, text=True)
    assert ended.stdout == f"{(folder / 'workspace').resolve()}\n", ended.stderr


def test_without_a_server_it_is_one_line() -> None:
    port = free_port()
    ended = run_with([str(FOLDER / "what_it_can_do.py"), f"http://{HOST}:{port}/sse"], {})
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"No server answers at http://{HOST}:{port}/sse: ")
    assert ended.stderr.count("\n") == 1


# --- Settings -------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a file": ({"WORKSPACE": "{file}"}, "WORKSPACE={file} cannot be used: Not a directory."),
    "below a file": (
        {"WORKSPACE": "{file}/x"},
        "WORKSPACE={file}/x cannot be used: Not a directory.",
    ),
    "no file can be made": ({"WORKSPACE": "/proc"}, "WORKSPACE=/proc cannot be used: "),
    "no port": (
        {"PORT": "tea"},
        "PORT=tea: a whole number above 0 and at most 65535 is wanted.",
    ),
    "port 0": ({"PORT": "0"}, "PORT=0: a whole number above 0 and at most 65535 is wanted."),
    "half a port": ({"PORT": "1.5"}, "PORT=1.5: a whole number above 0"),
    "no time": ({"COMMAND_SECONDS": "soon"}, "COMMAND_SECONDS=soon: a number above 0 and at"),
    "time below 0": ({"COMMAND_SECONDS": "-1"}, "COMMAND_SECONDS=-1: a number above 0 and at"),
    "nan": ({"COMMAND_SECONDS": "nan"}, "COMMAND_SECONDS=nan: a number above 0 and at"),
    "no end": ({"COMMAND_SECONDS": "inf"}, "COMMAND_SECONDS=inf: a number above 0 and at"),
    "much": ({"OUTPUT_BYTES": "131073"}, "OUTPUT_BYTES=131073: a whole number above 0"),
    "a path": ({"ALLOWED_COMMANDS": "ls,./x"}, "ALLOWED_COMMANDS has a path in it: names are"),
}


def run_with(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=environment(env),
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=stretched(30),
    )


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    given, wanted = WRONG[name]
    if name == "no file can be made" and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    env = {key: value.format(file=tmp_path / "file") for key, value in given.items()}
    read_all = "import settings as s; s.open_workspace(); s.read_limits(); s.port()"
    ended = run_with(["-c", read_all], {"WORKSPACE": str(tmp_path), **env})
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(re.escape(wanted.format(file=tmp_path / "file")) + ".*\n", ended.stderr)


@pytest.mark.parametrize("way", ["the file", "uvicorn"])
def test_a_wrong_setting_either_way_of_starting(tmp_path: Path, way: str) -> None:
    command = ["-m", "uvicorn", "terminal_server:app"] if way == "uvicorn" else [str(SERVER)]
    (tmp_path / "file").touch()
    env = {"WORKSPACE": str(tmp_path / "file"), "PORT": str(free_port())}
    ended = run_with([*command, "--port", str(free_port())], env)
    assert ended.returncode == 1
    assert ended.stderr == f"WORKSPACE={env['WORKSPACE']} cannot be used: Not a directory.\n"
