"""Fixed: a header on every response, streams included. This middleware is plain ASGI.

uv run scripts/06_sdk_server/middleware_fixed.py
"""

from calculator import create_app
from serving import serve
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


app = create_app()
app.add_middleware(Signature)


if __name__ == "__main__":
    serve(app, "curl -i -m 1 -N {url}", port=8036)
