"""Lesson 07's page in Chromium: one origin, the server another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.page_parts import complaints, open_page
from workshop.checks.mcp_session import as_json, request
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/05_sse_server/sse_server.py"
PAGE = ROOT / "scripts/07_sdk_client/browser"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def web() -> Iterator[Program]:
    with running(PAGE / "serve.py") as program:
        yield program


@pytest.fixture(scope="module")
def server(web: Program) -> Iterator[Program]:
    with running(SERVER, "--heartbeat", "0.3", "--allow-origin", web.url) as program:
        yield program


@pytest.fixture
def page(chromium: Browser, web: Program) -> Iterator[Page]:
    with open_page(chromium, width=1200, height=900) as page:
        page.goto(web.url)
        yield page


def connect(page: Page, url: str, state: str = "connected to") -> None:
    page.get_by_label("The server's event stream").fill(url)
    page.get_by_role("button", name="Connect").click()
    expect(page.locator("#state")).to_contain_text(state)


def call(page: Page, tool: str, answer: str, **typed: str) -> None:
    form = page.locator(f"[data-tool={tool}]")
    for name, text in typed.items():
        form.locator(f"[name={name}]").fill(text)
    form.get_by_role("button").click()
    expect(form.locator("output")).to_have_text(answer)


def row(page: Page, number: int) -> Locator:
    return page.locator(f"#message-{number}")


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/lesson_07_{name}.png")


def box(locator: Locator) -> tuple[float, float]:
    """The left and the right edge, in pixels."""
    found = locator.bounding_box()
    assert found is not None
    return found["x"], found["x"] + found["width"]


# --- A conversation with lesson 05's server -----------------------------------------------


def test_a_conversation_in_two_columns(page: Page, server: Program) -> None:
    expect(page.locator("#tools")).to_have_js_property("disabled", True)
    connect(page, f"{server.url}/sse")
    expect(page.locator("#state")).to_have_text(
        "connected to sse-server-by-hand, MCP 2024-11-05"
    )
    expect(page.locator("#tool-forms h3")).to_have_text(["echo", "add"])
    call(page, "add", "7", a="2", b="5")
    # What is no number goes out as it was typed, and what was not typed does not.
    call(page, "add", "The argument 'a' must be a number (-32602)", a="two")
    call(page, "add", "add needs the argument 'a' (-32602)", a="")
    call(page, "echo", "hello SSE", message="hello SSE")
    expect(page.locator(".beat").last).to_contain_text(re.compile(r"heartbeat × \d+, last at"))
    screenshot(page, "wide")

    heads = page.locator(".row .head").all_text_contents()
    assert heads[:3] == ["GET /sse", "event: endpoint", "POST initialize id 1"]
    assert heads.count("POST tools/call id 3") == heads.count("event: message id 3") == 1
    badges = page.locator(".row .badge").all_text_contents()
    assert badges == [str(number + 1) for number in range(len(heads))]

    # The request's card left, the reply's card right, and arrows between the two.
    asked = page.locator(".row.client", has_text="id 3")
    replied = page.locator(".row.server", has_text="id 3")
    assert json.loads(asked.locator("pre").inner_text())["params"] == {
        "name": "add",
        "arguments": {"a": 2, "b": 5},
    }
    assert json.loads(replied.locator("pre").inner_text())["id"] == 3
    for one, direction in ((asked, "browser to server"), (replied, "server to browser")):
        one.scroll_into_view_if_needed()
        card, arrow, far = (box(one.locator(part)) for part in (".card", ".arrow", ".far"))
        left, right = (card, far) if one is asked else (far, card)
        assert left[1] <= arrow[0] < arrow[1] <= right[0]
        assert direction in one.locator(".arrow").inner_text()
    assert "202" in asked.locator(".back").inner_text()

    # Each names the other.
    expect(asked.locator(".far")).to_have_text(re.compile(r"answered by \d+ after \d+ ms"))
    number = asked.locator(".far a").inner_text()
    expect(replied.locator(".badge")).to_have_text(number)
    expect(replied.locator(".far a")).to_have_text(asked.locator(".badge").inner_text())


def test_what_a_tool_says_is_text(page: Page, server: Program) -> None:
    connect(page, f"{server.url}/sse")
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title=1</script>"
    call(page, "echo", evil, message=evil)
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "An MCP client in the browser"


def test_the_browser_runs_no_other_script(page: Page, web: Program) -> None:
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
        }"""
    )
    assert page.title() == "An MCP client in the browser"
    policy = httpx2.get(web.url).headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy


