"""The learner's nginx.conf in a real nginx, in front of the checks' own small server."""

from __future__ import annotations

import copy
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import crossplane

from workshop.checks.lesson_11.nginx_file import Block, way
from workshop.patience import stretched
from workshop.running import HOST, free_port
from workshop.tools import find

NGINX = find("nginx")

BREAKS_OFF = "breaks-off"  # a stream with this in its path
FIRST = b"data: first\n\n"
# These say where nginx keeps its files and which user it is: the checks set that themselves.
_OURS = {"daemon", "error_log", "lock_file", "master_process", "pid", "user"}
_OURS |= {"worker_processes", "worker_rlimit_nofile", "load_module", "pcre_jit"}
# These need files or names that exist only in the container.
_ELSEWHERE = (
    "ssl_",
    "include",
    "access_log",
    "resolver",
    "log_format",
    "http2",
    "root",
    "index",
)
_TEMPORARY = tuple(
    f"{what}_temp_path" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


class ProxyError(Exception):
    """nginx did not start; the text is what it said."""


class Upstream:
    """The server behind nginx. It keeps each request's head, by its path.

    It answers a GET with an event stream of one event, and says nothing about buffering.
    The stream then stays open and silent, or breaks off if its path ends with BREAKS_OFF.
    """

    def __init__(self) -> None:
        self.heads: dict[str, dict[str, str]] = {}
        self._closed = threading.Event()
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                if not (piece := connection.recv(65_536)):
                    return
                received += piece
            first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            method, target, version = first.split(" ")
            pairs = (line.partition(": ")[::2] for line in lines)
            self.heads[target] = {name.lower(): value for name, value in pairs}
            if method != "GET":
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                return
            head, event = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", FIRST
            if version != "HTTP/1.0":
                head += b"Transfer-Encoding: chunked\r\n"
                event = b"%x\r\n%s\r\n" % (len(FIRST), FIRST)
            connection.sendall(head + b"\r\n" + event)
            if not target.endswith(BREAKS_OFF):
                self._closed.wait(60)

    def close(self) -> None:
        self._closed.set()
        self._socket.close()


class Proxy:
    """nginx with this configuration, on its own port. Raises ProxyError."""

    def __init__(self, config: Block) -> None:
        assert NGINX is not None
        self.upstream = Upstream()
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        text = crossplane.build(_moved(config, folder, self.port, self.upstream.port))
        file = folder / "moved.conf"
        file.write_text(text, encoding="utf-8")
        # One process, with the user who runs the checks: a worker with another user could not
        # write in this folder.
        options = "daemon off; master_process off;"
        self._process = subprocess.Popen(
            [NGINX, "-p", f"{folder}/", "-c", file, "-e", folder / "errors", "-g", options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait(stretched(5))
        except ProxyError:
            self.close()
            raise

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                break
        with suppress(OSError):
            raise ProxyError((Path(self._folder.name) / "errors").read_text(errors="replace"))
        raise ProxyError("nginx did not start.")

    def close(self) -> None:
        self.upstream.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def _moved(config: Block, folder: Path, port: int, upstream: int) -> Block:
    """The configuration with our ports, without what exists only in the container."""
    moved = [one for one in copy.deepcopy(config) if one["directive"] not in _OURS]
    there = f"{HOST}:{upstream}"
    for http in [one["block"] for one in moved if one["directive"] == "http"]:
        names = {one["args"][0] for one in http if one["directive"] == "upstream"}
        used = next(
            one
            for one in http
            if one["directive"] == "server" and way([_http([one])], "/sse") is not None
        )
        # Another server may listen only for HTTPS, or answer with a redirect.
        http[:] = [one for one in http if one is used or one["directive"] != "server"]
        _clean(http, names, there)
        http += [_made(name, str(folder / name)) for name in _TEMPORARY]
        http.append(_made("access_log", "off"))
        used["block"] = [one for one in used["block"] if one["directive"] != "listen"]
        used["block"].insert(0, _made("listen", f"{HOST}:{port}"))
    return [_made("pid", str(folder / "pid")), *moved]


def _http(block: Block) -> dict[str, object]:
    return {"directive": "http", "args": [], "line": 0, "block": block}


def _made(name: str, *arguments: str) -> dict[str, object]:
    return {"directive": name, "args": list(arguments), "line": 0}


def _clean(block: Block, names: set[str], there: str) -> None:
    """Pass requests on to `there`, and remove what can't be used here, at every depth."""
    kept: Block = []
    for one in block:
        name = one["directive"]
        if name.startswith((*_ELSEWHERE, *_TEMPORARY)):
            continue
        if name == "proxy_pass":
            one["args"] = [_passed(one["args"][0], names, there)]
        if name == "upstream":
            for server in one["block"]:
                if server["directive"] == "server":
                    server["args"] = [there]
        elif "block" in one:
            _clean(one["block"], names, there)
        kept.append(one)
    block[:] = kept


def _passed(target: str, names: set[str], there: str) -> str:
    _, _, rest = target.partition("://")
    host, slash, path = rest.partition("/")
    if "$" in target or not rest:
        return f"http://{there}"
    return target if host in names else f"http://{there}{slash}{path}"
