"""Start a server from the command line, over HTTP or HTTPS, and end it with status 0."""

import argparse
import errno
import signal
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn
from certificates import certificate
from starlette.types import ASGIApp

VANISHED_SECONDS = 30  # a peer that acknowledges nothing for this long is gone


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
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    return listener


def without_port(host: str) -> str:
    """The name or address in a Host header."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).strip("[]")


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End with status 0, even if Ctrl-C is pressed again while Python tidies up."""
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, signal.SIG_IGN)
    sys.exit(0)


def serve(app: ASGIApp, connection: type, hosts: Collection[str] = ()) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints the URL, and what to type next.

    `hosts` are the names of the server besides this machine's own, for its certificate.
    """
    parser = argparse.ArgumentParser(description="An MCP server that lets nobody in.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8019)
    parser.add_argument("--https", action="store_true", help="with a certificate of its own")
    parser.add_argument(
        "--certificates",
        type=Path,
        default=Path("certificates"),
        metavar="FOLDER",
        help="where the certificate is, or will be made",
    )
    chosen = parser.parse_args()
    listener = listen(chosen.host, chosen.port)
    port = listener.getsockname()[1]
    # A server that listens on all addresses has no single address: show a local one.
    host: str = chosen.host
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    scheme, trust, files = "http", "", None
    if chosen.https:
        files = certificate(chosen.certificates, *map(without_port, sorted(hosts)))
        scheme, trust = "https", f"--cacert {files.authority} "
    # uvicorn has handlers of its own, but only while it serves. It raises the signal once more
    # after a clean end, for these: stopping when told to is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, leave)
    print(f"Serving MCP on {scheme}://{name}/sse. In another terminal:", flush=True)
    print(
        f'  curl -N {trust}-H "Authorization: Bearer $TOKEN" {scheme}://{name}/sse', flush=True
    )

    config = uvicorn.Config(
        app,
        http=connection,
        ssl_certfile=files.chain if files else None,
        ssl_keyfile=files.key if files else None,
        log_level="info",
        # uvicorn trusts every program on this machine about these: who asks, and over HTTPS.
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
