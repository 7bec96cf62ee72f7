"""Fixed: a client that comes over plain HTTP is redirected to the secure server.

    uv run scripts/09_security/redirect.py --to-port 8019

The answer is 308: unlike after a 301, a client sends a POST again as a POST.
"""

import argparse
import signal

import uvicorn
from connection import Connection
from door import Refusal
from running import leave, listen, without_port
from settings import Settings
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class Redirect:
    """An app that only says where to go instead.

    The target must not come from an unchecked Host. Otherwise anyone who chooses Host chooses
    where this server sends people, and a cache in between remembers it for everybody.
    """

    def __init__(self, names: frozenset[str], to_port: int) -> None:
        self.names = names
        self.port = "" if to_port == 443 else f":{to_port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope)(scope, receive, send)

    def answer(self, scope: Scope) -> Response:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        name = without_port(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else ""
        if name not in self.names:
            return Refusal(421, "Not a name of this server: see ALLOWED_HOSTS\n")
        if any(header == b"authorization" for header, _ in scope["headers"]):
            # A redirect would hide the mistake, and the next request would make it again.
            return Refusal(403, "Use https. Others may have read this token: get a new one\n")
        path = scope["raw_path"].decode("ascii")
        if not path.startswith("/"):  # "@evil.example" would turn the name into a user's
            return Refusal(400, "A path begins with /\n")
        query = scope["query_string"].decode("latin-1")
        name = f"[{name}]" if ":" in name else name
        target = f"https://{name}{self.port}{path}" + (f"?{query}" if query else "")
        return PlainTextResponse(f"{target}\n", 308, {"Location": target})


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends plain HTTP to HTTPS.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--to-port", type=int, default=8019, help="where HTTPS is")
    chosen = parser.parse_args()
    settings = Settings.from_environment()
    names = OWN_NAMES | {without_port(host) for host in settings.allowed_hosts}
    listener = listen(chosen.host, chosen.port)
    port = listener.getsockname()[1]
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, leave)
    print(f"Sending http://{chosen.host}:{port} to https, port {chosen.to_port}", flush=True)
    config = uvicorn.Config(
        Redirect(names, chosen.to_port),
        http=Connection,
        lifespan="off",
        access_log=False,  # it has nothing to say
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
