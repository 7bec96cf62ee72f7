"""Broken: tracing is on by default, and sends what was said. A local server shows what.

    uv run scripts/08_agent/tracing_broken.py

`agents.set_tracing_disabled(True)`, or OPENAI_AGENTS_DISABLE_TRACING=1, turns it off.
"""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from agents import Agent, Runner, function_tool, set_trace_processors
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from scripted import one_call

received: list[bytes] = []


class Collector(BaseHTTPRequestHandler):
    """Takes the place of OpenAI's collector of traces."""

    def do_POST(self) -> None:
        received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@function_tool
def read_diary(day: str) -> str:
    """Read a page of the diary."""
    return "Nobody must know about the marmalade."


async def main() -> None:
    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    # The library's own exporter, as it is when OPENAI_API_KEY is set, with another address.
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces/ingest"
    processor = BatchTraceProcessor(BackendSpanExporter(api_key="sk-demo", endpoint=endpoint))
    set_trace_processors([processor])

    agent = Agent(name="broken", tools=[read_diary], model=one_call("read_diary", day="Monday"))
    await Runner.run(agent, "What did I write on Monday?")
    processor.shutdown()
    collector.shutdown()

    for span in (item for body in received for item in json.loads(body)["data"]):
        data = span.get("span_data") or {}
        if data.get("type") == "function":
            print(f"Sent: {data['name']}({data['input']}) -> {data['output']}")


asyncio.run(main())
