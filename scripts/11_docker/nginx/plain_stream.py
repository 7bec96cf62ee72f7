"""An event stream with nothing in it that helps proxies: no `X-Accel-Buffering`, no heartbeat.

    uv run scripts/11_docker/nginx/plain_stream.py --interval 0.5

GET /sse sends `--events` events, `--interval` seconds apart, and ends. GET /idle sends one and
then says nothing more. Any POST gets 202.
"""

import argparse
import asyncio
import errno
import signal
import sys
from collections.abc import AsyncIterator

from aiohttp import web


async def numbers(events: int, interval: float) -> AsyncIterator[int]:
    """1, 2, 3, … up to `events`, `interval` seconds apart."""
    for number in range(1, events + 1):
        if number > 1:
            await asyncio.sleep(interval)
        yield number


async def open_stream(request: web.Request) -> web.StreamResponse:
    """The head of an event stream; aiohttp sends it in chunks if the client knows HTTP/1.1."""
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    stream = web.StreamResponse(headers=headers)
    await stream.prepare(request)
    return stream


async def idle(request: web.Request) -> web.StreamResponse:
    stream = await open_stream(request)
    await stream.write(b"data: 1\n\n")
    await asyncio.Event().wait()
    return stream


async def take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=202)


def create_app(events: int, interval: float) -> web.Application:
    async def sse(request: web.Request) -> web.StreamResponse:
        stream = await open_stream(request)
        async for number in numbers(events, interval):
            await stream.write(f"data: {number}\n\n".encode())
        return stream

    app = web.Application()
    app.add_routes([web.get("/sse", sse), web.get("/idle", idle), web.post("/{path:.*}", take)])
    return app


async def run(app: web.Application, host: str, port: int) -> None:
    """Serve until the program is stopped."""
    # A stream that is still open when the program is stopped does not delay its exit.
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        url = f"http://{host}:{port}"
        print(f"Listening on {url} (Ctrl-C stops it). In another terminal, type:")
        print(f"  curl -N {url}/sse", flush=True)
        await asyncio.Event().wait()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            sys.exit(f"Can't listen on {host}, port {port}: {error.strerror}")
        sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="An event stream that does not help proxies.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds (default: 0.5)")
    options = parser.parse_args()

    # SIGTERM ends the program as Ctrl-C does. Ctrl-C needs the handler too: a shell script
    # that starts a program with `&` makes it ignore SIGINT.
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, signal.default_int_handler)
    try:
        asyncio.run(
            run(create_app(options.events, options.interval), options.host, options.port)
        )
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
