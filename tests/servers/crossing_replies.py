"""An MCP server over SSE that looks for the receiver of a reply by the request's id alone.

With one client it is a good server. All clients number their requests 1, 2, 3: with
several, a reply goes to whoever asked last with the same id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from typing import Any, NoReturn

from aiohttp import web

Json = dict[str, Any]

# So long the tool takes, in seconds: others ask meanwhile.
TOOL_SECONDS = 0.3


class Server:
    def __init__(self) -> None:
        self.sessions: dict[str, asyncio.Queue[Json]] = {}
        self.asked: dict[int, list[str]] = {}  # the sessions that asked, by the request's id
        self.calls = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def stream(self, request: web.Request) -> NoReturn:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        session = secrets.token_urlsafe()
        queue = self.sessions[session] = asyncio.Queue()
        await response.write(
            f"event: endpoint\ndata: /message?session_id={session}\n\n".encode()
        )
        while True:
            await response.write(f"data: {json.dumps(await queue.get())}\n\n".encode())

    async def post(self, request: web.Request) -> web.Response:
        session, message = request.query["session_id"], await request.json()
        match message["method"]:
            case "initialize":
                self.reply(
                    session,
                    message,
                    {
                        "protocolVersion": "2024-11-05",
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "crossing", "version": "1"},
                    },
                )
            case "tools/list":
                tool = {"name": "add", "inputSchema": {"type": "object"}}
                self.reply(session, message, {"tools": [tool]})
            case "tools/call":
                self.calls += 1
                print(f"Call {self.calls}", flush=True)
                self.asked.setdefault(message["id"], []).append(session)
                task = asyncio.create_task(self.call(message))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        return web.Response(status=202)

    async def call(self, message: Json) -> None:
        await asyncio.sleep(TOOL_SECONDS)
        numbers = message["params"]["arguments"]
        text = {"type": "text", "text": str(numbers["a"] + numbers["b"])}
        receiver = self.asked[message["id"]].pop()  # the mistake
        self.reply(receiver, message, {"content": [text]})

    def reply(self, session: str, message: Json, result: Json) -> None:
        self.sessions[session].put_nowait(
            {"jsonrpc": "2.0", "id": message["id"], "result": result}
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    server = Server()
    app = web.Application()
    app.router.add_get("/sse", server.stream)
    app.router.add_post("/message", server.post)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
