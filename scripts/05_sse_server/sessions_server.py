"""Grown from first_server.py: a heartbeat, and a session for each client, until it leaves.

uv run scripts/05_sse_server/sessions_server.py
"""

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from first_server import answer

HEARTBEAT_SECONDS = 15.0

app = FastAPI()


class Session:
    """One client: its id, and the replies that wait for its stream."""

    def __init__(self) -> None:
        # Anyone who has it can send messages in this session: it must not be guessable.
        self.id = secrets.token_urlsafe(32)
        self.waiting: asyncio.Queue[str] = asyncio.Queue()


sessions: dict[str, Session] = {}


@app.get("/sse")
async def open_stream() -> StreamingResponse:
    return StreamingResponse(session_events(Session()), media_type="text/event-stream")


async def session_events(session: Session) -> AsyncIterator[str]:
    """The session's events. As long as they are sent, POST finds the session."""
    sessions[session.id] = session
    try:
        async for event in events(session):
            yield event
    finally:
        del sessions[session.id]


async def events(session: Session) -> AsyncIterator[str]:
    yield f"event: endpoint\ndata: /message?session_id={session.id}\n\n"
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                reply = await session.waiting.get()
        except TimeoutError:
            yield ": heartbeat\n\n"
        else:
            yield f"event: message\ndata: {reply}\n\n"


@app.post("/message")
async def receive_message(request: Request) -> Response:
    session = sessions.get(request.query_params.get("session_id", ""))
    if session is None:
        return Response("No such session: open GET /sse again\n", 404)
    message = await request.json()
    if "id" in message:
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
        session.waiting.put_nowait(json.dumps(reply))
    return Response(status_code=202)


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"status": "ok", "connections": len(sessions)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An MCP server with sessions.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--heartbeat", type=float, default=15.0, metavar="SECONDS")
    chosen = parser.parse_args()
    HEARTBEAT_SECONDS = chosen.heartbeat
    url = f"http://{chosen.host}:{chosen.port}/sse"
    print(f"Serving MCP on {url}. In another terminal:", flush=True)
    print(f"  uv run scripts/05_sse_server/two_clients.py {url}", flush=True)
    # After a second of waiting, cut the streams off. What this costs: see "Leaving".
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)
