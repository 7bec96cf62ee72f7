"""An honest server with a tool that can do too much: `read_file` reads any file.

    uv run scripts/09_security/agent/files_server.py
    uv run scripts/09_security/agent/files_server.py --notes-only

With `--notes-only` it has less power: it reads the files in the folder `notes`, and no others.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from serving import prepare, url_of

KEY = ".ssh/id_ed25519"
DIARY = "notes/diary.txt"
TODO = "notes/todo.txt"


def create(home: Path, notes_only: bool, tell: Callable[[str], object] = print) -> MCPServer:
    """The server. Paths are those of files in the folder `home`."""
    server = MCPServer("files", log_level="WARNING")

    @server.tool(structured_output=False)
    def read_file(path: str) -> str:
        """Read a file, such as notes/todo.txt."""
        wanted = (home / path).resolve()
        if notes_only and not wanted.is_relative_to((home / "notes").resolve()):
            tell(f"Refused: {path} is not in notes/")
            raise ToolError("Only files in notes/ can be read.")
        if not wanted.is_file():
            raise ToolError("There is no such file.")
        return wanted.read_text(encoding="utf-8")

    return server


def furnish(home: Path) -> None:
    """Put a key, a diary and a list into the folder. The first two are new random words."""
    for path, text in ((KEY, secret()), (DIARY, secret()), (TODO, "Buy tea.")):
        file = home / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


def secret() -> str:
    return f"canary-{secrets.token_hex(6)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="An MCP server that reads files.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8029)
    parser.add_argument("--notes-only", action="store_true", help="read only in notes/")
    options = parser.parse_args()
    prepare(options.host, options.port)
    logging.getLogger("mcp").setLevel(logging.WARNING)  # `tell` says what is refused
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        furnish(home)
        for path in (KEY, DIARY, TODO):
            print(f"{path}: {(home / path).read_text(encoding='utf-8')}")
        url = url_of(options.host, options.port)
        print(f"Serving MCP on {url}/sse. In another terminal:")
        print("  uv run scripts/09_security/agent/poisoned_server.py", flush=True)
        app = create(home, options.notes_only).sse_app()
        uvicorn.run(
            app,
            host=options.host,
            port=options.port,
            timeout_graceful_shutdown=1,
            log_level="warning",
        )


if __name__ == "__main__":
    main()
