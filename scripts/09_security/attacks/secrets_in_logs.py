"""Steals: a token, a session and a password, from the server's log.

Nobody attacks here: Alice works as usual, and what she sends stays in a file. Logs are kept for
years, copied to other machines and read by people who have no token.
"""

import secrets

from attacks.finding import Finding
from attacks.target import NotTried, Server, call

AGAINST = "server"
CASE = ""


async def attack(server: Server) -> Finding:
    if server.log is None:
        raise NotTried("needs the server's log")
    password = secrets.token_hex(8)
    begin = len(server.log())
    # Some clients send it in the header, some also in the URL: it must be safe there, too.
    async with server.open(server.alice, f"?token={server.alice}") as alice:
        await alice.initialize()
        await alice.send(call(1, "echo", message=f"My password is {password}"))
        await alice.reply(1)
        # No file can have such a long name. An exception that is logged quotes it.
        await alice.send(call(2, "read_note", name=password * 20))
        await alice.reply(2)
        written = server.log()[begin:]
        found = [
            what
            for what, secret in {
                "her token": server.alice,
                "her session": f"session_id={alice.session_id}",
                "her password": password,
            }.items()
            if secret in written
        ]
    if found:
        return Finding(True, f"in the log: {', '.join(found)}")
    posts = [line for line in written.splitlines() if "POST /message" in line]
    if not posts:
        return Finding(False, "the log says nothing about her messages")
    return Finding(False, f"in the log only {posts[-1][posts[-1].index('POST') :]}")
