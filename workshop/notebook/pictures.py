"""What arrives, as HTML and as plain text: a list of events, or a conversation in two lanes.

Only pictures are made here, of `Row`s; nothing here reads from the network. Everything that
comes from outside is escaped. The colours follow the theme of JupyterLab, and where there is
none, of the page around.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

MOST_ROWS = 300
MOST_CHARACTERS = 20_000  # of one message
LONG = 24  # lines of pretty-printed JSON that are shown folded
WIDE = 72  # characters of a line of it in a list of events
NARROW = 44  # and in one of two lanes

Kind = Literal["sent", "event", "heartbeat", "answer", "note"]


@dataclass
class Row:
    """One thing that happened. `at` is in seconds since the picture began.

    sent: what the client sent; `answer` and `answer_body` come with the response.
    event: an event, a line or a body from the server. heartbeat: one that says nothing.
    answer: the response that opened a stream. note: a remark, from neither side.
    """

    kind: Kind
    at: float
    title: str
    wire: str = ""
    data: str = ""  # the JSON in it, if there is any
    status: int = 0
    answer: str = ""  # "202", and the type of its body
    answer_body: str = ""
    number: int = 0  # of a message in a conversation
    linked: Row | None = None  # the message that it answers, or that answers it
    took: float = 0.0  # seconds from the request to its reply
    who: str = ""  # whose stream it came on, where there are several
    together: bool = False  # it arrived in one piece with the row above


# --- reading a message ------------------------------------------------------------------


def parsed(text: str) -> Any:
    """The JSON in a text, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def pretty(value: Any, width: int, indent: int = 0) -> str:
    """JSON that is easy to read: what fits into a line stays in one."""
    short = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, (dict, list)) or indent + len(short) <= width:
        return short
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {pretty(one, width, indent + 2)}"
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    lines = [inner + pretty(one, width, indent + 2) for one in value]
    return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"


def kind_of(message: Any) -> tuple[str, object]:
    """What a JSON-RPC message is, and its id: ("notification", None), ("reply", 3), …

    ("", None) for anything else.
    """
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return "", None
    if "method" in message:
        return ("request", message["id"]) if "id" in message else ("notification", None)
    return ("error" if "error" in message else "reply"), message.get("id")


# --- plain text --------------------------------------------------------------------------


def text_of(rows: Sequence[Row]) -> str:
    """The rows for a terminal: a time, an arrow, and the lines that went over the wire."""
    return "\n".join(line for row in rows for line in lines_of(row))


def lines_of(row: Row) -> list[str]:
    """One row for a terminal."""
    arrow = {"sent": "→", "event": "←", "heartbeat": "♥", "answer": "←", "note": "·"}[row.kind]
    whole = row.wire if row.kind in ("event", "heartbeat") and row.wire else row.title
    if row.kind == "sent" and row.wire:
        whole += "\n" + row.wire
    if row.answer:
        whole += f"\n← {row.answer}" + (f"\n{row.answer_body}" if row.answer_body else "")
    if row.who:
        arrow += f" {row.who}:"
    first, *more = whole.rstrip("\n").split("\n")
    return [f"{row.at:8.3f} s {arrow} {first}", *(f"{'':13}{line}" for line in more)]


# --- HTML --------------------------------------------------------------------------------

# In each picture: the notebook that holds it may be all there is.
STYLE = f"<style>{Path(__file__).with_name('pictures.css').read_text(encoding='utf-8')}</style>"


def html_of(rows: Sequence[Row], names: tuple[str, str] = ("client", "server")) -> str:
    """The rows as HTML: in two lanes if the client said anything in them."""
    shown = rows[-MOST_ROWS:]
    if left := len(rows) - len(shown):
        shown = [Row("note", shown[0].at, f"{left} earlier rows are not shown."), *shown]
    if not any(row.kind == "sent" for row in rows):
        before = 0.0
        parts: list[str] = []
        for row in shown:
            parts.append(_stream_row(row, row.at - before))
            before = row.at
        return f'<div class="wire">{STYLE}{"".join(parts)}</div>'
    heads = f"<span>{escape(names[0])}</span><span>{escape(names[1])}</span>"
    turns = "".join(map(_turn, shown))
    return (
        f'<div class="wire">{STYLE}<div class="lanes">'
        f'<div class="names">{heads}</div>{turns}</div></div>'
    )


def _stream_row(row: Row, since: float) -> str:
    if row.kind in ("note", "answer"):
        return _note(row)
    who = _chip(row.who) if row.who else ""
    beat = " beat" if row.kind == "heartbeat" else ""
    together = " together" if row.together else ""
    after = "together" if row.together else f"+{since:.3f}"
    head = "" if beat else f"<div>{who}{_chip(row.title)}{_linked(row)}</div>"
    return (
        f'<div class="stream{beat}{together}" style="--hue:{_hue(row.title)}">'
        f'<span class="time">{row.at:.3f} s</span><span class="time">{after}</span>'
        f'<div class="event">{head}{_body(row.wire, row.data, WIDE)}</div></div>'
    )


