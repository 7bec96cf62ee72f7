"""What tests of SDK servers share: lesson 06's programs as modules, apps served in a thread."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import uvicorn
from mcp_types import CallToolResult, TextContent
from starlette.types import ASGIApp

from workshop.checks.mcp_session import (
    JSON_HEADERS,
    McpServer,
    Session,
    as_json,
    handshake,
    notification,
    request,
)
from workshop.course import ROOT
from workshop.raw_client import Answer, Server
from workshop.running import HOST, free_port

FOLDER = ROOT / "scripts/06_sdk_server"


def program(name: str) -> ModuleType:
    """A program of the lesson as a module. They import each other by their names."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Serve an app on a free port, in a thread with its own event loop. Yields the URL."""
    port = free_port()
    # No logging of uvicorn's own: its handlers would hold on to a stream of pytest's.
    config = uvicorn.Config(
        app,
        HOST,
        port,
        log_config=None,
        log_level="info",
        timeout_graceful_shutdown=1,
        lifespan="off",  # it would set up the log of this process, which is pytest's
        **options,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.listening.wait(20)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def logged(name: str) -> Iterator[list[logging.LogRecord]]:
    """What is logged under a name meanwhile, as it comes in."""
    records: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return True

    logger = logging.getLogger(name)
    logger.addFilter(keep)
    try:
        yield records
    finally:
        logger.removeFilter(keep)


@contextmanager
def session(url: str, *, initialize: bool = True, seconds: float = 10) -> Iterator[Session]:
    """A session spoken by hand, with more patience than a check has: tests share a machine."""
    server = McpServer(url, exact=False)
    with server.open("", seconds=seconds) as stream:
        event = stream.event(lambda event: event.type == "endpoint", seconds=seconds)
        assert event is not None
        opened = Session(stream, server, event.data)
        if initialize:
            opened.post(request("first", "initialize", handshake()), seconds=seconds)
            assert opened.reply("first", seconds=seconds)
            opened.post(notification("notifications/initialized"), seconds=seconds)
        yield opened


def post(url: str, message: object, headers: Mapping[str, str] | None = None) -> Answer:
    """POST a message as JSON to a URL."""
    body = as_json(message).encode()
    return Server(url).request(
        "POST", "", body, {**JSON_HEADERS, **(headers or {})}, seconds=10
    )


def text_of(result: CallToolResult) -> str:
    """The text of a result with one text in it."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text
