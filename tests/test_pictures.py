"""What arrives in a notebook is shown as it happens, escaped, in HTML and in plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from playwright.sync_api import Browser

from workshop.notebook import listen, post, show_stream
from workshop.notebook.pictures import MOST_ROWS, WIDE, Row, html_of, pretty, text_of
from workshop.notebook.shown import Conversation, Picture

EVIL = "<script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\""


class Tags(HTMLParser):
    """Every element of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("lanes", [False, True])
def test_whatever_arrives_is_text(lanes: bool) -> None:
    reply = json.dumps({"jsonrpc": "2.0", "id": EVIL, "result": {EVIL: [EVIL, {"a": EVIL}]}})
    method = json.dumps({"jsonrpc": "2.0", "id": EVIL, "method": EVIL, "params": {"a": EVIL}})
    rows = [
        Row("answer", 0, EVIL, status=500, who=EVIL),
        Row("event", 1, EVIL, wire=f"event: {EVIL}", data=reply, who=EVIL),
        Row("event", 1, "message", wire=EVIL, data=method),
        Row("heartbeat", 1, EVIL, wire=f": {EVIL}"),
        Row("note", 2, EVIL),
    ]
    if lanes:
        rows.append(Row("sent", 3, EVIL, wire=method, data=method))
        rows.append(
            Row(
                "sent",
                3,
                EVIL,
                EVIL,
                status=400,
                answer=EVIL,
                answer_body=json.dumps([EVIL] * 9),
            )
        )
    page = Tags(html_of(rows, (EVIL, EVIL)))
    assert {"script", "img"}.isdisjoint(page.tags)
    assert set(page.attributes) <= {"class", "style"}
    assert page.text.count("<script>") >= (17 if lanes else 9)


@pytest.mark.parametrize("began", [0.0, 5_000.0])
def test_requests_and_replies_are_linked_and_notifications_marked(began: float) -> None:
    picture = Picture(began)
    talk = Conversation()

    def message(kind: str, at: float, **values: object) -> None:
        data = json.dumps({"jsonrpc": "2.0", **values})
        row = Row("sent" if kind == "sent" else "event", began + at, "message", data, data)
        picture.message(row, talk, "a session")

    message("sent", 1.0, id=7, method="add")
    message("sent", 1.1, id="7", method="ping")
    message("sent", 1.2, method="notifications/initialized")
    message("came", 1.5, id="7", result={})
    message("came", 1.3, id=7, error={"code": 1})  # read late, but it came earlier
    assert [round(row.at, 6) for row in picture.rows] == [1.0, 1.1, 1.2, 1.3, 1.5]
    assert [row.number for row in picture.rows] == [1, 2, 3, 4, 5]
    words = re.sub(r"\s+", " ", Tags(picture._repr_html_()).text)
    assert "answered by 4 after 0.300 s" in words
    assert "the reply to 1" in words
    assert "answered by 5 after 0.400 s" in words
    assert "the reply to 2" in words
    assert "notification: no id, no reply" in words


def test_json_is_laid_out_and_no_word_is_broken() -> None:
    value = {"one": "word " * 40, "empty": {}, "short": [1, 2], "deep": [{"x": "y" * 90}] * 2}
    laid_out = pretty(value, WIDE)
    assert json.loads(laid_out) == value
    assert '  "short": [1, 2],\n' in laid_out
    html = html_of(
        [Row("event", 0, "message", "data: " + json.dumps(value), json.dumps(value))]
    )
    assert "word-break: keep-all" in html
    assert "y" * 90 in html


# JupyterLab 4's own rules for what a picture consists of.
JUPYTERLAB = """<style>
.jp-OutputArea-output pre { border: none; overflow-x: auto; word-break: break-all; }
.jp-ThemedContainer .jp-RenderedHTMLCommon pre {
  border: 0; background-color: rgb(1, 2, 3); color: rgb(4, 5, 6); margin: 0; padding: 0;
}
</style><body class="jp-ThemedContainer">
<div class="jp-OutputArea-output jp-RenderedHTMLCommon jp-RenderedHTML">"""


def test_in_jupyterlab_a_picture_keeps_its_looks_and_nothing_is_cut_off(
    chromium: Browser,
) -> None:
    reply = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"a": "b " * 40}})
    rows = [
        Row("event", 0, "endpoint", "event: endpoint\ndata: /message?session_id=" + "x" * 43),
        Row("event", 1, "message", f"data: {reply}", reply, number=2),
        Row("sent", 2, "POST /message", "{}", number=3),
    ]
    page = chromium.new_page(viewport={"width": 900, "height": 800})
    page.set_content(JUPYTERLAB + html_of(rows))
    for block in page.locator("pre").all():
        assert block.evaluate("it => it.scrollWidth <= it.clientWidth"), block.inner_text()
        ground = "it => getComputedStyle(it).backgroundColor"
        assert block.evaluate(ground) == "rgba(0, 0, 0, 0)"
    line = "it => getComputedStyle(it).borderTopStyle"
    assert page.locator("pre.json").evaluate(line) == "dashed"
    # The endpoint has no number in this picture, so it shows none.
    assert page.locator(".badge").all_inner_texts() == ["2", "3"]
    page.close()


