"""The door: which requests come in, how long their bodies may be, and how to refuse one."""

import asyncio
import contextlib

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from principals import Authenticate, Principals, Tickets
from settings import Settings
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_TYPE = "application/json"
MAX_BODY = 4 * 1024 * 1024  # bytes of one POST
MAX_BRACKETS = 100_000  # that open in it
LINGER_SECONDS = 1.0  # how long a refused client may go on sending


class Guard:
    """Let a request in only under a name and from a page that we know.

    A web page can make its visitor's browser send requests to 127.0.0.1, directly or under the
    page's own name, if that points there (DNS rebinding). In Host and Origin the browser says
    truthfully which name it used and whose page asked. Other programs don't send Origin. MCP
    2024-11-05 says that a server MUST check Origin.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.check(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def check(self, scope: Scope) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        own = own_hosts(scope) | self.settings.allowed_hosts
        if len(hosts) != 1 or not is_in(hosts[0], own):
            return Refusal(421, "Not a name of this server: see ALLOWED_HOSTS\n")
        if origins:
            allowed = {f"{scope['scheme']}://{host}" for host in own}
            allowed |= self.settings.allowed_origins
            if not all(is_in(origin, allowed) for origin in origins):
                return Refusal(
                    403, "Pages from this Origin are not let in: see ALLOWED_ORIGINS\n"
                )
        return None


def own_hosts(scope: Scope) -> set[str]:
    """What Host may say: this machine's own names, with the port that the request came to."""
    _, port = scope["server"] or (None, None)  # a Unix socket has neither
    names = {"127.0.0.1", "localhost", "[::1]"}
    with_port = {f"{name}:{port}" for name in names}
    # A browser leaves out the port that belongs to the scheme.
    return with_port | names if port in (80, 443) else with_port


def is_in(value: bytes, allowed: set[str]) -> bool:
    return value.decode("latin-1").lower() in allowed


class StayWithHttps:
    """Over HTTPS, tell browsers in each answer never to use plain HTTP here again.

    HTTP Strict Transport Security, RFC 6797. Browsers ignore it for addresses such as
    127.0.0.1, so nothing else on this machine changes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The message gets its own list: answers share theirs.
                MutableHeaders(scope=message)["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        over_tls = scope["type"] == "http" and scope["scheme"] == "https"
        await self.app(scope, receive, send_with_header if over_tls else send)


def put_in_front(
    app: FastAPI, settings: Settings, principals: Principals, tickets: Tickets
) -> None:
    """Before any request reaches the app. What is added last runs first."""
    app.add_middleware(Authenticate, principals=principals, tickets=tickets)
    # Before the tokens are checked: a stranger's page must not learn which are right.
    app.add_middleware(Guard, settings=settings)
    if settings.allowed_origins:
        # Lets these pages read the answers. It keeps nobody out: Guard does.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "MCP-Protocol-Version"],
        )
    app.add_middleware(StayWithHttps)


async def read_body(request: Request, seconds: float) -> bytes | Response:
    """The body of a POST, or what refuses it: 415, 413 if it is too long, 408 if too slow."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != JSON_TYPE:
        # A page may send text/plain to any server without asking, but not JSON.
        return Refusal(415, f"Send Content-Type: {JSON_TYPE}\n")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                # Count while it comes in: a chunked body need not say how long it will be.
                if len(body) > MAX_BODY:
                    return Refusal(413, f"A message may have at most {MAX_BODY} bytes\n")
    except TimeoutError:
        return Refusal(408, f"A message may take at most {seconds:g} s to send\n")
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody is there to read it
    except asyncio.CancelledError:
        # When uvicorn is told to stop, it cancels what is not finished after a second.
        raise HTTPException(503) from None
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        # 4 MiB of "[],[]," keep Python's parser busy for more than a second, and nobody else
        # is served meanwhile. In memory they are 25 times as long.
        return Refusal(413, f"A message may open at most {MAX_BRACKETS} brackets\n")
    return bytes(body)


class Refusal(Response):
    """An answer to a client that is still sending.

    Closing a socket with unread bytes in it resets the connection, and the reset overtakes
    the answer. So answer first, then go on reading for a moment and throw it away.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text, status, {"Connection": "close"}, media_type="text/plain")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})
