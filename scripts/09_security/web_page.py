"""The page: a client in the browser. It is not secret, and can do nothing without a token."""

from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

PAGE = Path(__file__).parent / "page"
FILES = ("page.css", "page.js", "style.css")  # no path that comes from outside is opened

# What the browser lets the page do: run the script in its folder and no other, and connect to
# this server only. A script that somebody injects could send the token nowhere else.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",  # no page can put it into a frame and make you click in it
        "require-trusted-types-for 'script'",  # no text becomes HTML
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ask whether there is a newer one
}


def add_page(app: FastAPI) -> None:
    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=HEADERS)

    @app.get("/page/{name}")
    async def file_of_page(name: str) -> FileResponse:
        if name not in FILES:
            raise HTTPException(404)
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        return FileResponse(PAGE / name, media_type=kind, headers=HEADERS)