def test_no_time_is_before_the_beginning() -> None:
    picture = Picture(100.0)
    picture.add(Row("sent", 100.0, "POST /message", "{}"))
    picture.add(Row("event", 60.0, "message", "data: 1"))  # it waited to be shown
    picture.add(Row("event", 100.5, "message", "data: 2"))
    assert [row.at for row in picture.rows] == [0.0, 40.0, 40.5]


def test_a_long_conversation_shows_its_end() -> None:
    rows = [Row("event", number, f"event {number}") for number in range(MOST_ROWS + 5)]
    page = Tags(html_of(rows)).text
    assert "5 earlier rows are not shown" in page
    assert f"event {MOST_ROWS + 4}" in page
    assert "x" * 30_000 not in html_of([Row("event", 0, "message", "x" * 30_000)])


def test_plain_text_has_the_lines_of_the_wire() -> None:
    row = Row("sent", 0.25, "POST /message", "{}", status=202, answer="202 Accepted")
    assert text_of([row, Row("event", 1, "message", "event: message\ndata: 1")]) == (
        "   0.250 s → POST /message\n"
        "             {}\n"
        "             ← 202 Accepted\n"
        "   1.000 s ← event: message\n"
        "             data: 1"
    )


@pytest.fixture
def held() -> Iterator[tuple[str, Event]]:
    """A server that sends one event, waits for the test's word, and sends another."""
    go_on = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            euro = "€".encode()
            self.wfile.write(b"data: 1 " + euro[:1])
            self.wfile.flush()
            self.wfile.write(euro[1:] + b"\n\n")
            go_on.wait(10)
            self.wfile.write(b"event: two\nid: 7\ndata: 2\n\ndata: never ended\n")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stream?x=1", go_on
    go_on.set()
    server.shutdown()
    server.server_close()


def test_a_stream_is_shown_while_it_arrives(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    url, go_on = held
    with listen(url) as stream:
        stream.show(1, seconds=5)
        shown = capsys.readouterr().out
        assert "GET /stream?x=1 → 200, text/event-stream" in shown
        assert "data: 1 €" in shown  # and the second event was not yet sent
        assert "data: 2" not in shown
        go_on.set()
        stream.show(None, seconds=5)
        assert "data: 2" in (shown := capsys.readouterr().out)
        assert "data: never ended" in shown
        assert "The stream has ended." in shown
        assert stream.text == "data: 1 €\n\nevent: two\nid: 7\ndata: 2\n\ndata: never ended\n"
    assert [(one.type, one.data, one.id) for one in stream.events] == [
        ("message", "1 €", ""),
        ("two", "2", "7"),
    ]


@pytest.mark.parametrize("many", [2, 2_000])
def test_heartbeats_that_nobody_waited_for_are_counted(
    many: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b": heartbeat\n\n" * many + b"data: 1\n\n")
            sent.wait(10)
            self.wfile.write(b": heartbeat\n\n" * 20)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with listen(f"http://127.0.0.1:{server.server_port}") as stream:
            assert stream._reader.wait(lambda: stream.text.endswith("data: 1\n\n"), 10)
            stream.show(many + 1)
            before = capsys.readouterr().out
            assert "data: 1" in before
            take = stream.take
            # What comes while a cell waits for it is shown.
            monkeypatch.setattr(stream, "take", lambda end: sent.set() or take(end))
            stream.show(None)
            assert capsys.readouterr().out.count(": heartbeat") == 20
        server.shutdown()
    if many == 2:
        assert before.count(": heartbeat") == 2
    else:
        assert before.count(": heartbeat") == 1
        assert "1,999 more heartbeats are not shown." in before


def test_waiting_for_more_than_comes_has_an_end(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    show_stream(held[0], events=2, seconds=0.3)
    assert "Nothing more came within 0.3 s." in capsys.readouterr().out


def test_post_says_that_what_it_was_given_is_not_a_url(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = "http://127.0.0.1:8000message"  # from an endpoint without its slash
    assert post(url, {}).status == 0
    assert f"No answer: {url} is not a URL." in capsys.readouterr().out


def test_post_shows_the_answer_and_returns_it(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = post(held[0], {"a": "b"})
    assert (answer.status, answer.json()) == (202, {"a": "b"})
    assert '← 202 Accepted\n{"a": "b"}' in capsys.readouterr().out
    assert post(held[0], "not json {").body == "not json {"
