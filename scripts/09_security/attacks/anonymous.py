"""Steals: the use of tools, without a token.

The open server asks for a token when a stream is opened, and never again.
"""

from attacks.finding import Finding
from attacks.target import Refused, Server, call

AGAINST = "server"
CASE = ""


async def attack(server: Server) -> Finding:
    try:
        async with server.open("") as stream:
            await stream.endpoint()
            return Finding(True, "GET /sse opened a stream for nobody")
    except Refused as refused:
        asked = str(refused)
    async with server.open(server.alice) as alice:
        await alice.initialize()
        message = call("forged", "echo", message="x")
        answer = await server.post(alice.session_id, message, {})
        if answer.status_code == 202:
            await alice.reply("forged")
            return Finding(True, "POST /message called a tool without a token")
        return Finding(False, f"{asked}, POST /message: {answer.status_code}")
