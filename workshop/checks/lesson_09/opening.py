"""The suite: a server with its users, and a folder of notes beside what nobody may read."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import McpServer
from workshop.patience import stretched
from workshop.running import Program, running

# Somebody has written the note that greets each client. U+2028 is not a line end.
WELCOME = "Welcome.\r\nMind the step.\r\revent: alarm\rdata: leave at once\r\rgood\u2028bye"
GUESTS = 6  # principals of the check `allowed`: one more than the streams that one may open


class User(McpServer):
    """The server as one principal sees it: each request carries this principal's token."""

    def __init__(self, program: Program, name: str, token: str) -> None:
        proof = {"Authorization": f"Bearer {token}"}
        super().__init__(f"{program.url}/sse", program, exact=True, headers=proof)
        self.name = name
        self.token = token


class Lab:
    """A program under attack, its users, and the canary: what no attack may get out."""

    def __init__(
        self, program: Program, tokens: Mapping[str, str], notes: Path, canary: str
    ) -> None:
        self.program = program
        self.tokens = tokens
        self.notes = notes
        self.canary = canary

    def user(self, name: str) -> User:
        return User(self.program, name, self.tokens[name])

    def users(self, check: str) -> tuple[User, User]:
        """Alice and Mallory, as this check alone knows them."""
        return self.user(f"alice-{check}"), self.user(f"mallory-{check}")

    def nobody(self) -> McpServer:
        """The server without a token."""
        return McpServer(f"{self.program.url}/sse", self.program, exact=True)


@contextmanager
def open_program(path: Path) -> Iterator[Lab]:
    """Start the file. Raises ProgramError."""
    names = [f"{who}-{check.id}" for check in suite.checks for who in ("alice", "mallory")]
    names += [f"guest-{number}" for number in range(GUESTS)]
    tokens = {name: f"token-of-{name}-{secrets.token_hex(8)}" for name in names}
    with notes_and_canary() as (notes, canary):
        env = {
            "MCP_TOKENS": ",".join(f"{name}:{token}" for name, token in tokens.items()),
            "NOTES": str(notes),
        }
        with running(path, env=env, seconds=stretched(10)) as program:
            yield Lab(program, tokens, notes, canary)


@contextmanager
def notes_and_canary() -> Iterator[tuple[Path, str]]:
    """A folder of notes, and the text of two files that are not in it."""
    canary = f"canary-{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory() as name:
        house = Path(name) / "house"
        for folder in ("notes/lists", "notes-private"):
            (house / folder).mkdir(parents=True)
        for file, text in {
            "notes/welcome.txt": WELCOME,
            "notes/shopping.txt": "Tea\nMilk\n",
            "notes/lists/today.txt": "Break it\nSecure it\n",
            "notes/--help": "one\ntwo\n",
            "canary.txt": canary,
            "notes-private/canary.txt": canary,
        }.items():
            (house / file).write_bytes(text.encode())
        (house / "notes/shortcut.txt").symlink_to(house / "canary.txt")
        # The path to the folder has a link in it, too, as /tmp and /var are links on macOS.
        (Path(name) / "door").symlink_to(house)
        yield Path(name) / "door/notes", canary


suite = Suite("09_security", open_program=open_program, start_heading="Run it")
