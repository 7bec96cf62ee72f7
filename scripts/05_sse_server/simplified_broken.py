"""Broken: no SDK client connects. Heartbeats on the stream, the reply in the POST's response.

curl is happy with it. An SDK client waits for the event `endpoint`, which never comes.

    uv run scripts/05_sse_server/simplified_broken.py
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


async def heartbeats() -> AsyncIterator[str]:
    while True:
        yield "event: heartbeat\ndata: {}\n\n"
        await asyncio.sleep(1)


@app.get("/sse")
async def open_stream() -> StreamingResponse:
    return StreamingResponse(heartbeats(), media_type="text/event-stream")


@app.post("/message")
async def post_message(message: dict[str, Any]) -> dict[str, Any]:
    text = message["params"]["arguments"]["message"]
    result = {"content": [{"type": "text", "text": text}], "isError": False}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def main() -> None:
    parser = argparse.ArgumentParser(description="A server that no SDK client connects to.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8005)
    arguments = parser.parse_args()
    url = f"http://{arguments.host}:{arguments.port}"
    print(f"Serving on {url}. In another terminal:", flush=True)
    print(f"  uv run scripts/05_sse_server/sdk_client.py {url}/sse", flush=True)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
