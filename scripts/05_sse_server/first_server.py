"""The first server: an event stream, a POST and one tool. It serves one client at a time.

uv run scripts/05_sse_server/first_server.py
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

app = FastAPI()
waiting: asyncio.Queue[str] = asyncio.Queue()  # the replies that wait for the stream


@app.get("/sse")
async def open_stream() -> StreamingResponse:
    return StreamingResponse(events(), media_type="text/event-stream")


async def events() -> AsyncIterator[str]:
    yield "event: endpoint\ndata: /message\n\n"
    while True:
        yield f"event: message\ndata: {await waiting.get()}\n\n"


@app.post("/message")
async def receive_message(request: Request) -> Response:
    message = await request.json()
    if "id" in message:  # a notification has none, and gets no reply
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
        waiting.put_nowait(json.dumps(reply))
    return Response(status_code=202)


def answer(message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "first-server", "version": "1.0.0"},
            }
        case "tools/list":
            schema = {"type": "object", "properties": {"message": {"type": "string"}}}
            return {"tools": [{"name": "echo", "inputSchema": schema}]}
        case "tools/call":
            text = message["params"]["arguments"]["message"]
            return {"content": [{"type": "text", "text": text}]}
        case _:
            return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The first MCP server over HTTP+SSE.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    url = f"http://{chosen.host}:{chosen.port}/sse"
    print(f"Serving MCP on {url}. In another terminal:", flush=True)
    print(f"  uv run scripts/05_sse_server/sdk_client.py {url}", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)
