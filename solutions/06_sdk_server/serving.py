"""What every server here needs but none is about: its options, a log, and a quiet exit."""

import argparse
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp


def serve(app: ASGIApp, *then: str, port: int, path: str = "/sse", what: str = "MCP") -> None:
    """Serve `app` where the command line says. Print its URL and what to type next."""
    host, port = begin(*then, port=port, path=path, what=what)
    # A client that sends half a message and stops delays the exit by a second, not for ever.
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=1)


def begin(*then: str, port: int, path: str = "/sse", what: str = "MCP") -> tuple[str, int]:
    """Read --host and --port, prepare to serve there, and print what is served, and where.

    `then` are the commands to type next: `{base}` in them is the server's URL, `{url}` that
    of `path` on it.
    """
    title = (sys.modules["__main__"].__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    base = url_of(chosen.host, chosen.port)
    print(f"Serving {what} on {base}{path}. In another terminal:", flush=True)
    for command in then:
        print(f"  {command.format(base=base, url=base + path)}", flush=True)
    return chosen.host, chosen.port


def prepare(host: str, port: int) -> None:
    """Before a server starts: check its port, keep the log brief, and make it exit with 0."""
    check_port(host, port)
    log_briefly()
    leave_quietly()


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """What an app does itself, for those who start it with `uvicorn module:app`."""
    log_briefly()
    yield


def check_port(host: str, port: int) -> None:
    """Exit with one line that says why, if no server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if os.name == "posix":  # a server that has just ended is not in the way
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # nor is one that listens there on IPv4
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # And don't listen: whoever waits for this server would take this for it.
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")


def log_briefly() -> None:
    """Log plain lines, without one traceback that means nothing."""
    # `MCPServer(…)` sets up its own log, which prints each traceback in a frame, with the
    # code around every line. That takes a good part of a second on the event loop, and
    # nobody is served meanwhile.
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger("uvicorn.error").addFilter(is_no_second_answer)


def is_no_second_answer(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that the server itself has ended.

    After a stream the SDK answers the same request again, with an empty response. Usually
    the client has left by then. When it is the server that stops, the client is still
    there, and uvicorn reports the second answer as an error.
    """
    return not (record.exc_info and "but got 'http.response.start'" in str(record.exc_info[1]))


def leave_quietly() -> None:
    """Make Ctrl-C and SIGTERM an ordinary exit, with status 0."""
    # When uvicorn is done it raises the signal again, for the handler that was there before
    # its own. That is this one: stopping when told to is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, leave)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Exit with status 0, even if Ctrl-C is pressed again while Python tidies up."""
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, signal.SIG_IGN)
    sys.exit(0)


def url_of(host: str, port: int) -> str:
    """Where to reach a server that listens there: on this machine, if on all addresses."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
