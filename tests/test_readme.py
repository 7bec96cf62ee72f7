"""The README's first five minutes, typed as they are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.running import environment, running

README = (ROOT / "README.md").read_text(encoding="utf-8")
BEGIN = README.partition("\n## Begin\n")[2].partition("\n## ")[0]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", BEGIN, re.DOTALL | re.MULTILINE)


def test_the_reply_comes_on_the_stream(tmp_path: Path) -> None:
    serve, listen, store, post, tests = blocks("console")
    opened, replies = blocks("text")
    assert serve == "uv run scripts/05_sse_server/sse_server.py\n"
    assert listen == "curl -N http://localhost:8000/sse\n"
    assert tests == "uv run pytest\n"
    with (
        running(ROOT / serve.split()[-1]) as program,
        Server(program.url, program).open("/sse") as stream,
    ):
        assert stream.wait(lambda stream: len(stream.events) > 0)
        path = stream.events[0].data
        shown = re.sub(r"=\S+", f"={path.partition('=')[2]}", opened)
        assert stream.raw.decode().startswith(shown)

        typed = store.replace("PASTE THE PATH HERE", path) + post
        assert path in typed
        run = subprocess.run(
            ["bash", "-c", typed.replace("http://localhost:8000", program.url)],
            env=environment({"no_proxy": "127.0.0.1"}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.count("HTTP/1.1 202 Accepted") == 2
        assert "jsonrpc" not in run.stdout, "the reply is not in the POST's response"
        assert stream.wait(lambda stream: stream.raw.decode().endswith(replies + "\n"))


def test_a_closed_stream_is_a_404_as_the_readme_says() -> None:
    with running(ROOT / "scripts/05_sse_server/sse_server.py") as program:
        server = Server(program.url, program)
        answer = server.request(
            "POST",
            "/message?session_id=gone",
            headers={"Content-Type": "application/json"},
            body=b"{}",
        )
        assert answer.status == 404 and "404" in BEGIN
