"""Two clients open a stream each. Client A sends two requests. Who reads the replies?

uv run scripts/05_sse_server/two_clients.py http://127.0.0.1:8000/sse
"""

import asyncio
import json
import sys
from urllib.parse import urljoin

import aiohttp

INITIALIZE = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {}}


async def data_of_next(stream: aiohttp.StreamReader, kind: str) -> str:
    """The data of the next event of this type."""
    while (await stream.readline()).strip() != f"event: {kind}".encode():
        if stream.at_eof():
            sys.exit("The stream has ended.")
    return (await stream.readline()).decode().removeprefix("data: ").strip()


async def main(url: str) -> None:
    replies: asyncio.Queue[str] = asyncio.Queue()

    async def read_replies(name: str, stream: aiohttp.StreamReader) -> None:
        while True:
            reply = json.loads(await data_of_next(stream, "message"))
            replies.put_nowait(f"{name} reads the reply to {reply['id']}")

    async with (
        aiohttp.ClientSession() as http,
        http.get(url) as stream_a,
        http.get(url) as stream_b,
        asyncio.timeout(10),
    ):
        endpoint = urljoin(url, await data_of_next(stream_a.content, "endpoint"))
        await data_of_next(stream_b.content, "endpoint")
        readers = [
            asyncio.create_task(read_replies("A", stream_a.content)),
            asyncio.create_task(read_replies("B", stream_b.content)),
        ]
        for request_id in ("A's first question", "A's second question"):
            question = {"jsonrpc": "2.0", "id": request_id, "method": "initialize"}
            await http.post(endpoint, json={**question, "params": INITIALIZE})
            print(await replies.get())
        for reader in readers:
            reader.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: two_clients.py http://127.0.0.1:8000/sse")
    try:
        asyncio.run(main(sys.argv[1]))
    except TimeoutError:
        sys.exit("No reply for 10 s. Is another stream open, which took it?")
    except aiohttp.ClientConnectionError:
        sys.exit(f"Nothing answers at {sys.argv[1]}. Start a server in another terminal.")
    except KeyboardInterrupt:
        sys.exit(130)
