"""The page that asks the user whether a program may act for them."""

from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

HEADERS = {
    "Cache-Control": "no-store",
    # No page may show this one in a frame, to make the user click on what they don't see.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

PAGE = """<!doctype html>
<html lang="en">
<title>Let a program in?</title>
<h1>Let a program in?</h1>
<p>A program that calls itself <b>{client}</b> wants to use <b>{resource}</b> as you: {scope}.
<p>Your answer goes to <b>{to}</b>.
<form method="post">
<p><label>You are <select name="user">{users}</select></label>
<p><button name="answer" value="yes">Let it in</button>
<button name="answer" value="no">No</button>
</form>
"""


def question(
    client: str, resource: str, scope: str, redirect_uri: str, users: Sequence[str]
) -> HTMLResponse:
    """The page. The client chose its name itself, so what matters is where the answer goes."""
    to = urlsplit(redirect_uri)
    page = PAGE.format(
        client=escape(client),
        resource=escape(resource),
        scope=escape(scope),
        to=escape(f"{to.scheme}://{to.netloc}"),
        users="".join(f"<option>{escape(user)}</option>" for user in users),
    )
    return HTMLResponse(page, headers=HEADERS)


def refusal(status: int, why: str) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html>\n<p>{escape(why)}\n", status, HEADERS)
