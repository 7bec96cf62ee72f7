"""TODO 5, 6 and 7: nginx.conf. It is read, and where there is an nginx, it is run."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, IncompleteRead

from workshop.checks.lesson_11.nginx_file import BadConfig, Way, read, seconds, way
from workshop.checks.lesson_11.opening import NGINX, NO_TEXT, suite
from workshop.checks.lesson_11.proxy import BREAKS_OFF, FIRST, Proxy, ProxyError
from workshop.checks.lesson_11.texts import Texts
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import HOST

LABEL = "nginx.conf"
STREAM, MESSAGES = "/sse", "/messages/"
HOUR = 3600
# Seconds to wait for what should come at once: LONG if the file looks right, so that a busy
# machine is not taken for a fault, and SHORT if it has a fault that nginx only has to show.
LONG, SHORT = stretched(5), stretched(0.6)
ASKED = "tea.example:8443"  # a port that nginx itself can't know


def way_of(texts: Texts, path: str = STREAM) -> Way:
    found = way(read(texts.text("nginx")), path)
    assert found is not None, "the check `nginx` has looked"
    return found


def wrong(hint: str, texts: Texts, line: int, wanted: str) -> Failed:
    """The failure that shows a line, counted from 1; 0 if there is none."""
    lines = texts.text("nginx").splitlines()
    if not 0 < line <= len(lines):
        return Failed(hint, wanted=f"{wanted}, in nginx.conf")
    shown = lines[line - 1].strip()
    return Failed(hint, received=shown, at=0, wanted=wanted, label=LABEL)


@suite.check(
    "nginx",
    "nginx.conf can be read, and passes the stream and the messages on",
    todo=5,
    read="nginx in front",
    rule="nginx, Beginner's Guide: configuration file's structure",
    why="nginx does not start with a file that it can't read, and then nobody gets in.",
    hints={
        "no-text": NO_TEXT,
        "not-nginx": "nginx can't read this. Each directive ends with a semicolon.",
        "not-passed": "A client opens the stream at /sse and sends its messages to /messages/: "
        "both have to reach the server.",
    },
)
def nginx(texts: Texts) -> None:
    texts.text("nginx")
    try:
        config = read(texts.text("nginx"))
    except BadConfig as error:
        raise wrong("not-nginx", texts, error.line, f"nginx.conf. It says: {error}") from None
    for path in (STREAM, MESSAGES):
        if way(config, path) is None:
            raise wrong("not-passed", texts, 0, f"a location with proxy_pass for {path}")
    limit = way_of(texts).setting("proxy_read_timeout")
    if limit and not seconds(" ".join(limit[0])) and limit[0] != ["0"]:
        raise wrong("not-nginx", texts, limit[1], "a time, such as 90s or 5m")
    try:
        texts.proxy()
    except ProxyError as error:
        said = str(error).strip()
        raise Failed(
            "not-nginx", sent="nginx", received=said, wanted="no error", label="Printed"
        ) from None


@suite.check(
    "at-once",
    "nginx passes each event on at once",
    todo=5,
    after=("nginx",),
    read="nginx in front",
    rule=f"{NGINX}: proxy_buffering",
    why="With buffering, events wait in nginx until there are a few KiB of them, or the "
    "stream ends. Progress arrives when the work is already done.",
    hints={
        "held-back": "By default, nginx buffers what the server sends. HTTP/1.1 changes that "
        "only in part: over TLS, the events still wait.",
    },
)
def at_once(texts: Texts) -> None:
    proxy = texts.proxy()
    # The server sends one event, and then nothing more while this check runs.
    found = way_of(texts).setting("proxy_buffering")
    off = found is not None and found[0] == ["off"]
    received = FIRST if proxy is None else _read(proxy, "at-once", LONG if off else SHORT)
    if received != FIRST:
        raise Failed(
            "held-back",
            sent=f"GET {STREAM}",
            received=received or b"",
            wanted="the event that the server has sent",
        )
    if not off:
        raise wrong("held-back", texts, found[1] if found else 0, "no buffering in this place")


def _read(proxy: Proxy, case: str, seconds: float) -> bytes | None:
    """What arrives of the server's one event; None if the response then breaks off."""
    connection = HTTPConnection(HOST, proxy.port, timeout=seconds)
    received = b""
    try:
        connection.request("GET", f"{STREAM}?check={case}")
        response = connection.getresponse()
        while len(received) < len(FIRST) and (piece := response.read1()):
            received += piece
        if case == BREAKS_OFF:
            response.read()
    except IncompleteRead:
        return None
    except (OSError, HTTPException):
        pass
    finally:
        connection.close()
    return received