def _turn(row: Row) -> str:
    if row.kind in ("note", "answer"):
        return _note(row)
    if row.kind == "heartbeat":
        return (
            '<div class="turn from-server beat"><div class="arrow"></div>'
            f'<div class="right"><pre>{_broken_at_commas(row.wire.strip())}</pre></div></div>'
        )
    from_client = row.kind == "sent"
    wrong = " wrong" if row.status >= 400 else ""
    side, across = ("left", "right") if from_client else ("right", "left")
    where = "" if from_client else " from-server"
    back = f'<span class="back">← {row.status}</span>' if row.status else ""
    # What is not a message has no number: the body of a GET, a block without data.
    badge = f'<span class="badge">{row.number}</span>' if row.number else ""
    title = escape(row.title)
    line = (
        f'<div class="tag">{title}</div>'
        if from_client and kind_of(parsed(row.data))[0]
        else ""
    )
    return (
        f'<div class="turn{where}{wrong}"><div class="card {side}">'
        f'<div class="head">{_head(row)}<span class="time">{row.at:.3f} s</span></div>{line}'
        f"{_body(row.wire, row.data)}</div>"
        f'<div class="arrow">{badge}{back}</div>'
        f"{_across(row, across)}</div>"
    )


def _across(row: Row, side: str) -> str:
    """What is on the other side of a message: the response, or which message it belongs to."""
    if row.answer_body:
        bad = " bad" if row.status >= 400 else ""
        data = row.answer_body if parsed(row.answer_body) is not None else ""
        return (
            f'<div class="card {side}{" wrong" if bad else ""}">'
            f'<div class="head{bad}">{escape(row.answer)}</div>'
            f"{_body(row.answer_body, data)}</div>"
        )
    said: list[str] = []
    if row.linked and row.kind == "sent":
        said.append(f"answered by <b>{row.linked.number}</b> after {row.took:.3f} s")
    elif row.linked:
        said.append(f"the reply to <b>{row.linked.number}</b>")
    if row.status >= 400:
        said.append(escape(row.answer))
    return f'<div class="far {side}">{", ".join(said)}</div>'


def _head(row: Row) -> str:
    """The title of a message, and what kind of message it is."""
    message: Any = parsed(row.data) if row.data else None
    kind, id = kind_of(message)
    head = escape(row.title)
    if kind in ("request", "notification"):
        head = escape(str(message["method"]))
    if row.kind == "event" and row.title:
        who = _chip(row.who) if row.who else ""
        head = (
            who
            + _chip(row.title)
            + (f"<span>{head}</span>" if head != escape(row.title) else "")
        )
    if kind == "notification":
        return head + '<span class="tag">notification: no id, no reply</span>'
    if kind:
        shown = json.dumps(id, ensure_ascii=False)
        mark = '<span class="bad">error</span>' if kind == "error" else ""
        return head + mark + _chip(f"id {shown}", hue=_hue(shown))
    return head


def _note(row: Row) -> str:
    bad = " bad" if row.status >= 400 else ""
    return (
        f'<div class="note{bad}"><span class="time">{row.at:.3f} s</span> '
        f"{_chip(row.who) if row.who else ''} {escape(row.title)}</div>"
    )


def _linked(row: Row) -> str:
    kind, id = kind_of(parsed(row.data)) if row.data else ("", None)
    return (
        f' <span class="tag">{kind} {escape(json.dumps(id))}</span>' if id is not None else ""
    )


def _body(wire: str, data: str, width: int = NARROW) -> str:
    """The wire form, and the JSON in it laid out below, if that says more."""
    made = (
        f'<pre class="raw">{_broken_at_commas(_clipped(wire.rstrip()))}</pre>' if wire else ""
    )
    value = parsed(data) if data and len(data) <= MOST_CHARACTERS else None
    if not isinstance(value, (dict, list)):
        return made
    laid_out = pretty(value, width)
    lines = laid_out.count("\n") + 1
    if lines == 1:
        return made
    block = f'<pre class="json">{_coloured(laid_out)}</pre>'
    if lines <= LONG:
        return made + block
    return f"{made}<details><summary>laid out, {lines} lines</summary>{block}</details>"


def _clipped(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} … {len(text) - MOST_CHARACTERS} characters more"


def _broken_at_commas(text: str) -> str:
    """Escaped, with a place for a line break behind each comma."""
    return escape(text).replace(",", ",<wbr>")


_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*')


def _coloured(text: str) -> str:
    """Laid-out JSON with a colour for keys, strings and other values."""
    made, last = "", 0
    for found in _TOKEN.finditer(text):
        made += escape(text[last : found.start()])
        kind = "value" if found[1] is None else "key" if found[2] else "string"
        made += f'<span class="{kind}">{escape(found[1] or found[0])}</span>'
        made += found[2] or ""
        last = found.end()
    return made + escape(text[last:])


def _chip(text: str, hue: int | None = None) -> str:
    own = _hue(text) if hue is None else hue
    return f'<span class="chip" style="--hue:{own}">{escape(text)}</span>'


def _hue(text: str) -> int:
    """A colour for a name, always the same. `message` and `endpoint` are far apart."""
    known = {"message": 150, "endpoint": 265, "connected": 30, "response": 205}
    if text in known:
        return known[text]
    return sum(number * ord(letter) for number, letter in enumerate(text, 31)) * 47 % 360
