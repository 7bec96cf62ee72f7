"""What every server of this lesson needs and none is about: a free port, a log, a quiet end."""

import errno
import logging
import signal
import socket
import sys


def prepare(host: str, port: int) -> None:
    """Before a server starts: is the port free? Then a brief log, and an end with status 0."""
    check_port(host, port)
    log_briefly()
    leave_quietly()


def check_port(host: str, port: int) -> None:
    """Leave with one line that says why, if no server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")


def log_briefly() -> None:
    """Write the log as Python does by itself."""
    # `MCPServer(…)` has set up another, which draws each traceback in a frame, with the code
    # around every line. That takes a good part of a second, on the event loop: nobody is
    # served meanwhile.
    logging.basicConfig(level=logging.INFO, force=True)


def leave_quietly() -> None:
    """Make of Ctrl-C and SIGTERM an ordinary end, with status 0."""
    # When uvicorn is done it raises the signal once more, for the handler that was there
    # before its own. That is this one: to be told to leave, and to leave, is no failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    logging.getLogger("uvicorn.error").addFilter(is_no_second_answer)


def is_no_second_answer(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that the server itself has ended.

    After a stream the SDK answers the same request again, with an empty response. That
    goes to a client that has left. When it is the server that leaves, the client is
    still there, and uvicorn reports a second answer as an error.
    """
    return not (record.exc_info and "but got 'http.response.start'" in str(record.exc_info[1]))


def url_of(host: str, port: int) -> str:
    """Where to reach a server that listens there: on this machine, if on all addresses."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
