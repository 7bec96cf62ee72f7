"""One trace across two processes, from a client's call to the tool.

    uv run scripts/10_observability/traced_call.py http://127.0.0.1:8010/sse

The SDK makes a span for each message and sends its context along, in `_meta`. All it needs is a
tracer provider. The server, observed_server.py, prints its spans with the same trace id.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Sequence

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def configure() -> tuple[TracerProvider, InMemorySpanExporter]:
    """Keep our spans, to show them. With OTEL_EXPORTER_OTLP_ENDPOINT, also send them there."""
    provider = TracerProvider(resource=Resource.create({"service.name": "traced-call"}))
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider, kept


async def call(url: str) -> str:
    """Add two numbers. The span around the call puts all messages into one trace."""
    with trace.get_tracer("traced-call").start_as_current_span("add two numbers"):
        async with Client(sse_client(url), mode="legacy", read_timeout_seconds=10) as client:
            result = await client.call_tool("add", {"a": 2, "b": 3})
            return result.content[0].model_dump()["text"]


def show(spans: Sequence[ReadableSpan]) -> None:
    """Print the trace, each span below its parent."""
    context = spans[0].get_span_context()
    assert context
    print(f"Trace {context.trace_id:032x}:")
    children: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        children[span.parent.span_id if span.parent else None].append(span)

    def show_below(parent: int | None, indent: str) -> None:
        for span in children[parent]:
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            context = span.get_span_context()
            assert context
            print(f"  {context.span_id:016x}  {took:7.1f} ms  {indent}{span.name}")
            show_below(context.span_id, indent + "  ")

    show_below(None, "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Call a tool, and show the trace.")
    parser.add_argument("url")
    url: str = parser.parse_args().url
    # The SDK's client warns about events that it does not know, such as `connected`.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    provider, kept = configure()
    try:
        print(f"2 + 3 = {asyncio.run(call(url))}")
    except (httpx2.HTTPError, MCPError) as error:
        sys.exit(f"{url}: {error}")
    show(kept.get_finished_spans())
    provider.shutdown()  # sends what is waiting


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
