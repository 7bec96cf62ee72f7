"""The door: which requests come in, how long their bodies may be, and how to refuse one."""

import asyncio
import contextlib

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from settings import Settings
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

JSON_TYPE = "application/json"
MAX_BODY = 4 * 1024 * 1024  # bytes of one POST
LINGER_SECONDS = 1.0  # how long a refused client may go on sending


class Guard:
    """Let a request in only under a name and from a page that we know.

    A web page can make its visitor's browser send requests to 127.0.0.1, directly or by
    a name of its own that points there (DNS rebinding). In Host and Origin the browser says
    truthfully which name it used and whose page asked. Other programs don't send Origin.
    MCP 2024-11-05 says that a server MUST check Origin.
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
            return Refusal(421, "Not a name of this server: see --allow-host\n")
        if origins:
            allowed = {f"http://{host}" for host in own} | self.settings.allowed_origins
            if not all(is_in(origin, allowed) for origin in origins):
                return Refusal(
                    403, "Pages from this Origin are not let in: see --allow-origin\n"
                )
        return None


def own_hosts(scope: Scope) -> set[str]:
    """What Host may say: this machine's own names, with the port that the request came to."""
    _, port = scope["server"] or (None, None)  # a Unix socket has neither
    names = {"127.0.0.1", "localhost", "[::1]"}
    with_port = {f"{name}:{port}" for name in names}
    # A browser leaves out HTTP's own port.
    return with_port | names if port == 80 else with_port


def is_in(value: bytes, allowed: set[str]) -> bool:
    return value.decode("latin-1").lower() in allowed


def put_in_front(app: FastAPI, settings: Settings) -> None:
    """Guard every request, and let pages of the allowed origins read the answers.

    Guard decides who comes in. That alone does not help a page from another origin: its browser
    hides each answer that does not name this origin, and asks with OPTIONS before it sends
    JSON. This is CORS, from the Fetch standard.
    """
    app.add_middleware(Guard, settings=settings)
    if settings.allowed_origins:
        # Added after Guard, so it runs before it: such a page can also read a refusal.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            # The TypeScript SDK sends the second one, even from a page.
            allow_headers=["Content-Type", "MCP-Protocol-Version"],
        )


async def read_body(request: Request) -> bytes | Response:
    """The body of a POST, or what refuses it: 415, or 413 as soon as it is too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != JSON_TYPE:
        # A page may send text/plain to any server without asking. JSON it may not.
        return Refusal(415, f"Send Content-Type: {JSON_TYPE}\n")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return Refusal(413, f"A message may have at most {MAX_BODY} bytes\n")
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody is there to read it
    except asyncio.CancelledError:
        # When uvicorn is told to stop, it cancels what is not done after a second.
        raise HTTPException(503) from None
    return bytes(body)


class Refusal(Response):
    """An answer to a client that is still sending.

    Closing a socket with unread bytes in it resets the connection, and the reset overtakes
    the answer. So answer first, then go on reading for a moment and throw it away.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text, status, media_type="text/plain")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})
