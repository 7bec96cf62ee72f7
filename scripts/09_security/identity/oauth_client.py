"""An MCP client over SSE that signs in with OAuth: from a 401 to the result of a tool.

    uv run scripts/09_security/identity/oauth_client.py
    uv run scripts/09_security/identity/oauth_client.py --approve alice

It prints each request that it makes. Open the address that it prints, and say yes there.
With --approve it plays the browser itself, and says yes in that user's name.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.sse import sse_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp_types import TextContent
from pydantic import AnyUrl

PATIENCE = 300.0  # seconds for the user to answer
BACK = b"<!doctype html>\n<p>You can close this page and return to the terminal.\n"


class InMemory:
    """Keeps the token and the registration for this run. A real client uses the keyring."""

    tokens: OAuthToken | None = None
    client_info: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client_info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client_info = client_info


class Browser:
    """Sends the user to the authorization server, and waits until the browser comes back."""

    def __init__(self, approve: str | None) -> None:
        self.approve = approve
        self.uri = ""
        self.result: asyncio.Future[dict[str, str]] = asyncio.Future()

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Listen on a free port, for the one request that brings the code."""
        server = await asyncio.start_server(self.receive, "127.0.0.1", 0)
        async with server:
            self.uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
            yield

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()  # browsers open connections that they then do not use
            return
        url = urlsplit(head.split(b" ")[1].decode("latin-1"))
        if url.path == "/callback" and not self.result.done():
            query = parse_qs(url.query)
            self.result.set_result({name: values[0] for name, values in query.items()})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n")
        writer.write(BACK)
        await writer.drain()
        writer.close()

    async def open(self, url: str) -> None:
        if self.approve is None:
            print(f"Open this address, and answer there:\n  {url}", flush=True)
        else:
            await say_yes(url, self.approve)

    async def came_back(self) -> AuthorizationCodeResult:
        async with asyncio.timeout(PATIENCE):
            result = await self.result
        if "code" not in result:
            raise OAuthFlowError(f"The answer was: {result.get('error', 'nothing')}")
        return AuthorizationCodeResult(
            code=result["code"], state=result.get("state"), iss=result.get("iss")
        )


async def say_yes(url: str, user: str) -> None:
    """What a browser does when its user presses the button."""
    async with httpx2.AsyncClient(event_hooks={"response": [tell]}) as client:
        page = await client.get(url, follow_redirects=True)
        if "<form" not in page.text:
            return  # the authorization server refused, and has sent the browser back already
        origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
        form = {"user": user, "answer": "yes"}
        await client.post(
            page.url, data=form, headers={"Origin": origin}, follow_redirects=True
        )


async def tell(response: httpx2.Response) -> None:
    """Print a request, and its answer."""
    url, method = response.request.url, response.request.method
    print(f"{response.status_code}  {method:4} {url.netloc.decode()}{url.path}")
    for part in response.headers.get("www-authenticate", "").split(", "):
        if part:
            print(f"  {part}")


def telling_client(
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        headers=headers, timeout=timeout, auth=auth, event_hooks={"response": [tell]}
    )


async def call_tool(url: str, approve: str | None) -> str:
    """Sign in at whatever authorization server the MCP server names, and call its tool."""
    browser = Browser(approve)
    async with browser.waiting():
        provider = OAuthClientProvider(
            url,
            OAuthClientMetadata(
                client_name="Lesson 09",
                redirect_uris=[AnyUrl(browser.uri)],
                grant_types=["authorization_code"],
                # A program on a user's machine cannot keep a secret. PKCE replaces it.
                token_endpoint_auth_method="none",
            ),
            InMemory(),
            redirect_handler=browser.open,
            callback_handler=browser.came_back,
        )
        transport = sse_client(url, auth=provider, httpx_client_factory=telling_client)
        async with Client(transport, mode="legacy", read_timeout_seconds=30) as client:
            result = await client.call_tool("read_diary", {})
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


def reason(error: BaseException) -> str:
    """The first line of the first error in it: tasks wrap theirs in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (str(error) or type(error).__name__).partition("\n")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Sign in at an MCP server, and call a tool.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8069/sse")
    parser.add_argument("--approve", metavar="NAME", help="say yes, as this user")
    chosen = parser.parse_args()
    # The SDK logs each failure with a traceback, and raises it as well.
    logging.disable()
    try:
        print(asyncio.run(call_tool(chosen.url, chosen.approve)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"{chosen.url}: {reason(error)}")


if __name__ == "__main__":
    main()
