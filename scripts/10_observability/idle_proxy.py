"""A proxy like those in front of many servers: it cuts connections that are silent.

    uv run scripts/10_observability/idle_proxy.py --to 127.0.0.1:8030 --silence 2

A common limit is a minute of silence. Whatever comes is passed on at once.
"""

import argparse
import asyncio
import contextlib
import signal
import sys

from serving import check_port, leave_quietly, url_of


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: float | None
) -> None:
    """Pass on what comes, until it ends or is silent for too long."""
    with contextlib.suppress(OSError, TimeoutError):
        while True:
            async with asyncio.timeout(silence):
                chunk = await reader.read(65_536)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def start(host: str, port: int, to: str, silence: float) -> asyncio.Server:
    """Listen, and pass on everything to and from the server at `to`, HOST:PORT."""
    to_host, _, to_port = to.rpartition(":")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(to_host, int(to_port))
        except OSError as error:
            print(f"{to}: {error}", file=sys.stderr)
            writer.close()
            return
        # Cancelled: the program is ending. Python 3.11 would print a traceback per connection.
        with contextlib.suppress(asyncio.CancelledError):
            # A client may be silent: it is waiting for its answer.
            to_server = relay(reader, up_writer, None)
            await asyncio.gather(to_server, relay(up_reader, writer, silence))

    return await asyncio.start_server(connect, host, port)


async def serve(host: str, port: int, to: str, silence: float) -> None:
    """Serve until Ctrl-C or SIGTERM. What is still being passed on is then cancelled."""
    server = await start(host, port, to, silence)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A proxy that cuts what is silent.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8040)
    parser.add_argument("--to", default="127.0.0.1:8030", metavar="HOST:PORT")
    parser.add_argument("--silence", type=float, default=60.0, metavar="SECONDS")
    chosen = parser.parse_args()
    if not chosen.to.rpartition(":")[2].isdecimal():
        parser.error("--to is HOST:PORT, such as 127.0.0.1:8030")
    check_port(chosen.host, chosen.port)
    leave_quietly()
    url = url_of(chosen.host, chosen.port)
    print(f"{url} is {chosen.to}, cut after {chosen.silence:g} s of silence.")
    print(f"In another terminal:\n  curl -N {url}/sse", flush=True)
    asyncio.run(serve(chosen.host, chosen.port, chosen.to, chosen.silence))


if __name__ == "__main__":
    main()
