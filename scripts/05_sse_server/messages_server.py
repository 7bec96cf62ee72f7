"""Grown from sessions_server.py: every message is answered, and no slow tool holds up others.

uv run scripts/05_sse_server/messages_server.py
"""

import argparse
import asyncio

import uvicorn
from events import write_message
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from json_rpc import Json, RpcError, read_message
from methods import Client, answer
from sessions_server import Session, health, open_stream, sessions

app = FastAPI()
app.get("/sse")(open_stream)
app.get("/health")(health)


@app.post("/message")
async def receive_message(request: Request) -> Response:
    session = sessions.get(request.query_params.get("session_id", ""))
    if session is None:
        return Response("No such session: open GET /sse again\n", 404)
    try:
        message = read_message(await request.body())
    except RpcError as error:
        # On the stream, an error without an id would answer none of the client's requests.
        return JSONResponse(error.reply(), 400)
    in_background(message, session)
    return Response(status_code=202)


tasks: set[asyncio.Task[None]] = set()


def in_background(message: Json, session: Session) -> None:
    """Answer the message on the session's stream, however long that takes."""
    task = asyncio.create_task(reply_on_stream(message, session))
    # The event loop does not keep a task alive: we have to hold a reference.
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def reply_on_stream(message: Json, session: Session) -> None:
    reply = await answer(message, Client(initialized=True))
    if reply is not None:
        session.waiting.put_nowait(write_message(reply).decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An MCP server that answers every message.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    url = f"http://{chosen.host}:{chosen.port}/sse"
    print(f"Serving MCP on {url}. In another terminal:", flush=True)
    print(f"  uv run workshop check 05 --url {url}", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)
