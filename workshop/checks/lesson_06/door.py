"""Who may come in."""

from __future__ import annotations

from urllib.parse import urlsplit

from workshop.checks.answers import wrong_stream
from workshop.checks.lesson_06.answers import want_let_in
from workshop.checks.lesson_06.opening import suite
from workshop.checks.mcp_session import McpServer

PUBLIC_NAME = "tea.example"


@suite.check(
    "names",
    "It answers to its public name, and to its own pages",
    todo=2,
    after=("address",),
    read="Who may come in",
    rule="The SDK compares Host and Origin with its lists; the names: this exercise",
    why="A proxy passes on the name that the customer typed, and a browser the page's origin.",
    hints={
        "by-default": "It lets in exactly the names that `sse_app` has by default, so what "
        "`names()` says has not reached it. Does `names()` return the settings, and does "
        "TODO 1 pass them on, as `transport_security=names()`?",
        "name-refused": f"It refused its public name, {PUBLIC_NAME}. In `allowed_hosts` it "
        "has no scheme and no port: the customers' scheme has a port of its own.",
        "page-refused": "It refused one of its own pages. An Origin is a scheme, :// and a "
        "host, and nothing after that: https:// for the public name, http:// for the others. "
        "`:*` matches any port there too, and `*` alone matches nothing.",
    },
)
def names(server: McpServer) -> None:
    parts = urlsplit(server.url)
    # By default `sse_app` knows this name too, which the exercise doesn't ask for.
    with server.open("", {"Host": f"[::1]:{parts.port}"}) as stream:
        by_default = stream.status == 200
    want_let_in(server, {"Host": PUBLIC_NAME}, "by-default" if by_default else "name-refused")
    for host, scheme in (
        (PUBLIC_NAME, "https"),
        (parts.netloc, "http"),
        (f"localhost:{parts.port}", "http"),
    ):
        headers = {"Host": host, "Origin": f"{scheme}://{host}"}
        want_let_in(server, headers, "page-refused")


@suite.check(
    "strangers",
    "Nobody gets in with a foreign Host or Origin",
    todo=2,
    after=("address",),
    read="Who may come in",
    rule="HTTP+SSE 2024-11-05: MUST validate Origin; the SDKs' convention: Host too",
    scope="protocol",
    why="Any page that you open could call these tools through your browser.",
    hints={
        "host-let-in": "It let in a request for another name. With a `host=` that is not this "
        "machine's own, or with the protection switched off, the SDK compares nothing.",
        "origin-let-in": "It let in a page from elsewhere. Checking only the Host is half a "
        "guard: a page may use the server's real name.",
    },
)
def strangers(server: McpServer) -> None:
    parts = urlsplit(server.url)
    port = "" if parts.port is None else f":{parts.port}"
    for headers, hint in (
        ({"Host": f"rebound.example{port}"}, "host-let-in"),
        ({"Origin": "https://evil.example"}, "origin-let-in"),
        ({"Origin": "null"}, "origin-let-in"),  # what a sandboxed page or a file sends
    ):
        with server.open("", headers) as stream:
            if not 400 <= stream.status < 500:
                wanted = "HTTP status 421 for the Host, 403 for the Origin"
                raise wrong_stream(hint, stream, wanted)
