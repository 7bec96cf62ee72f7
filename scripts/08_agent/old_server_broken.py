"""Broken: a server from before 2026 that ignores requests it does not know.

    uv run scripts/08_agent/old_server_broken.py

The SDK's client asks `server/discover` first. Lesson 05's server answers that with -32601.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

NUMBER = {"type": "number"}
ADD = {
    "name": "add",
    "description": "Add two numbers.",
    "inputSchema": {
        "type": "object",
        "properties": {"a": NUMBER, "b": NUMBER},
        "required": ["a", "b"],
    },
}
RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2024-11-05",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "old", "version": "1"},
    },
    "tools/list": {"tools": [ADD]},
}
# One client at a time is enough to see it.
send, receive = anyio.create_memory_object_stream[str](100)


async def events() -> AsyncIterator[str]:
    yield "event: endpoint\ndata: /message\n\n"
    async for message in receive:
        yield f"event: message\ndata: {message}\n\n"


async def sse(request: Request) -> Response:
    return StreamingResponse(events(), media_type="text/event-stream")


async def message(request: Request) -> Response:
    asked = json.loads(await request.body())
    print(f"{asked['method']}", flush=True)
    result = RESULTS.get(asked["method"])
    if asked["method"] == "tools/call":
        given = asked["params"]["arguments"]
        result = {"content": [{"type": "text", "text": str(given["a"] + given["b"])}]}
    if result is not None:
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        await send.send(json.dumps(answer))
    return Response(status_code=202)


app = Starlette(
    routes=[Route("/sse", sse), Route("/message", message, methods=["POST"])],
)

if __name__ == "__main__":
    serve(app, "uv run scripts/08_agent/first_agent.py {url}", port=8048)
