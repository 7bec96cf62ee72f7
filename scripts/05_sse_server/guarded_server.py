"""Grown from messages_server.py: a door, against foreign pages and endless bodies.

uv run scripts/05_sse_server/guarded_server.py
"""

import argparse

import uvicorn
from door import put_in_front, read_body
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from json_rpc import RpcError, read_message
from messages_server import in_background
from sessions_server import health, open_stream, sessions
from settings import Settings

app = FastAPI()
put_in_front(app, Settings())
app.get("/sse")(open_stream)
app.get("/health")(health)


@app.post("/message")
async def receive_message(request: Request) -> Response:
    body = await read_body(request)
    if isinstance(body, Response):
        return body  # it says why the body was refused
    session = sessions.get(request.query_params.get("session_id", ""))
    if session is None:
        return Response("No such session: open GET /sse again\n", 404)
    try:
        message = read_message(body)
    except RpcError as error:
        return JSONResponse(error.reply(), 400)
    in_background(message, session)
    return Response(status_code=202)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An MCP server that strangers cannot use.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    url = f"http://{chosen.host}:{chosen.port}/sse"
    print(f"Serving MCP on {url}. In another terminal:", flush=True)
    print(f"  uv run scripts/05_sse_server/sleeping_reader.py {url}", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)
