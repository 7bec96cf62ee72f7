"""A server that you can see into: logs, metrics, traces, health, and an orderly shutdown.

    uv run scripts/10_observability/observed_server.py

It grew from lesson 05's `sse_server.py`. The sessions are in `sessions.py`, what is done around
a call is in `calls.py`, and what is done around a request is in `observe.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

import log as logs
import tracing
from calls import observed_answer
from dashboard import add_dashboard
from door import JSON_TYPE, put_in_front, read_body
from events import encode_event, now, write_message
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from feed import feed
from json_rpc import Json, RpcError, read_message
from leaving import Hurry, before_leaving, wait_for
from log import log
from metrics import HEARTBEATS_LATE, SESSIONS, messages
from observe import Observe, internal_error
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from running import serve
from sessions import LAST, Session, opened
from settings import Settings
from starlette.types import Receive, Scope, Send
from streaming import begin_stream, client_left, end_stream, send_chunk

MAX_CALLS = 100  # for one session: calls that have no reply yet
GOODBYE_SECONDS = 0.4  # for the last events on all streams, when the server leaves
# When a stream ends, its client waits at least this long before it reconnects. With less, the
# clients would be back before a server that takes a moment to restart is ready.
RETRY_SECONDS = 0.5


class SseTransport:
    """All sessions of a server, and its two endpoints."""

    def __init__(self, settings: Settings, stop_accepting: Callable[[], None]) -> None:
        self.settings = settings
        self.stop_accepting = stop_accepting
        self.sessions: dict[str, Session] = {}
        self.ready = True  # a load balancer may send clients
        self.leaving = False  # new streams and calls are refused

    async def receive_message(self, request: Request) -> Response:
        """POST: the reply goes to the session's stream."""
        body = await read_body(request)
        if isinstance(body, Response):
            return body
        # Look only when the body is here: the session may have closed in the meantime.
        session = self.sessions.get(request.query_params.get("session_id", ""))
        if session is None or session.ended_by is not None:
            return PlainTextResponse("No such session: open GET /sse again\n", 404)
        if self.leaving:
            # 202 is a promise that the reply will come. Refuse rather than break it.
            return leaving_response()
        try:
            message = read_message(body)
        except RpcError as error:
            return Response(write_message(error.reply()) + b"\n", 400, media_type=JSON_TYPE)
        if len(session.calls) >= MAX_CALLS:
            return PlainTextResponse("Too many calls at once\n", 429, {"Retry-After": "1"})
        messages("in").inc()
        session.start(self.reply_on_stream(message, session), session.calls)
        return Response(status_code=202)

    async def reply_on_stream(self, message: Json, session: Session) -> None:
        reply = await observed_answer(message, session, self.settings.slow_seconds)
        if reply is None:
            return
        try:
            data = write_message(reply)
        except (TypeError, ValueError):
            log.exception("reply cannot be written")  # a tool's result that JSON cannot express
            data = write_message(internal_error(message["id"], "Internal error"))
        session.send(encode_event("message", data))
        messages("out").inc()

    async def leave(self, hurry: Hurry) -> None:
        """Called when the server has to stop. Every call that got a 202 also gets a reply."""
        self.ready = False
        self.stop_accepting()
        log.info("leaving", streams=len(self.sessions))
        await wait_for(asyncio.sleep(self.settings.notice_seconds), hurry)
        self.leaving = True
        feed.leave()
        sessions = list(self.sessions.values())
        # Each client gets a different time: a thousand at once would be too many.
        apart = self.settings.spread_seconds / max(1, len(sessions) - 1)
        sent_away = asyncio.gather(
            *(
                send_away(session, RETRY_SECONDS + apart * place)
                for place, session in enumerate(sessions)
            )
        )
        await wait_for(sent_away, hurry, self.settings.finish_seconds)
        for session in sessions:
            for call in session.calls:
                call.cancel()  # its reply will be an error
        await wait_for(sent_away, Hurry(), GOODBYE_SECONDS)
        for session in sessions:
            session.close("server left")


