"""Broken: a client that goes wherever the endpoint event sends it, and takes its token along.

uv run scripts/07_sdk_client/elsewhere_broken.py http://127.0.0.1:8027/sse
"""

import asyncio
import sys
from urllib.parse import urljoin

import httpx2

HEADERS = {"Authorization": "Bearer a-secret-of-yours"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2024-11-05",
        "capabilities": {},
        "clientInfo": {"name": "naive", "version": "1.0.0"},
    },
}


async def main(url: str) -> None:
    async with httpx2.AsyncClient(headers=HEADERS) as http, http.sse(url) as events:
        async for event in events:
            if event.event == "endpoint":
                # urljoin takes an absolute URL as it is, whosever it may be.
                endpoint = urljoin(url, event.data)
                response = await http.post(endpoint, json=INITIALIZE)
                print(f"POST {endpoint}: {response.status_code}")
                return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
