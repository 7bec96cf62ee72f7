"""The process that starts programs warm: it has their libraries, and is forked for each.

    python tests/warm_parent.py SOCKET MODULE...

tests/warm.py starts it, and asks it through the socket. A request is JSON: the program's
`arguments`, `env`, `cwd`, `sigint_ignored`, `new_session` and `starts_others`, with its stdin,
stdout and stderr as files and a pipe for its process id. With a `terminal`, it is a shell that
is started, and whatever that shell starts can be warm, too: tests/warm_terminals.py.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from typing import Any

from tests.warm_popen import adopt_orphans, ask, popen_class, starts_others

# What a library imports only when it is used.
LATER = (
    "anyio._backends._asyncio",
    "pydantic.v1",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)

MAX_REQUEST = 200_000  # bytes
LARGE_PAGE = 2 * 1024 * 1024  # bytes
MADV_COLLAPSE = 25  # of Linux 6.1

STATUS: list[int] = []  # of a program that has come to its end, and raised nothing


def leave() -> None:
    """The last thing that a program does, after all that it asked for with `atexit`.

    Python would go on and take apart every module. To do that with the parent's takes ten
    times as long as all the rest, since the two no longer share the memory they are in.
    """
    if STATUS:
        gc.collect()  # what the program left behind may still have something to say
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            return  # Python says so
        os._exit(STATUS[0])


def use_large_pages() -> None:
    """Put what is in memory into large pages: a fork copies an entry of a table for each page.

    Without it, a fork takes two to three times as long. Where Linux can't, nothing happens.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place, rights, _, _, file, *name = line.split()
        if rights == "rw-p" and file == "0" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in place.split("-"))
            start = -(-start // LARGE_PAGE) * LARGE_PAGE
            if (size := end // LARGE_PAGE * LARGE_PAGE - start) > 0:
                madvise(start, size, MADV_COLLAPSE)


def load(modules: list[str]) -> None:
    """Have what programs import."""
    sys.path[0] = os.devnull  # what is beside this file is no library
    gc.disable()  # nothing that is imported is garbage: to look for it takes a while
    for module in [*modules, *LATER]:
        # A file beside the program is no library: it is imported by the program itself.
        with contextlib.suppress(ImportError):
            if module not in LATER or module.partition(".")[0] in sys.modules:
                importlib.import_module(module)
    gc.freeze()  # no child looks through what its parent has
    gc.enable()
    use_large_pages()


def serve(requests: socket.socket, interrupt: Any) -> None:
    """Fork for each request. Returns when nobody asks any more, and in each program.

    Ctrl-C must not end this process. `interrupt` is what a program does with it at first.
    """
    while True:
        request, files, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4)
        if not request:
            return
        between = os.fork()
        if between == 0:
            # The program's parent ends at once, and whoever takes its children over has it.
            program = os.fork()
            if program != 0:
                os.write(files[-1], b"%d" % program)
                os._exit(0)
            requests.close()
            options = json.loads(request)
            ignored = options["sigint_ignored"]
            signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else interrupt)
            if "terminal" in options:
                options, files = lead_terminal(options, files)
            run(options, files)
            return
        os.waitpid(between, 0)
        for file in files:
            os.close(file)


def connect(files: list[int]) -> None:
    """Make the first three stdin, stdout and stderr; close them all."""
    for number, file in enumerate(files):
        if number < 3:
            os.dup2(file, number)
        os.close(file)


def lead_terminal(
    options: dict[str, Any], files: list[int]
) -> tuple[dict[str, Any], list[int]]:
    """Start a shell in a session of its own. Returns the request in each program of it."""
    os.setsid()
    fcntl.ioctl(files[0], termios.TIOCSCTTY, 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.bind(options["terminal"])
        asked.listen()
        if os.fork() == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(files[0], os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            connect(files)
            os.chdir(options["cwd"])
            os.execvpe(options["arguments"][0], options["arguments"], options["env"])
        for file in files:
            os.close(file)
        while True:
            connection, _ = asked.accept()
            if os.fork() == 0:
                break
            connection.close()
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass  # programs that have ended
    with connection:
        request, files, _, _ = socket.recv_fds(connection, MAX_REQUEST, 3)
        program = os.fork()
        if program != 0:
            for file in files:
                os.close(file)
            status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
            with contextlib.suppress(OSError):  # nobody may wait for it any more
                connection.send(b"%d" % status)
            os._exit(0)
    options = json.loads(request)
    options["starts_others"] = starts_others(options)
    os.setpgid(0, options["group"])  # Ctrl-C is for those in the foreground
    return options, files


def become_parent(files: list[int]) -> bool:
    """Have a parent for the programs that this one starts: it is forked before it has begun.

    False in each of these programs, when it has ended. `files` are this program's.
    """
    adopt_orphans()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.fork() == 0:
        ours.close()
        for file in files:
            os.close(file)
        with theirs:
            serve(theirs, interrupt)
        return False
    signal.signal(signal.SIGINT, interrupt)
    theirs.close()
    subprocess.Popen = popen_class(partial(ask, ours))
    return True


def run(request: dict[str, Any], files: list[int]) -> None:
    """Become the program."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if request["new_session"]:
        os.setsid()
    if request["starts_others"] and not become_parent(files):
        return
    connect(files)
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    if not os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise  # it is a text, which Python prints
        STATUS.append(error.code or 0)
    else:
        STATUS.append(0)


if __name__ == "__main__":
    atexit.register(leave)
    with socket.socket(fileno=int(sys.argv[1])) as theirs:
        load(sys.argv[2:])
        serve(theirs, signal.signal(signal.SIGINT, signal.SIG_IGN))
