"""Fixed: each answer is complete at once, because the socket says that it is TCP.

    uv run scripts/03_event_hub/nagle_fixed.py

The same server and client as in nagle_broken.py, except for `listen`.
"""

from __future__ import annotations

import asyncio
import socket
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
BODY = b"hello"


def listen() -> socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY on every connection it accepts:
    # small pieces leave at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on this connection, in two writes each."""
    while await reader.readline():
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEADERS)
        writer.write(BODY)
    writer.close()


def ask(port: int) -> None:
    """Send five requests on one connection, and print when their answers came."""
    print("request  headers after  body after")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answers = connection.makefile("rb")
        for number in range(1, 6):
            sent = time.perf_counter()
            connection.sendall(REQUEST)
            answers.read(len(HEADERS))
            headers = (time.perf_counter() - sent) * 1_000
            answers.read(len(BODY))
            body = (time.perf_counter() - sent) * 1_000
            print(f"{number:>7}  {headers:>10.1f} ms  {body:>7.1f} ms", flush=True)


async def main() -> None:
    listener = listen()
    async with await asyncio.start_server(serve, sock=listener):
        await asyncio.to_thread(ask, listener.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
