"""Start a server from the command line, on its own socket, and end it with status 0."""

import argparse
import dataclasses
import errno
import logging
import re
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from settings import HEARTBEAT_STYLES, Settings, checked
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

VANISHED_SECONDS = 30  # a peer that acknowledges nothing for this long is gone

# Based on httptools, or without that on h11, which has no on_headers_complete and needs
# none.
HttpProtocol: Any = AutoHTTPProtocol


class Connection(HttpProtocol):
    """uvicorn's own, but nothing may follow GET /sse on its connection.

    A request that follows waits for the stream's end. When a client leaves, uvicorn tells
    only the last request it sent: the stream would never learn of it, and stay for ever.
    """

    def on_headers_complete(self) -> None:
        answering = self.cycle and not self.cycle.response_complete
        if answering and self.cycle.scope["path"].endswith("/sse"):
            raise ValueError("A request behind an open stream")  # uvicorn closes: 400
        super().on_headers_complete()


def hide_session_ids(record: logging.LogRecord) -> bool:
    """For uvicorn's access log: reading a log must not let anyone use a session."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            # Every value: a name may also be written %73ession_id.
            re.sub("=[^&]+", "=…", value) if isinstance(value, str) else value
            for value in record.args
        )
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on host and port. Exits if that is impossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        # Name the protocol: only for a socket that says IPPROTO_TCP does asyncio turn off
        # Nagle's algorithm, which would delay each answer on a kept connection by 40 ms.
        listener = socket.socket(family, kind, protocol)
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere the system's own, longer
            timeout = VANISHED_SECONDS * 1000
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
        listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    return listener


def options() -> tuple[argparse.Namespace, Settings]:
    """The command line, and the settings in it. Exits if they make no sense."""
    parser = argparse.ArgumentParser(description="An MCP server over HTTP+SSE.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--heartbeat", default="15", metavar="SECONDS")
    parser.add_argument("--heartbeat-style", choices=HEARTBEAT_STYLES, default="event")
    parser.add_argument("--root-path", default="", help="the prefix that a proxy strips")
    parser.add_argument("--allow-host", action="append", default=[], metavar="HOST[:PORT]")
    parser.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN")
    chosen = parser.parse_args()
    if not 0 <= chosen.port <= 65535:
        parser.error("--port must be between 0 and 65535")
    try:
        settings = checked(
            chosen.heartbeat, chosen.heartbeat_style, chosen.allow_host, chosen.allow_origin
        )
    except ValueError as error:
        parser.error(str(error))
    return chosen, settings


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End with status 0, even if Ctrl-C is pressed again while Python tidies up."""
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, signal.SIG_IGN)
    sys.exit(0)


def serve(create_app: Callable[[Settings], ASGIApp]) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints the URL, and what to type next."""
    chosen, settings = options()
    listener = listen(chosen.host, chosen.port)
    port = listener.getsockname()[1]
    # A server that listens on all addresses has no address of its own: show a local one.
    host: str = chosen.host
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    hosts = settings.allowed_hosts | {name.lower()}
    settings = dataclasses.replace(settings, allowed_hosts=hosts)

    # uvicorn has handlers of its own, but only while it serves. It raises the signal once more
    # after a clean end, for these: stopping when told to is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, leave)

    print(f"Serving MCP on http://{name}/sse. In another terminal:", flush=True)
    print(f"  curl -N http://{name}/sse", flush=True)

    config = uvicorn.Config(
        create_app(settings),
        http=Connection,
        root_path=chosen.root_path,
        log_level="info",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