def test_it_fits_and_can_be_read(page: Page, server: Program) -> None:
    assert complaints(page) == []
    connect(page, f"{server.url}/sse")
    call(page, "add", "7", a="2", b="5")
    call(page, "add", "The argument 'a' must be a number (-32602)", a="two")
    assert complaints(page) == []


def test_on_a_phone_the_call_button_is_below_the_conversation(
    page: Page, server: Program
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    connect(page, f"{server.url}/sse")
    call(page, "add", "7", a="2", b="5")
    # The arrow lies above its card, from edge to edge.
    left, right = box(row(page, 3).locator(".arrow"))
    assert right - left > 250
    reply = page.locator(".row.server", has_text="id 3")
    expect(reply).to_be_in_viewport()
    button = page.get_by_role("button", name="Call add")
    expect(button).to_be_in_viewport()
    above, below = page.locator(".talk").bounding_box(), button.bounding_box()
    assert above is not None and below is not None
    assert above["y"] + above["height"] <= below["y"]
    screenshot(page, "phone")


def test_a_long_message_shows_that_there_is_more(page: Page, odd: OddServer) -> None:
    connect(page, odd.url)
    text = json.dumps("word, " * 10_000)
    odd.say(text)
    # Not the last one: the page asks for the tools once it is connected, and this may come
    # before their list does.
    card = page.locator(".row.server .card", has_text="word, ")
    more = card.get_by_role("button", name=f"show all, {len(text)} characters")
    expect(more).to_be_visible()
    folded = card.bounding_box()
    assert folded is not None and folded["height"] < 400
    block = card.locator("pre")
    assert "linear-gradient" in block.evaluate("e => getComputedStyle(e).maskImage")
    more.click()
    expect(block).to_have_text(text)
    expect(more).to_have_count(0)
    assert block.evaluate("e => e.scrollHeight <= e.clientHeight + 1")


def test_closing_and_connecting_again(page: Page, server: Program) -> None:
    connect(page, f"{server.url}/sse")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#state")).to_have_text("not connected")
    expect(page.locator("#tools")).to_have_js_property("disabled", True)
    connect(page, f"{server.url}/sse")
    call(page, "add", "7", a="2", b="5")
    assert page.locator(".row .head", has_text="event: endpoint").count() == 2


def test_no_more_than_six_connections_to_one_server(
    page: Page, web: Program, server: Program
) -> None:
    def open_streams() -> int:
        return httpx2.get(f"{server.url}/health").json()["connections"]

    before = open_streams()
    page.evaluate(
        """url => {
            const open = () => new Promise((resolve) => {
                const stream = new EventSource(`${url}/sse`);
                stream.onopen = () => resolve(stream);
            });
            window.streams = Array.from({ length: 7 }, open);
            return Promise.all(window.streams.slice(0, 6)).then(() => {});
        }""",
        server.url,
    )
    # Nor does anything else go out to this server now, not even a POST of another tab.
    tab = page.context.new_page()
    tab.goto(web.url)
    tab.evaluate(
        """url => {
            const message = { method: "POST", body: "{}" };
            window.post = fetch(`${url}/message`, message).then((answer) => answer.status);
        }""",
        server.url,
    )
    assert open_streams() == before + 6
    assert page.evaluate('Promise.race([window.streams[6], "waits"])') == "waits"
    assert tab.evaluate('Promise.race([window.post, "waits"])') == "waits"
    # A place for each of them.
    page.evaluate("async () => { for (const n of [0, 1]) (await window.streams[n]).close(); }")
    page.evaluate("window.streams[6].then(() => {})")
    assert tab.evaluate("window.post") == 415


# --- Servers that go, and servers that keep the page out ----------------------------------


def test_a_restart_is_a_new_session(page: Page, web: Program) -> None:
    port = free_port()
    options = ("--allow-origin", web.url)
    with running(SERVER, *options, port=port) as server:
        connect(page, f"{server.url}/sse")
        call(page, "add", "7", a="2", b="5")
        # A server that hangs, then dies: this call never gets its reply.
        server.process.send_signal(signal.SIGSTOP)
        page.get_by_role("button", name="Call add").click()
        expect(page.locator("[data-tool=add] output")).to_have_text("waiting for the reply")
        server.stop(signal.SIGKILL)
    expect(page.locator("#state")).to_contain_text("the browser tries again")
    expect(page.locator("[data-tool=add] output")).to_have_text(re.compile("^Lost: "))
    expect(page.locator(".row.lost .head")).to_contain_text("POST tools/call")
    expect(page.locator(".row.lost .far")).to_have_text(re.compile("^Lost: "))
    expect(page.locator("#tools")).to_have_js_property("disabled", True)
    screenshot(page, "lost")

    with running(SERVER, *options, port=port):
        # The browser comes back by itself; the page shakes hands anew and keeps what was typed.
        expect(page.locator("#state")).to_contain_text("connected to", timeout=15_000)
        call(page, "add", "7")
        sessions = page.locator(".row.server", has_text="event: endpoint").locator("pre")
        first, second = sessions.all_inner_texts()
        assert first != second
        page.close()


def test_why_there_is_no_stream(page: Page, web: Program) -> None:
    port = free_port()
    notices = page.locator(".notice")
    connect(page, f"http://{HOST}:{port}/sse", "the browser tries again")
    expect(notices.last).to_contain_text(f"Nothing answers at http://{HOST}:{port}.")
    expect(notices.last).to_contain_text(f"--allow-origin {web.url}")

    # Now there is one, and the browser finds it by itself: but not for pages of this origin.
    with running(SERVER, port=port) as server:
        expect(page.locator("#state")).to_have_text(
            "not connected: the browser gave up", timeout=15_000
        )
        expect(notices.last).to_contain_text("Something answers")
        expect(notices.last).to_contain_text("(CORS)")
        expect(notices.last).to_contain_text(f"--allow-origin {web.url}")
        screenshot(page, "cors")
        assert "403" in server.output

    with running(SERVER, "--allow-origin", web.url, port=port) as server:
        connect(page, f"{server.url}/sse")
        call(page, "add", "7", a="2", b="5")
        # Here what the server answers can be read, also a refusal.
        page.get_by_role("button", name="Close").click()
        connect(page, f"{server.url}/nothing", "gave up")
        expect(notices.last).to_contain_text("answered 404. Is the path right?")
        connect(page, f"{server.url}/health", "gave up")
        expect(notices.last).to_contain_text(
            "is not an event stream: its content type is application"
        )


def test_the_sdk_server_with_cors(page: Page, web: Program) -> None:
    program = PAGE / "sdk_server_with_cors.py"
    with running(program, "--allow-origin", web.url) as server:
        connect(page, f"{server.url}/sse")
        call(page, "add", "7.0", a="2", b="5")
        foreign = {"Origin": "http://evil.example"}
        assert httpx2.get(f"{server.url}/sse", headers=foreign).status_code == 403
        assert server.stop() < 2
        assert server.process.returncode == 0
        # (The SDK prints a traceback of its own for the one that it refused.)
        assert "http.response.start" not in server.output


# --- Servers that misbehave ---------------------------------------------------------------

INITIALIZED = {
    "protocolVersion": "2024-11-05",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "odd", "version": "1"},
}


