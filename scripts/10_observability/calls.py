"""A request, from message to reply: counted, timed, traced, and logged if necessary."""

import asyncio
import time

from feed import feed
from json_rpc import Json
from log import log
from methods import answer
from metrics import operation_seconds, tool_seconds
from observe import internal_error
from opentelemetry.trace import StatusCode
from sessions import Session
from structlog.contextvars import bind_contextvars
from tools import TOOLS
from tracing import server_span

METHODS = ("initialize", "ping", "tools/list", "tools/call")


async def observed_answer(message: Json, session: Session, slow_seconds: float) -> Json | None:
    """The reply to a message, or None. If anything breaks, the reply is the error -32603."""
    if "id" not in message or "method" not in message:
        return await answer(message, session.client)
    tool = tool_of(message)
    method = message["method"] if message["method"] in METHODS else "other"
    bind_contextvars(session=session.name, **({"tool": tool} if tool else {}))
    began = time.perf_counter()
    with server_span(method, tool, message, session.name) as span:
        reply, outcome = await answer_whatever_happens(message, session)
        if outcome != "ok":
            span.set_attribute("error.type", outcome)
            span.set_status(StatusCode.ERROR)
    took = time.perf_counter() - began
    # By convention there is no error.type without an error. In Prometheus: an empty label.
    operation_seconds(method, "" if outcome == "ok" else outcome).observe(took)
    if tool:
        tool_seconds(tool, outcome).observe(took)
        feed.call(tool, outcome, took)
    say = log.warning if took >= slow_seconds else log.debug
    say(
        "slow call" if took >= slow_seconds else "call", method=method, ms=round(1000 * took, 1)
    )
    return reply


async def answer_whatever_happens(message: Json, session: Session) -> tuple[Json | None, str]:
    """The reply, and how it went in one word: "ok", the code of an error, "tool_error"."""
    try:
        reply = await answer(message, session.client)
    except asyncio.CancelledError:
        # Either the stream has ended, and nobody would read a reply. Or the server is leaving,
        # and a client that got 202 must learn that no result will come.
        if session.ended_by is not None:
            return None, "cancelled"
        log.warning("call cut off")
        return internal_error(message["id"], "The server is leaving: call again"), "cut_off"
    except Exception:
        log.exception("call failed")
        reply = internal_error(message["id"], "Internal error")
    if reply is None:
        return None, "ok"
    if "error" in reply:
        return reply, str(reply["error"]["code"])
    return reply, "tool_error" if reply["result"].get("isError") else "ok"


def tool_of(message: Json) -> str | None:
    """The name of the tool, if we know it: there is no limit to names from outside."""
    params = message.get("params")
    if message["method"] != "tools/call" or not isinstance(params, dict):
        return None
    name = params.get("name")
    return name if isinstance(name, str) and name in TOOLS else "unknown"
