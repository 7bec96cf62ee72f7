"""JSON-RPC 2.0: what a valid message looks like, and the reply to one that isn't.

A message is one JSON object. A request has a `method` and an `id`, a notification has a
`method` only, and a response has the `id` of its request and a `result` or an `error`.

Nothing here does I/O: `read_message` takes the bytes of one message, wherever they came
from. The rules are those of https://www.jsonrpc.org/specification, with one more from
MCP: the id of a request is never null.
"""

import json
from typing import Any

PARSE_ERROR = -32700  # the codes of JSON-RPC 2.0, section 5.1
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

Json = dict[str, Any]
RequestId = str | int


class RpcError(Exception):
    """What goes back instead of a result: a code for programs and a message for people.

    `request_id` is None if the id of the request could not be read.
    """

    def __init__(self, code: int, text: str, request_id: RequestId | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.request_id = request_id

    def reply(self) -> Json:
        error = {"code": self.code, "message": self.text}
        return {"jsonrpc": "2.0", "id": self.request_id, "error": error}


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_message(body: bytes) -> Json:
    """The JSON-RPC message in `body`: a request, a notification or a response.

    Raises RpcError: -32700 when it is not JSON, -32600 when it is not JSON-RPC.
    """
    try:
        # Python's parser would also accept UTF-16 and NaN; RFC 8259 allows neither.
        message = json.loads(body.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"Not JSON: {error}") from error
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "A message is one JSON object, not a batch")

    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        if "id" in message:
            raise RpcError(INVALID_REQUEST, "An id is a string or an integer")
        request_id = None
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'A message says "jsonrpc": "2.0"', request_id)
    if "method" in message:
        well_formed = isinstance(message["method"], str)
    else:
        well_formed = "id" in message and ("result" in message) != ("error" in message)
    if not well_formed:
        raise RpcError(INVALID_REQUEST, "Neither a method nor a response", request_id)
    return message
