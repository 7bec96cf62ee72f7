"""A client that sends request after request and reads nothing. How much does the server keep?

uv run scripts/05_sse_server/sleeping_reader.py http://127.0.0.1:8000/sse
"""

import asyncio
import sys
from urllib.parse import urljoin

import aiohttp

KILOBYTES = 100  # of each reply
MOST_CALLS = 1_000
INITIALIZE = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {}}
ECHO = {"name": "echo", "arguments": {"message": "x" * KILOBYTES * 1_000}}


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(url) as stream:
        while not (line := await stream.content.readline()).startswith(b"data: "):
            pass
        endpoint = urljoin(url, line.decode().removeprefix("data: ").strip())
        # From here on it sleeps: aiohttp reads nothing more from the socket.

        async def post(method: str, params: object) -> int:
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            async with http.post(endpoint, json=request) as answer:
                return answer.status

        await post("initialize", INITIALIZE)
        for call in range(1, MOST_CALLS + 1):
            if (status := await post("tools/call", ECHO)) != 202:
                print(f"Call {call}: status {status}. The server has given up on this reader.")
                return
            if call % 200 == 0:
                megabytes = call * KILOBYTES // 1_000
                print(f"{call} calls accepted: about {megabytes} MB waiting for me")
        print("It would have gone on.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: sleeping_reader.py http://127.0.0.1:8000/sse")
    try:
        asyncio.run(main(sys.argv[1]))
    except aiohttp.ClientConnectionError:
        sys.exit(f"Nothing answers at {sys.argv[1]}. Start a server in another terminal.")
    except KeyboardInterrupt:
        sys.exit(130)
