"""Start a server from the command line, on its own socket, and end it with status 0."""

import argparse
import dataclasses
import errno
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from settings import Settings
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

MAX_FILES = 10_000
STREAMS = ("/sse", "/dashboard/events")  # the paths of answers that do not end
VANISHED_SECONDS = 30  # a peer that acknowledges nothing for this long is gone

# Based on httptools if it is installed, or else on h11, which has no on_headers_complete and
# does not need it.
HttpProtocol: Any = AutoHTTPProtocol


class Connection(HttpProtocol):
    """uvicorn's own, but nothing may follow a stream, and no client can delay its leaving."""

    def on_headers_complete(self) -> None:
        # Another request on the connection would wait for the stream to end. When a client
        # leaves, uvicorn only tells the last request: the stream would stay open for ever.
        answering = self.cycle and not self.cycle.response_complete
        if answering and self.cycle.scope["path"].endswith(STREAMS):
            raise ValueError("A request behind an open stream")  # uvicorn closes: 400
        super().on_headers_complete()

    def shutdown(self) -> None:
        """Called last, after the app has left. A reader that took nothing has had its time."""
        super().shutdown()
        if self.flow.write_paused:
            self.transport.abort()


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


def more_files() -> None:
    """Each stream is an open file, and many systems allow 1,024 unless you ask for more."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def options(port: int) -> tuple[argparse.Namespace, Settings]:
    """The command line, and the settings in the environment."""
    parser = argparse.ArgumentParser(description="An MCP server that can be looked into.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args()
    if not 0 <= chosen.port <= 65535:
        parser.error("--port must be between 0 and 65535")
    return chosen, Settings.from_environment()


def name_of(host: str, listener: socket.socket) -> str:
    """Host and port, as a client writes them."""
    port = listener.getsockname()[1]
    # A server that listens on all addresses has no single address: show a local one.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End with status 0, even if Ctrl-C is pressed again while Python tidies up."""
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, signal.SIG_IGN)
    sys.exit(0)


def serve(create_app: Callable[[Settings], ASGIApp]) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints the URL, and what to type next."""
    chosen, settings = options(8010)
    listener = listen(chosen.host, chosen.port)
    name = name_of(chosen.host, listener)
    hosts = settings.allowed_hosts | {name.lower()}
    settings = dataclasses.replace(settings, allowed_hosts=hosts)
    more_files()

    end_with_status_0()  # before the first line: whoever reads it may press Ctrl-C at once
    print(f"Serving MCP on http://{name}/sse. In another terminal:", flush=True)
    print(f"  curl -N http://{name}/sse", flush=True)
    print(f"  curl http://{name}/metrics", flush=True)
    print(f"Or look at http://{name}/dashboard", flush=True)

    uvicorn.Server(configured(create_app(settings))).run(sockets=[listener])


def configured(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        log_config=None,  # log.py does this
        access_log=False,  # log.py would only drop these lines
        ws="none",
        timeout_graceful_shutdown=1,
    )


def end_with_status_0() -> None:
    """Stopping on request is not a failure.

    After a clean shutdown uvicorn raises the signal again, for the handler that was set before
    its own. That is this one.
    """
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, leave)
