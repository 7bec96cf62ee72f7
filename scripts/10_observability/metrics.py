"""Metrics: how much, how often, how long. Prometheus reads them at /metrics.

Made with prometheus-client alone. Ready-made instrumentation for FastAPI times each request
from beginning to end, which is wrong for a stream: it lasts as long as its client listens.

Every label here has few values. A label with the session's id would add a time series for each
session, for ever. With so few combinations, each is looked up only once (`cache`): `labels`
takes a lock and builds a key, which would be a fiftieth of each call's time.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

MINUTE, HOUR = 60, 3_600

# Otherwise each counter and histogram has one more series, with the time when it began.
disable_created_metrics()

STREAMS_OPENED = Counter("mcp_streams_opened", "Event streams that were opened.")
STREAMS_CLOSED = Counter(
    "mcp_streams_closed",
    "Event streams that ended: the client left, the server left, or the reader was too slow.",
    ["outcome"],
)
# A series begins with its first value. Begin at 0: from nothing to 1 is not an increase.
for outcome in ("client left", "server left", "dropped"):
    STREAMS_CLOSED.labels(outcome)
STREAMS_ACTIVE = Gauge("mcp_streams_active", "Event streams that are open.")
SESSIONS = Gauge("mcp_sessions", "Sessions that the server holds: more than streams is a leak.")
# The conventions' buckets end at 300 s: streams last for hours.
SESSION_SECONDS = Histogram(
    "mcp_server_session_duration_seconds",
    "How long a session lasted, which is how long its stream was open.",
    buckets=(1, 10, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR),
)
MESSAGES = Counter("mcp_messages", "JSON-RPC messages, in by POST and out on streams.", ["way"])
OPERATION_SECONDS = Histogram(
    "mcp_server_operation_duration_seconds",
    "From a request to its reply, by method.",
    ["mcp_method_name", "error_type"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
TOOL_SECONDS = Histogram(
    "mcp_tool_seconds",
    "How long a tool ran, by its name and by how it ended.",
    ["tool", "outcome"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
REQUEST_SECONDS = Histogram(
    "http_request_seconds",
    "From a request's head to the end of the answer. Streams are not in it.",
    ["method", "path", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS_WAITING = Gauge("mcp_events_waiting", "Events that wait for a reader, in all sessions.")
HEARTBEATS_LATE = Histogram(
    "mcp_heartbeat_late_seconds",
    "How late a heartbeat was. More than a moment: something blocks the event loop.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

messages = cache(MESSAGES.labels)
operation_seconds = cache(OPERATION_SECONDS.labels)
tool_seconds = cache(TOOL_SECONDS.labels)
request_seconds = cache(REQUEST_SECONDS.labels)
