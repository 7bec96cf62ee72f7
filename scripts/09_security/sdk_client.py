"""A client from the official SDK, with a token, over HTTP or HTTPS.

    export TOKEN=…
    uv run scripts/09_security/sdk_client.py http://127.0.0.1:8019/sse
    uv run scripts/09_security/sdk_client.py https://127.0.0.1:8019/sse --ca certificates/ca.pem

The token may also be an option, --token. Then every user of this machine can read it in the
list of processes.
"""

import argparse
import asyncio
import os
import ssl
import sys
from typing import Any

import httpx2
from mcp import Client
from mcp.client.sse import sse_client


async def talk(url: str, token: str, trust: ssl.SSLContext | None) -> None:
    def http_client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        """The SDK's HTTP client. `verify` is the only setting here: whom to trust."""
        return httpx2.AsyncClient(
            headers=headers,
            timeout=timeout or httpx2.Timeout(5),
            auth=auth,
            verify=trust or True,
            # A redirect to another host must not get the token. This server has none.
            follow_redirects=False,
        )

    transport = sse_client(
        url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        httpx_client_factory=http_client,
    )
    # Without "legacy" the SDK negotiates a revision of MCP that does not include HTTP+SSE.
    async with Client(transport, mode="legacy", read_timeout_seconds=5) as client:
        print(f"Connected to {name_of(client)} at {url}")
        listed = await client.list_tools()
        print("Its tools:", ", ".join(tool.name for tool in listed.tools))
        result = await client.call_tool("read_note", {"name": "welcome.txt"})
        print("The note:", text_of(result.content).strip())


def name_of(client: Client) -> str:
    return client.server_info.name if client.server_info else "a server without a name"


def text_of(content: list[Any]) -> str:
    return content[0].text


def why(error: BaseException) -> str:
    """What a person can do about it. The SDK's tasks put errors into groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
        return f"{status} {error.response.reason_phrase}" + (
            ": is the token right?" if status == 401 else ""
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "Its certificate is not one that you trust: see --ca"
    return f"{type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Read a note, with a token.")
    parser.add_argument("url", help="http://127.0.0.1:8019/sse")
    parser.add_argument("--token", default=os.environ.get("TOKEN", ""))
    parser.add_argument("--ca", metavar="FILE", help="trust what this authority vouches for")
    chosen = parser.parse_args()
    try:
        trust = ssl.create_default_context(cafile=chosen.ca) if chosen.ca else None
    except OSError as error:
        sys.exit(f"Cannot read {chosen.ca}: {error.strerror or error}")
    try:
        asyncio.run(talk(chosen.url, chosen.token, trust))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"{chosen.url}: {why(error)}")


if __name__ == "__main__":
    main()
