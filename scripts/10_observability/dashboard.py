"""The dashboard: a page that shows an event stream, and the events so far as CSV.

GET /dashboard             the page
GET /dashboard/events      its stream; for curl, choose events with ?types=call,stream.closed
GET /dashboard/events.csv  every event that is kept, by type and minute
"""

import asyncio
import sqlite3
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse
from feed import TYPES, feed
from hub import Subscriber
from starlette.types import Receive, Scope, Send
from streaming import begin_stream, client_left, end_stream, send_chunk

PAGE = Path(__file__).with_name("page")
FILES = ("dashboard.css", "dashboard.js", "page.css")
MAX_READERS = 50

PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    # Load only this server's own files, and let only pages of this machine, such as the
    # notebook, put this one in a frame.
    "Content-Security-Policy": "default-src 'self'; img-src data:; "
    "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*",
}


class FeedStream(Response):
    """The answer to GET /dashboard/events, until the reader or the server leaves."""

    def __init__(self, types: list[str], last_event_id: str | None) -> None:
        super().__init__()
        self.types = types
        self.last_event_id = last_event_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subscriber = feed.hub.subscribe(self.types, self.last_event_id)
        sender = asyncio.create_task(send_pieces(subscriber, send))
        listener = asyncio.create_task(client_left(receive))
        try:
            await asyncio.wait((sender, listener), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            listener.cancel()
            feed.hub.leave(subscriber)
        await end_stream(send)


async def send_pieces(subscriber: Subscriber, send: Send) -> None:
    await begin_stream(send)
    async for piece in subscriber.pieces():
        try:
            await send_chunk(send, piece)
        except TimeoutError:
            return


def add_dashboard(app: FastAPI) -> None:
    """Its routes. All paths share a prefix, so that a proxy can keep strangers out."""

    @app.get("/dashboard")
    async def page() -> Response:
        return FileResponse(PAGE / "dashboard.html", headers=PAGE_HEADERS)

    @app.get("/dashboard/")
    async def page_with_slash() -> Response:
        return RedirectResponse("../dashboard")  # relative, like all links in the page

    @app.get("/dashboard/events")
    async def events(request: Request) -> Response:
        if feed.leaving or len(feed.hub.streams) >= MAX_READERS:
            headers = {"Retry-After": "1", "Connection": "close"}
            return PlainTextResponse("No more readers\n", 503, headers)
        types = request.query_params.get("types", "sample,summary").split(",")
        # The hub remembers each type that anyone asks for, so allow only the known ones.
        if unknown := [type for type in types if type not in TYPES]:
            known = ", ".join(TYPES)
            return PlainTextResponse(f"No type {unknown[0]!r}. There are: {known}\n", 400)
        # The header wins: an EventSource that reconnects sends its newest id there.
        last_event_id = request.headers.get("last-event-id") or request.query_params.get(
            "last_event_id"
        )
        return FeedStream(types, last_event_id)

    @app.get("/dashboard/events.csv")
    async def as_csv() -> Response:
        try:
            text = await feed.analytics.as_csv()
        except sqlite3.Error as error:
            return PlainTextResponse(f"The events cannot be read: {error}\n", 503)
        headers = {"Content-Disposition": 'attachment; filename="events.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    @app.get("/dashboard/{name}")
    async def file(name: str) -> Response:
        if name not in FILES:
            return PlainTextResponse("No such file\n", 404)
        return FileResponse(PAGE / name, headers=PAGE_HEADERS)
