"""Broken: a server as people write it. Every attack of this lesson succeeds against it.

    uv run scripts/09_security/open_server.py

Each line here is from some tutorial. Where such a server says host="0.0.0.0", this one waits to
be asked: the attacks come from this machine, and nobody else in the room should join in.
"""

import argparse
import asyncio
import json
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from leaving import before_leaving

NOTES = os.environ.get("NOTES", str(Path(__file__).parent / "notes"))

logger = logging.getLogger("uvicorn.error")


class Session:
    """One client: its id and the events that wait for it. None ends the stream."""

    def __init__(self) -> None:
        self.id = str(len(sessions) + 1)
        self.waiting: asyncio.Queue[str | None] = asyncio.Queue()
        sessions[self.id] = self


sessions: dict[str, Session] = {}
asked_by: dict[Any, Session] = {}  # which session a request came from, by the request's id


async def events(session: Session, client: str) -> AsyncIterator[str]:
    yield f"id: {client}-1\nevent: connected\ndata: Hello, {client}\n\n"
    yield f"event: endpoint\ndata: /message?session_id={session.id}\n\n"
    while True:
        try:
            async with asyncio.timeout(15):
                event = await session.waiting.get()
        except TimeoutError:
            yield ": heartbeat\n\n"
            continue
        if event is None:
            return
        yield event


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    def end_streams() -> None:
        for session in sessions.values():
            session.waiting.put_nowait(None)

    with before_leaving(end_streams):
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


@app.get("/sse")
async def open_stream(
    request: Request, token: str = "", client: str = "you", session_id: str = ""
) -> StreamingResponse:
    token = token or request.headers.get("authorization", "").removeprefix("Bearer ")
    if token != "your-secret-token":
        raise HTTPException(401)
    # A client that has lost its connection continues its session.
    session = sessions.get(session_id) or Session()
    return StreamingResponse(events(session, client), media_type="text/event-stream")


@app.post("/message")
async def receive_message(request: Request, session_id: str) -> Response:
    message = json.loads(await request.body())
    logger.info("Received %s with %s", message, dict(request.headers))
    session = sessions.get(session_id)
    if session is None:
        raise HTTPException(404)
    if "id" in message:
        asked_by[message["id"]] = session
        task = asyncio.create_task(reply(message))
        background.add(task)
        task.add_done_callback(background.discard)
    return Response(status_code=202)


background: set[asyncio.Task[None]] = set()


async def reply(message: dict[str, Any]) -> None:
    """Answer a request on the stream of the session that it came from."""
    try:
        result = await call_method(message["method"], message.get("params", {}))
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    except Exception as error:
        answer = {
            "jsonrpc": "2.0",
            "id": message["id"],
            "error": {"code": -32601, "message": repr(error)},
        }
    session = asked_by[message["id"]]
    session.waiting.put_nowait(f"event: message\ndata: {json.dumps(answer)}\n\n")


async def call_method(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            return {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "open-server", "version": "1.0.0"},
            }
        case "tools/list":
            return {"tools": [listing(name, argument) for name, argument in TOOLS.items()]}
        case "tools/call":
            text = await call_tool(params["name"], params["arguments"])
            return {"content": [{"type": "text", "text": text}], "isError": False}
    raise ValueError(f"Method not found: {method}")


TOOLS = {"echo": "message", "wait": "seconds", "read_note": "name", "count_lines": "name"}


def listing(name: str, argument: str) -> dict[str, Any]:
    kind = "number" if argument == "seconds" else "string"
    schema = {"type": "object", "properties": {argument: {"type": kind}}}
    return {"name": name, "description": name, "inputSchema": schema}


async def call_tool(name: str, arguments: dict[str, Any]) -> str:
    match name:
        case "echo":
            return arguments["message"]
        case "wait":
            await asyncio.sleep(arguments["seconds"])
            return f"Waited {arguments['seconds']} s"
        case "read_note":
            return Path(f"{NOTES}/{arguments['name']}").read_text()
        case "count_lines":
            command = f"wc -l {NOTES}/{arguments['name']}"
            return subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    raise ValueError(f"No tool is named {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server that everybody can use.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8009)
    chosen = parser.parse_args()
    url = f"http://{chosen.host}:{chosen.port}"
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  curl -N '{url}/sse?token=your-secret-token'", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)
