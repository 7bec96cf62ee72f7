"""A collector for traces: it receives spans from any program, and shows each trace as a tree.

    uv run scripts/10_observability/trace_collector.py

It stands in for a real one, such as Jaeger, and programs send it the same: OTLP, which is a
POST of protobuf to /v1/traces.
"""

from collections import defaultdict
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

MAX_SPANS = 10_000  # after that, the oldest are dropped


@dataclass(frozen=True)
class Span:
    trace: str
    id: str
    parent: str
    service: str
    name: str
    began: int  # nanoseconds
    ended: int


spans: dict[str, Span] = {}  # by id, in the order in which they came


async def take(request: Request) -> Response:
    try:
        sent = ExportTraceServiceRequest.FromString(await request.body())
    except DecodeError:
        return PlainTextResponse("This is not OTLP\n", 400)
    for resource in sent.resource_spans:
        attributes = {
            each.key: each.value.string_value for each in resource.resource.attributes
        }
        for scope in resource.scope_spans:
            for span in scope.spans:
                spans[span.span_id.hex()] = Span(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    service=attributes.get("service.name", "?"),
                    name=span.name,
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                )
    for oldest in list(spans)[:-MAX_SPANS]:
        del spans[oldest]
    return Response(media_type="application/x-protobuf")


async def show(request: Request) -> Response:
    wanted = request.query_params.get("trace", "")
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans.values(), key=lambda span: span.began):
        if span.trace.startswith(wanted):
            traces[span.trace].append(span)
    return PlainTextResponse("\n".join(tree(name, found) for name, found in traces.items()))


def tree(trace: str, found: list[Span]) -> str:
    """Each span below its parent, or at the left if the parent has not been sent here."""
    lines = [f"trace {trace}\n"]
    known = {span.id for span in found}

    def add(span: Span, indent: str) -> None:
        took = (span.ended - span.began) / 1e6
        lines.append(f"{took:9.1f} ms  {span.service:<16}  {indent}{span.name}\n")
        for child in found:
            if child.parent == span.id:
                add(child, indent + "  ")

    for span in found:
        if span.parent not in known:
            add(span, "")
    return "".join(lines)


routes = [Route("/", show), Route("/v1/traces", take, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        "export OTEL_EXPORTER_OTLP_ENDPOINT={base}",
        "export OTEL_BSP_SCHEDULE_DELAY=500  # milliseconds: spans are sent in batches",
        "uv run scripts/10_observability/observed_server.py",
        "curl {url}",
        port=8040,
        path="/",
        what="traces",
    )
