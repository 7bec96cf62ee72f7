"""The calculator inside a FastAPI app that was there before, under a prefix.

uv run scripts/06_sdk_server/mounted_calculator.py
"""

import argparse

import uvicorn
from calculator import server
from fastapi import FastAPI
from mcp.server.transport_security import TransportSecuritySettings
from serving import prepare, url_of

app = FastAPI()


@app.get("/")
async def index() -> dict[str, str]:
    return {"calculator": "/calculator/sse"}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


def mount(hosts: list[str]) -> None:
    """Serve MCP under /calculator, to those who call this machine by one of `hosts`."""
    security = TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )
    # The prefix stands here and nowhere else: the app below it hears of it with each
    # request, and puts it in front of the path in the endpoint event.
    app.mount("/calculator", server.sse_app(transport_security=security))


def main() -> None:
    parser = argparse.ArgumentParser(description="A calculator inside a FastAPI app.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    mount([f"127.0.0.1:{chosen.port}", f"localhost:{chosen.port}"])
    print(f"Serving MCP on {url}/calculator/sse. In another terminal:", flush=True)
    print(f"  curl {url}/health", flush=True)
    print(f"  curl -N {url}/calculator/sse", flush=True)
    # A client that sends half a message and stops keeps nobody from leaving: 1 second.
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
