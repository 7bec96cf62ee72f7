"""Logs: what happened, when, to which request and session. Never what was in it.

In a terminal, lines are written for people. In a pipe they are JSON, for programs. What is
bound to the context (`structlog.contextvars`) is in every line written on behalf of a request.
"""

import hashlib
import json
import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog
from opentelemetry.trace import format_trace_id, get_current_span
from structlog.typing import EventDict, Processor

FIRST = ("timestamp", "level", "event", "request", "session", "tool", "trace")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def configure(level: str = "info", **always: Any) -> None:
    """Everything goes to stderr in one form: our lines, and those of uvicorn and others.

    `always` holds further fields for every line.
    """
    in_terminal = sys.stderr.isatty()

    def say_always(logger: Any, method: str, event: EventDict) -> EventDict:
        event.update(always)
        return event

    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        which_trace,
        say_always,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("%H:%M:%S" if in_terminal else "iso", not in_terminal),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, without_details],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                where_it_broke,
                for_people() if in_terminal else for_programs,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # One line per POST is too much, and the metrics say the same.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    # At `trace` it shows each request with its query, and with the session's id in that.
    logging.getLogger("uvicorn.asgi").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def which_trace(logger: Any, method: str, event: EventDict) -> EventDict:
    """Add the trace in which this happened, if it is kept: it leads to the span."""
    context = get_current_span().get_span_context()
    if context.trace_flags.sampled:
        event["trace"] = format_trace_id(context.trace_id)
    return event


def for_people() -> Processor:
    colors = "NO_COLOR" not in os.environ
    return structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, pad_level=False)


def for_programs(logger: Any, method: str, event: EventDict) -> str:
    """A line of JSON. Its fields are in the same order in every line, for easy reading."""
    first = {key: event.pop(key) for key in FIRST if key in event}
    return json.dumps(first | dict(event), default=str)


def where_it_broke(logger: Any, method: str, event: EventDict) -> EventDict:
    """An exception's type and the calls that it passed through, innermost first.

    Not its text, lines of code or values of variables: each of these may contain a message.
    """
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found[1] if found else None
    if isinstance(error, BaseException):
        frames = reversed(list(traceback.walk_tb(error.__traceback__)))
        places = [
            f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
            for frame, line in frames
        ]
        event["error"] = type(error).__name__
        event["where"] = " < ".join(places[:5])
    return event


def without_details(logger: Any, method: str, event: EventDict) -> EventDict:
    """Log a library's line: its fixed text, without the values that were put into it.

    OpenTelemetry quotes a header that it cannot read, with the key in it. asyncio quotes the
    exception of a task. uvicorn only says what the server does, and where.
    """
    record: logging.LogRecord = event["_record"]
    if not record.name.startswith("uvicorn"):
        event["event"] = str(record.msg).partition("\n")[0]
        event["logger"] = record.name
    # The query of a URL contains a session's id.
    event["event"] = re.sub(r"\?\S+", "?…", str(event["event"]))
    return event


def short_hash(session_id: str) -> str:
    """Tells sessions apart in the log. Nobody can use the session with it."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:12]