async def send_away(session: Session, retry_seconds: float) -> None:
    """When its calls are done, tell the client when to reconnect, and end the stream."""
    if session.calls:
        await asyncio.wait(session.calls)
    session.send(b"retry: %d\n\n" % (1000 * retry_seconds))
    session.send(LAST)
    await session.closed.wait()


def leaving_response() -> Response:
    # `close`: the next connection may reach another server.
    headers = {"Retry-After": "1", "Connection": "close"}
    return PlainTextResponse("Shutting down\n", 503, headers)


class EventStream(Response):
    """The answer to GET /sse: it lasts as long as the client listens."""

    def __init__(self, transport: SseTransport) -> None:
        super().__init__()
        self.transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.transport.leaving:
            await leaving_response()(scope, receive, send)
            return
        await begin_stream(send)
        with opened(self.transport.sessions) as session:
            path = quote(scope.get("root_path", "").rstrip("/") + "/message")
            session.send(encode_event("endpoint", f"{path}?session_id={session.id}".encode()))
            session.send(encode_event("connected", write_message({"time": now()})))
            # The client may still use a longer time, from a server that left: reset it.
            session.send(b"retry: %d\n\n" % (1000 * RETRY_SECONDS))
            sender = session.start(self.send_events(session, send), session.tasks)
            listener = session.start(client_left(receive), session.tasks)
            await asyncio.wait((sender, listener), return_when=asyncio.FIRST_COMPLETED)
        await end_stream(send)

    async def send_events(self, session: Session, send: Send) -> None:
        """Send what is waiting, and a heartbeat whenever one is due."""
        loop = asyncio.get_running_loop()
        every = self.transport.settings.heartbeat_seconds
        next_heartbeat = loop.time() + every
        while True:
            try:
                async with asyncio.timeout_at(next_heartbeat):
                    chunk = await session.next_event()
            except TimeoutError:
                late = loop.time() - next_heartbeat
                HEARTBEATS_LATE.observe(late)
                feed.heartbeat(late)
                chunk = b": heartbeat\n\n"
                next_heartbeat = loop.time() + every
            if chunk == LAST:
                session.close("server left")
                return
            try:
                await send_chunk(send, chunk)
            except TimeoutError:
                log.warning("reader dropped: took nothing", session=session.name)
                session.close("dropped")
                return


def create_app(
    settings: Settings, stop_accepting: Callable[[], None] = lambda: None
) -> FastAPI:
    """The complete server, the same however it is started."""
    # Before uvicorn writes its first line, so that it has the same form.
    logs.configure(settings.log_level)
    transport = SseTransport(settings, stop_accepting)
    # Counted when Prometheus asks: with inc() and dec(), this number could hide a leak.
    SESSIONS.set_function(lambda: len(transport.sessions))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        spans = tracing.configure(settings.traces_per_second)
        async with feed.running(settings.analytics):
            with before_leaving(transport.leave):
                yield
        tracing.finish(spans)

    # FastAPI would make spans, too, as soon as there is somewhere to send them. The one for
    # GET /sse would last as long as the stream (the classic mistake again), and each would have
    # the path and query that the client sent. We make our own, for calls only.
    app = FastAPI(
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    put_in_front(app, settings)
    app.add_middleware(Observe)

    @app.get("/sse")
    async def open_stream() -> EventStream:
        return EventStream(transport)

    app.add_route("/message", transport.receive_message, methods=["POST"])

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Is this process alive? If not, restart it."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Response:
        """May new clients be sent here? If not, send them elsewhere, and wait."""
        return PlainTextResponse("ready\n") if transport.ready else leaving_response()

    add_dashboard(app)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


app = create_app(Settings.from_environment())

if __name__ == "__main__":
    serve(create_app)