class OddServer:
    """An MCP server over SSE, for pages of any origin, that says what a test wants."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.endpoint = "/message"
        self.status = 202
        self.cors = "*"
        # For each method a function of the message, whose result is replied.
        self.methods: dict[str, Callable[[Json], Json]] = {
            "initialize": lambda message: INITIALIZED,
            "tools/list": lambda message: {"tools": []},
        }
        self.came: Queue[Json] = Queue()
        self.events: Queue[bytes] = Queue()

    def take(self, message: Json) -> None:
        self.came.put(message)
        if (method := self.methods.get(message.get("method", ""))) is not None:
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": method(message)}
            self.say(json.dumps(reply))

    def say(self, data: str) -> None:
        self.events.put(f"event: message\ndata: {data}\n\n".encode())


@pytest.fixture
def odd() -> Iterator[OddServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self.start(204)

        def do_GET(self) -> None:
            events = odd.events = Queue()
            self.start(200, "text/event-stream")
            if odd.endpoint:
                self.wfile.write(f"event: endpoint\ndata: {odd.endpoint}\n\n".encode())
            while event := events.get():
                self.wfile.write(event)

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.start(odd.status)
            if odd.status == 202:
                odd.take(message)
            else:
                self.wfile.write(b"Not here")

        def start(self, status: int, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Access-Control-Allow-Origin", odd.cors)
            self.send_header("Access-Control-Allow-Headers", "content-type")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        odd = OddServer(f"http://{HOST}:{server.server_port}/sse")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield odd
        odd.events.put(b"")
        server.shutdown()


@pytest.mark.parametrize(
    "endpoint", ["http://evil.example/message", "//evil.example/message", "https:/message"]
)
def test_an_endpoint_of_another_origin_is_refused(
    page: Page, odd: OddServer, endpoint: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    odd.endpoint = endpoint
    connect(page, odd.url, "not connected")
    expect(page.locator(".notice")).to_contain_text("Refused: the endpoint is")
    assert asked == [odd.url]


def test_a_stream_that_cors_hides_is_given_up(page: Page, odd: OddServer) -> None:
    """An EventSource tries again after other failures: see test_why_there_is_no_stream."""
    odd.cors = "http://other.example"
    connect(page, odd.url, "not connected: the browser gave up")
    expect(page.locator(".notice").last).to_contain_text("(CORS)")


def test_what_makes_no_sense_is_shown_and_ignored(page: Page, odd: OddServer) -> None:
    connect(page, odd.url)
    notices = page.locator(".notice")
    odd.say("no JSON")
    expect(notices.last).to_contain_text("That was not JSON")
    odd.say('{"jsonrpc": "2.0", "id": 99, "result": {}}')
    expect(notices.last).to_contain_text("Nobody waits for that reply")
    odd.say("null")
    expect(page.locator(".row.server pre").last).to_have_text("null")
    odd.say(json.dumps("x," * 100_000))
    expect(page.locator(".row.server pre").last).to_contain_text("… 180002 characters more")
    expect(notices).to_have_count(4)
    # It still listens, and answers what a server asks.
    for method, answer in (
        ("ping", {"result": {}}),
        ("roots/list", {"error": {"code": -32601, "message": "Method not found: roots/list"}}),
    ):
        odd.say(as_json(request("s1", method)))
        while (came := odd.came.get(timeout=5)).get("id") != "s1":
            pass
        assert came == {"jsonrpc": "2.0", "id": "s1", **answer}


def test_earlier_messages_stay_reachable(page: Page, odd: OddServer) -> None:
    connect(page, odd.url)
    rows = page.locator("#conversation > li")
    expect(page.locator("#message-7")).to_have_count(1)  # the last that opening a session takes
    for _ in range(300):
        odd.say("null")  # a message, and a notice that nobody waits for it
    expect(page.locator("#message-307 pre")).to_have_text("null", timeout=20_000)
    expect(rows).to_have_count(500)
    expect(page.locator("#message-1")).to_have_count(0)
    earlier = page.get_by_role("button", name="Show earlier messages")
    expect(earlier).to_have_text(re.compile(r"\(1\d\d\)$"))
    # It follows what is said. Who reads earlier messages keeps their place.
    expect(page.locator("#message-307")).to_be_in_viewport()
    earlier.click()
    expect(earlier).to_be_hidden()
    expect(page.locator("#message-1 .head")).to_have_text("GET /sse")
    page.locator("#message-1").scroll_into_view_if_needed()
    odd.say("null")
    expect(page.locator("#message-308")).to_have_count(1)
    expect(page.locator("#message-1")).to_be_in_viewport()


def test_calls_that_get_no_reply(page: Page, odd: OddServer) -> None:
    odd.methods["tools/list"] = lambda message: {"tools": [tool("add", {"a": {}})]}
    connect(page, odd.url)
    # One that was taken is lost with its stream; the next session goes on by itself.
    page.get_by_role("button", name="Call add").click()
    while odd.came.get(timeout=5)["method"] != "tools/call":
        pass
    odd.events.put(b"")
    expect(page.locator("[data-tool=add] output")).to_have_text(
        "Lost: the stream broke before its reply came."
    )
    expect(page.locator(".row.lost .back")).to_have_text("202")
    expect(page.locator("#state")).to_contain_text("connected to", timeout=15_000)
    odd.status = 404
    call(page, "add", "The POST was answered 404: Not here", a="1")
    expect(page.locator(".row.bad .back").last).to_have_text("404")


def tool(name: str, properties: Json, required: list[str] | None = None) -> Json:
    schema = {"type": "object", "properties": properties, "required": required or []}
    return {"name": name, "inputSchema": schema}


def test_a_form_for_every_schema(page: Page, odd: OddServer) -> None:
    properties = {
        "text": {"type": "string", "description": "what to say"},
        "count": {"type": "integer", "default": 3},
        "loud": {"type": "boolean"},
        "unit": {"enum": ["km", 7]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "unknown": {},
        "__proto__": {"type": "string"},
    }
    tools = [tool("all", properties, ["text", "unit"])]
    odd.methods["tools/list"] = lambda message: {"tools": tools}
    odd.methods["tools/call"] = lambda message: {
        "content": [{"type": "text", "text": json.dumps(message["params"]["arguments"])}]
    }
    connect(page, odd.url)
    form = page.locator("[data-tool=all]")
    expect(form.get_by_label("text string")).to_have_value("")
    expect(form.get_by_text("what to say")).to_be_visible()

    # What is optional and left empty is not sent; what is required is, even empty.
    call(page, "all", json.dumps({"text": "", "count": 3, "loud": False, "unit": "km"}))
    form.get_by_label("loud").check()
    form.get_by_label("unit").select_option(label="7")
    typed = {"text": "5", "count": "4", "tags": '["a"]', "maybe": "1.5", "unknown": "{}"}
    typed["__proto__"] = "a name"
    sent = {"text": "5", "count": 4, "loud": True, "unit": 7, "tags": ["a"], "maybe": 1.5}
    call(page, "all", json.dumps({**sent, "unknown": {}, "__proto__": "a name"}), **typed)
    form.get_by_label("tags").fill("[")
    form.get_by_role("button").click()
    expect(form.locator("output")).to_have_text(re.compile("^tags is not JSON: "))
    screenshot(page, "form")


def test_waiting_has_an_end(page: Page, odd: OddServer) -> None:
    page.clock.install()
    odd.endpoint = ""
    connect(page, odd.url, "opening")
    expect(row(page, 1).locator(".back")).to_have_text("200")
    page.clock.run_for(5_000)
    expect(page.locator(".notice")).to_contain_text("no endpoint event came within 5 s")
    expect(page.locator("#state")).to_have_text("not connected")

    odd.endpoint = "/message"
    odd.methods["tools/list"] = lambda message: {"tools": [tool("slow", {})]}
    connect(page, odd.url)
    page.get_by_role("button", name="Call slow").click()
    while odd.came.get(timeout=5)["method"] != "tools/call":
        pass
    page.clock.run_for(30_000)
    expect(page.locator("[data-tool=slow] output")).to_have_text("No reply within 30 s.")
    # The server is told, so that it need not go on.
    assert odd.came.get(timeout=5)["method"] == "notifications/cancelled"


# --- The programs -------------------------------------------------------------------------


def test_a_port_in_use(web: Program) -> None:
    done = subprocess.run(
        [sys.executable, str(PAGE / "serve.py"), "--port", str(web.port)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    wanted = f"Port {web.port} is in use. Choose another: --port {web.port + 1}\n"
    assert done.stdout + done.stderr == wanted


def test_the_sdk_server_on_all_addresses() -> None:
    program = PAGE / "sdk_server_with_cors.py"
    with running(program, "--host", "0.0.0.0") as server:
        url = f"http://127.0.0.1:{server.port}/sse"
        assert f"Serving MCP on {url} for pages" in server.output
        with httpx2.stream("GET", url) as stream:
            assert stream.status_code == 200
    done = subprocess.run(
        [sys.executable, str(program), "--port", "70000"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_the_page_server_leaves() -> None:
    with running(PAGE / "serve.py") as program:
        # It listens a moment before it says so.
        program.wait_for_output(f"--allow-origin {program.url}\n")
        program.stop(signal.SIGINT)
        assert program.process.returncode == 0