@suite.check(
    "breaks-off",
    "A stream that breaks off looks broken to the client, too",
    todo=5,
    after=("nginx",),
    read="nginx in front",
    rule=f"{NGINX}: proxy_http_version",
    why="The server dies in the middle of an answer, and the client thinks that it has all "
    "of it.",
    hints={
        "http-1.0": "In HTTP/1.0, the end of the connection is the end of the response. By "
        "default, nginx before 1.29.7 speaks it to the server.",
    },
)
def breaks_off(texts: Texts) -> None:
    found = way_of(texts).setting("proxy_http_version")
    told = found is not None and found[0] in (["1.1"], ["2"])
    proxy = texts.proxy()
    if proxy is not None:
        received = _read(proxy, BREAKS_OFF, LONG if told else SHORT)
        if received is not None:
            raise Failed(
                "http-1.0",
                sent=f"GET {STREAM}",
                received=received,
                wanted="an error at the end: the server has broken off",
            )
    if not told:
        raise wrong("http-1.0", texts, found[1] if found else 0, "HTTP/1.1 to the server")


@suite.check(
    "no-websocket",
    "nginx does not ask the server for a WebSocket",
    todo=5,
    after=("nginx",),
    read="nginx in front",
    rule="RFC 9110 7.8, Upgrade",
    why="An event stream is a plain response. These lines do nothing, but the next reader "
    "will think that they make it stream.",
    hints={"upgrade": "`Upgrade` and `Connection: upgrade` ask for another protocol."},
)
def no_websocket(texts: Texts) -> None:
    headers = way_of(texts).headers()
    connection, line = headers.get("connection", ("", 0))
    if "upgrade" in headers or "upgrade" in connection.lower():
        line = headers["upgrade"][1] if "upgrade" in headers else line
        raise wrong("upgrade", texts, line, "no Upgrade header")


@suite.check(
    "silence",
    "A stream may be silent for an hour",
    todo=6,
    after=("nginx",),
    read="nginx in front",
    rule=f"{NGINX}: proxy_read_timeout",
    why="nginx cuts the stream at the first longer silence. The client reconnects with a new "
    "session, and what it was waiting for is lost.",
    hints={
        "too-short": "By default it is 60 seconds, from one read to the next. It is the limit "
        "for reading from the server: the others do not affect an open stream.",
    },
)
def silence(texts: Texts) -> None:
    found = way_of(texts).setting("proxy_read_timeout")
    allowed = seconds(" ".join(found[0])) if found else 60
    if allowed < HOUR:
        raise wrong(
            "too-short", texts, found[1] if found else 0, "a time limit of an hour for reading"
        )


@suite.check(
    "host",
    "The server is told the name and the port that the client asked for",
    todo=7,
    after=("nginx",),
    read="nginx in front",
    rule=f"{NGINX}: proxy_set_header",
    why="The SDK's server compares Host with the allowed names, and answers 421 to any other.",
    hints={
        "no-port": "$host is the name in lower case, without the port, and $server_port is "
        "nginx's own. Each header that a client sends is in a variable, unchanged.",
        "other-name": "By default nginx sends the name that is in proxy_pass. That is the "
        "server's internal name, and no client knows it.",
    },
)
def host(texts: Texts) -> None:
    proxy = texts.proxy()
    for path in (STREAM, MESSAGES):
        value, line = way_of(texts, path).headers().get("host", ("", 0))
        hint = "no-port" if value.startswith("$host") else "other-name"
        if proxy is not None and (got := _host_of(proxy, path)) != ASKED:
            raise Failed(
                hint,
                sent=f"POST {path} HTTP/1.1\nHost: {ASKED}",
                received=f"Host: {got}",
                wanted=f"Host: {ASKED}",
                label="Server got",
            )
        if value != "$http_host":
            raise wrong(hint, texts, line, "Host as the client sent it")


def _host_of(proxy: Proxy, path: str) -> str:
    """The Host that the server gets when a client sends `ASKED`."""
    target = f"{path}?check=host"
    connection = HTTPConnection(HOST, proxy.port, timeout=LONG)
    try:
        connection.request("POST", target, headers={"Host": ASKED})
        connection.getresponse()
    except (OSError, HTTPException):
        pass
    finally:
        connection.close()
    return proxy.upstream.heads.get(target, {}).get("host", "")
