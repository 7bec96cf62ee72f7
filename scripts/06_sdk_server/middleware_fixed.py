"""A header on each response, also on a stream: a middleware in plain ASGI.

uv run scripts/06_sdk_server/middleware_fixed.py
"""

import argparse

import uvicorn
from calculator import server
from serving import prepare, url_of
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Signature:
    """Add a header to each response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                signature = (b"x-served-by", b"lesson 06")
                message = {**message, "headers": [*message["headers"], signature]}
            await send(message)

        await self.app(scope, receive, send_signed)


app = server.sse_app()
app.add_middleware(Signature)


def main() -> None:
    parser = argparse.ArgumentParser(description="A middleware around a stream.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  curl -i -m 1 -N {url}/sse", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
