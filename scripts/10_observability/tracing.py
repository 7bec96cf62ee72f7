"""Traces: one call, from the client that makes it to the tool that runs.

The client's SDK makes a span and sends its context in `params._meta`. The server's span, made
here, is its child: both are in one trace, even if they ran on two machines.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 uv run …/observed_server.py

sends them to a collector. Without it, each is one line on stderr.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from json_rpc import Json
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

tracer = trace.get_tracer("observed-server")
trace_context = TraceContextTextMapPropagator()

LARGEST_ID = 2**53  # the integers that every language can represent


class FewASecond:
    """Keep only so many spans a second: a span costs more than the call that it shows.

    A client may ask for its trace to be kept, but it can't have all of them kept. A sampler of
    OpenTelemetry is asked too late: starting a span, only to have it refused, takes a tenth of
    a call's time.
    """

    def __init__(self) -> None:
        self.most = 0.0
        self.second = 0
        self.taken = 0  # in this second

    def take(self) -> bool:
        """Whether there may be one more span in this second."""
        second = int(time.monotonic())
        if second != self.second:
            self.second, self.taken = second, 0
        self.taken += 1
        return self.taken <= self.most


few_a_second = FewASecond()


@cache
def configure(per_second: float) -> TracerProvider:
    """Set where spans go. Done once in a process, however often a server starts."""
    few_a_second.most = per_second
    provider = TracerProvider(
        ALWAYS_ON,
        Resource.create({"service.name": "observed-server"}),
        # It would wait half a minute for a collector that does not answer: see finish().
        shutdown_on_exit=False,
    )
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        one_line = for_people if sys.stderr.isatty() else for_programs
        console = ConsoleSpanExporter(out=sys.stderr, formatter=one_line)
        provider.add_span_processor(BatchSpanProcessor(console, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider


def finish(provider: TracerProvider, seconds: float = 0.3) -> None:
    """Export what is left, but don't let a collector keep the server from leaving."""
    exporting = threading.Thread(target=provider.shutdown, daemon=True)
    exporting.start()
    exporting.join(seconds)


def for_people(span: ReadableSpan) -> str:
    """What was called, how long it took, its trace, and the span that called it."""
    fields = fields_of(span)
    parent = f" parent={fields['parent']}" if fields["parent"] else ""
    return f"span {span.name} {fields['ms']} ms trace={fields['trace']}{parent}\n"


def for_programs(span: ReadableSpan) -> str:
    return json.dumps(fields_of(span) | dict(span.attributes or {})) + "\n"


def fields_of(span: ReadableSpan) -> dict[str, Any]:
    """The fields for a line of the log. Times in a span are in nanoseconds."""
    began, ended = span.start_time or 0, span.end_time or 0
    return {
        "timestamp": datetime.fromtimestamp(began / 1e9, UTC).isoformat(),
        "level": "info",
        "event": "span",
        "name": span.name,
        "ms": round((ended - began) / 1e6, 1),
        "trace": format_trace_id(span.context.trace_id) if span.context else None,
        "span": format_span_id(span.context.span_id) if span.context else None,
        "parent": format_span_id(span.parent.span_id) if span.parent else None,
    }


@contextmanager
def server_span(method: str, tool: str | None, message: Json, session: str) -> Iterator[Span]:
    """The span of a request, named by the conventions for MCP, such as "tools/call add"."""
    if not few_a_second.take():
        yield trace.INVALID_SPAN
        return
    attributes: dict[str, Any] = {"mcp.method.name": method, "mcp.session": session}
    # An id may be any text, and others should not read what a client writes. A number is enough
    # to find the call again.
    if isinstance(message["id"], int) and abs(message["id"]) < LARGEST_ID:
        attributes["jsonrpc.request.id"] = str(message["id"])
    if tool:
        attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
    with tracer.start_as_current_span(
        f"{method} {tool}" if tool else method,
        context=client_context(message),
        kind=SpanKind.SERVER,
        attributes=attributes,
        # Exceptions hold what clients sent, and paths.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def client_context(message: Json) -> Context:
    """The client's span that this call belongs to, if the message names one.

    `tracestate` and `baggage`, which may come with it, are dropped: they may hold any text.
    """
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    parent = meta.get("traceparent") if isinstance(meta, dict) else None
    carrier = {"traceparent": parent} if isinstance(parent, str) else {}
    return trace_context.extract(carrier, Context())
