"""The scripted hub, and the proxies in front of it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from workshop.checks.lesson_03.settings import CROWDS
from workshop.checks.lesson_03.streams import STREAMS, Script
from workshop.checks.loop_thread import LoopThread
from workshop.course import ROOT
from workshop.loading import load

KINDS = {
    "page": "text/html",
    "json": "application/json",
    "charset": "text/event-stream; charset=utf-8",
}


class ScriptedHub:
    """Answers `GET /NAME…` with the script of that name."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.asked: dict[str, list[tuple[float, str]]] = {}
        self.beats: dict[str, int] = {}
        self.empty_ids: set[str] = set()  # the paths asked for with a Last-Event-ID of nothing
        self.not_accepted: set[str] = set()  # and those without the right Accept

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or the proxy has gone, or the checks are over
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        found = re.search(r"\r\nlast-event-id:[ \t]*([^\r\n]*)", head, re.IGNORECASE)
        last_event_id = found.group(1) if found else ""
        if found and not last_event_id:
            self.empty_ids.add(path)
        if not re.search(r"\r\naccept:[^\r\n]*text/event-stream", head, re.IGNORECASE):
            self.not_accepted.add(path)
        asked = self.asked.setdefault(path, [])
        asked.append((time.monotonic(), last_event_id))
        after = int(last_event_id) if last_event_id.isdecimal() else 0
        name = path.removeprefix("/events/").partition(".")[0]
        kind = KINDS.get(name, "text/event-stream")
        opened = False
        async for piece in self.scripts[name](len(asked), after):
            if isinstance(piece, int):
                writer.write(f"HTTP/1.1 {piece} X\r\nConnection: close\r\n\r\n".encode())
                return
            if not opened:
                opened = True
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
                    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
                )
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            # Of the first connection alone: a client that comes back gets more of them.
            if piece.startswith(b": heartbeat") and len(asked) == 1:
                self.beats[path] = self.beats.get(path, 0) + 1
        writer.write(b"0\r\n\r\n")


class Lab:
    """The scripted hub and the proxies in front of it, in a thread."""

    def __init__(self) -> None:
        self.hub = ScriptedHub({name: script for name, (script, _) in STREAMS.items()})
        self.urls: dict[str, list[str]] = {}
        self._proxies: dict[str, Any] = {}
        self._servers = LoopThread()
        self._servers.run(self._start())

    async def _start(self) -> None:
        proxy_module = load(ROOT / "scripts/03_event_hub/faulty_proxy.py")
        server = await asyncio.start_server(self.hub.answer, "127.0.0.1", 0, backlog=128)
        hub_port: int = server.sockets[0].getsockname()[1]
        for name, (_, options) in STREAMS.items():
            port = hub_port
            if options is not None:
                faults = dict(options)
                seed = faults.pop("seed", None)
                proxy = proxy_module.FaultyProxy(
                    ("127.0.0.1", hub_port), proxy_module.Faults(**faults), seed=seed
                )
                port = await proxy.start()
                self._proxies[name] = proxy
            crowd = CROWDS.get(name)
            paths = [f"{name}.{n}" for n in range(crowd)] if crowd else [name]
            self.urls[name] = [f"http://127.0.0.1:{port}/events/{path}" for path in paths]

    def requests(self, name: str, number: int = 0) -> list[tuple[float, str]]:
        """The requests for a stream so far: when, in seconds, and with which Last-Event-ID."""
        path = "/" + self.urls[name][number].split("/", 3)[3]
        if name in self._proxies:
            requests = list(self._proxies[name].requests)
            return [(each.time, each.last_event_id) for each in requests if each.path == path]
        return list(self.hub.asked.get(path, []))

    def close(self) -> None:
        self._servers.close()
