"""Broken: a client that goes wherever it is sent, and keeps whatever it is given.

uv run scripts/09_security/open_client.py http://127.0.0.1:8009/sse --token your-secret-token
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import httpx2


async def read_events(response: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    """Each event's type and data. It may be as long as it likes."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            yield fields.get("event", "message"), fields.get("data", "")
            fields = {}


async def run(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, follow_redirects=True, timeout=None) as http,
        http.stream("GET", url) as response,
    ):
        events = read_events(response)
        endpoint = ""

        async def ask(number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await http.post(endpoint, json=message)
            async for kind, data in events:
                if kind == "message" and json.loads(data)["id"] == number:
                    return json.loads(data)["result"]
            raise EOFError

        async for kind, data in events:
            if kind == "endpoint":
                # urljoin takes an absolute URL as it is, whoever owns it.
                endpoint = urljoin(url, data)
                break
        client = {"name": "open-client", "version": "1.0.0"}
        start = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}
        await ask(1, "initialize", start)
        await http.post(
            endpoint, json={"jsonrpc": "2.0", "method": "notifications/initialized"}
        )
        tools = await ask(2, "tools/list", {})
        print("Tools:", ", ".join(tool["name"] for tool in tools["tools"]))
        call = {"name": "echo", "arguments": {"message": "Hello"}}
        result = await ask(3, "tools/call", call)
        print("echo:", result["content"][0]["text"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Call echo on any server that says it has it.")
    parser.add_argument("url", help="the event stream, such as http://127.0.0.1:8009/sse")
    parser.add_argument("--token", required=True)
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):  # Ctrl-C
        asyncio.run(run(chosen.url, chosen.token))


if __name__ == "__main__":
    main()
