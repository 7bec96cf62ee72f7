"""The calculator inside an existing FastAPI app, under a prefix.

uv run scripts/06_sdk_server/mounted_calculator.py
"""

from calculator import server
from door import allowed
from fastapi import FastAPI
from serving import lifespan, serve


def create_app() -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def index() -> dict[str, str]:
        return {"calculator": "/calculator/sse"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    # The prefix is written here and nowhere else. With each request, the app below is told
    # where it is mounted, and puts that in front of the path in the endpoint event.
    app.mount("/calculator", server.sse_app(transport_security=allowed()))
    return app


app = create_app()


if __name__ == "__main__":
    serve(app, "curl {base}/health", "curl -N {url}", port=8026, path="/calculator/sse")
