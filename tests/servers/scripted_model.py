"""An OpenAI-compatible model that has learned its part: it adds the numbers of the request.

Asked with tools it calls the first one with them; given a tool's result it says it. With the
model name `broken` it answers 500. It wants `Authorization: Bearer scripted`.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from aiohttp import web

Json = dict[str, Any]


async def completions(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != "Bearer scripted":
        return web.json_response({"error": {"message": "wrong key"}}, status=401)
    asked = await request.json()
    if asked["model"] == "broken":
        return web.json_response({"error": {"message": "out of order"}}, status=400)
    last = asked["messages"][-1]
    if last["role"] == "tool":
        message: Json = {
            "role": "assistant",
            "content": f"{asked['model']} says {last['content']}.",
        }
    else:
        function = asked["tools"][0]["function"]
        numbers = [float(word) for word in re.findall(r"\d+", last["content"])]
        names = function["parameters"]["properties"]
        arguments = json.dumps(dict(zip(names, numbers, strict=False)))
        call = {"name": function["name"], "arguments": arguments}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        }
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return web.json_response(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", completions)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
