"""The offline model behind the interface of Ollama, llama.cpp and vLLM: chat completions.

    uv run scripts/08_agent/model_server.py
    OPENAI_BASE_URL=http://127.0.0.1:8058/v1 uv run scripts/08_agent/main.py

With `"stream": true` the answer is an event stream: a few words in each event.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from offline_model import next_step
from offline_words import Tool
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

SECONDS_A_WORD = 0.02


def message_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The model's message: a text, or one call of a tool. Raises KeyError and TypeError."""
    tools = [
        Tool(
            function["name"],
            function.get("description") or "",
            function.get("parameters") or {},
        )
        for function in (tool["function"] for tool in asked.get("tools") or [])
    ]
    # The offline model reads the items of OpenAI's other interface, "responses".
    items = [
        {"type": "function_call_output", "output": one["content"]}
        if one["role"] == "tool"
        else {"role": one["role"], "content": one.get("content")}
        for one in asked["messages"]
    ]
    step = next_step(items, tools)
    if isinstance(step, str):
        return {"role": "assistant", "content": step}
    name, arguments = step
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": f"call_{len(items)}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def complete(request: Request) -> Response:
    try:
        asked = json.loads(await request.body())
        message = message_of(asked)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = {"message": f"This is not a chat completion: {error!r}", "type": "bad_request"}
        return JSONResponse({"error": said}, status_code=400)
    model = str(asked.get("model"))
    if asked.get("stream"):
        return StreamingResponse(events(message, model), media_type="text/event-stream")
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return JSONResponse({**head("chat.completion", model), "choices": [choice]})


async def events(message: dict[str, Any], model: str) -> AsyncIterator[str]:
    """The message in pieces, as events whose data is JSON, and `[DONE]` at the end."""
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if calls := message.get("tool_calls"):
        pieces.append({"tool_calls": [{"index": 0, **calls[0]}]})
    else:
        pieces += [{"content": word} for word in words(message["content"])]
    for piece in pieces:
        yield event(head("chat.completion.chunk", model), piece, None)
        await asyncio.sleep(SECONDS_A_WORD)
    yield event(head("chat.completion.chunk", model), {}, "tool_calls" if calls else "stop")
    yield "data: [DONE]\n\n"


def event(head: dict[str, Any], delta: dict[str, Any], reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"


def head(kind: str, model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": model}


def words(text: str) -> list[str]:
    """The words of a text, each with the blank before it: together they are the text."""
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]


async def what_this_is(request: Request) -> Response:
    return PlainTextResponse("A model. POST to /v1/chat/completions.\n")


app = Starlette(
    routes=[
        Route("/", what_this_is),
        Route("/v1/chat/completions", complete, methods=["POST"]),
    ],
    lifespan=lifespan,
)


if __name__ == "__main__":
    serve(
        app,
        "OPENAI_BASE_URL={url} uv run scripts/08_agent/main.py",
        "uv run scripts/08_agent/model_stream.py {url}",
        what="a model",
        port=8058,
        path="/v1",
    )
