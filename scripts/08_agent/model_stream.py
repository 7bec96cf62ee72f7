"""A model's words are an event stream, too: read one with the parser of lesson 02.

uv run scripts/08_agent/model_stream.py http://127.0.0.1:8058/v1 "Who are you?"
"""

import argparse
import asyncio
import json
import os
import sys
import time

import httpx2
from event_stream import EventStreamParser


async def show(url: str, request: str) -> None:
    """Ask the model at the base URL `url`, and print each event of its answer as it comes."""
    body = {
        "model": os.environ.get("OPENAI_MODEL") or "offline",
        "messages": [{"role": "user", "content": request}],
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY') or 'none'}"}
    began = time.monotonic()
    stream = EventStreamParser()
    async with (
        httpx2.AsyncClient(timeout=60) as http,
        http.stream(
            "POST", f"{url.rstrip('/')}/chat/completions", json=body, headers=headers
        ) as response,
    ):
        if response.status_code != 200:
            sys.exit(f"{response.status_code}: {(await response.aread()).decode()[:200]}")
        print(response.headers["content-type"])
        async for piece in response.aiter_bytes():
            for event in stream.feed(piece):
                print(f"{time.monotonic() - began:6.3f} s  {shown(event.data)}", flush=True)


def shown(data: str) -> str:
    """What is new in this event: a piece of the text, or the data itself."""
    if data == "[DONE]":
        return data
    choice = json.loads(data)["choices"][0]
    return f"delta {json.dumps(choice['delta'], ensure_ascii=False)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a model's answer as it is streamed.")
    parser.add_argument("url", help="the base URL, as in OPENAI_BASE_URL")
    parser.add_argument("request", nargs="?", default="Who are you?")
    options = parser.parse_args()
    try:
        asyncio.run(show(options.url, options.request))
    except httpx2.ConnectError:
        sys.exit(f"Nothing listens at {options.url}.")


if __name__ == "__main__":
    main()
