"""An MCP server over SSE that goes wrong in the way that the path names, for lesson 07.

`GET /WAY/sse` opens the stream, `POST /WAY/message` takes the messages, `GET /seen` says what
came in. The ways are in `Sessions`; `/fine/sse` is a server without fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from aiohttp import web

Json = dict[str, Any]

EVENTS = {"Content-Type": "text/event-stream"}
TOKEN = "Bearer let-me-in"
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "times": {"type": "integer", "default": 1}},
    "required": ["text"],
}


class Sessions:
    """One queue for each open stream, and everything that was POSTed or said in a header."""

    def __init__(self) -> None:
        self.queues: dict[str, asyncio.Queue[Json]] = {}
        self.seen: list[Json] = []

    async def stream(self, request: web.Request) -> web.StreamResponse:
        way = request.match_info["way"]
        if way.isdigit():
            where = {"Location": "http://elsewhere.example/sse"}
            return web.Response(status=int(way), text="no", headers=where)
        if way == "html":
            return web.Response(text="<h1>Hello</h1>", content_type="text/html")
        if way == "json":
            return web.json_response({"hello": "world"})
        if way == "token" and request.headers.get("Authorization") != TOKEN:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        response = web.StreamResponse(headers=EVENTS)
        await response.prepare(request)
        await response.write(b": welcome\n\n")
        if way == "ends":
            return response
        if way == "cut":
            assert request.transport is not None
            request.transport.abort()
            return response
        if way == "elsewhere":
            await response.write(b"event: endpoint\ndata: http://127.0.0.2:1/collect\n\n")
        if way in ("elsewhere", "no-endpoint"):
            await asyncio.Event().wait()
        session = f"{len(self.queues)}"
        queue = self.queues[session] = asyncio.Queue()
        endpoint = f"/{way}/message?session_id={session}"
        await response.write(f"event: endpoint\ndata: {endpoint}\n\n".encode())
        while True:
            messages = [await queue.get()]
            while not queue.empty():
                messages.append(queue.get_nowait())
            # In one piece.
            events = "".join(f"data: {json.dumps(message)}\n\n" for message in messages)
            await response.write(events.encode())

    async def post(self, request: web.Request) -> web.Response:
        way, message = request.match_info["way"], await request.json()
        self.seen.append(message)
        if way.startswith("post-") and message["method"] == "tools/call":
            return web.Response(status=int(way.removeprefix("post-")))
        queue = self.queues[request.query["session_id"]]
        result = self.result(way, message)
        if way == "progress" and message["method"] == "tools/call":
            # In one piece with the result.
            token = message["params"]["_meta"]["progressToken"]
            report = {"progressToken": token, "progress": 1, "total": 1}
            method = "notifications/progress"
            queue.put_nowait({"jsonrpc": "2.0", "method": method, "params": report})
        if result is not None and "id" in message:
            await queue.put({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return web.Response(status=202)

    def result(self, way: str, message: Json) -> Json | None:
        """None: there is none, or it never comes."""
        params = message.get("params", {})
        match message["method"]:
            case "initialize" if way != "mute":
                return {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "strange", "version": "1\x1b[31m"},
                }
            case "tools/list":
                second = params.get("cursor") == "2"
                name = "wait" if second else "repeat"
                tool = {"name": name, "description": f"{name} it.", "inputSchema": SCHEMA}
                if way == "endless":
                    return {"tools": [tool], "nextCursor": "1"}
                return {"tools": [tool], **({} if second else {"nextCursor": "2"})}
            case "tools/call" if params["name"] != "wait":
                content: list[Json] = [
                    {"type": "text", "text": params["arguments"]["text"]},
                    {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                    {"type": "resource_link", "name": "more", "uri": "http://127.0.0.1/more"},
                ]
                return {"content": content, "isError": False}
        return None

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(self.seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    sessions = Sessions()
    app = web.Application()
    app.router.add_get("/seen", sessions.tell)
    app.router.add_get("/{way}/sse", sessions.stream)
    app.router.add_post("/{way}/message", sessions.post)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
