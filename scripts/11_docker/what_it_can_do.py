"""Try what a model could be talked into, using only the terminal server's tools.

    uv run scripts/11_docker/what_it_can_do.py http://127.0.0.1:8081/sse

Run it against the server on your machine, and against the same server in a container. It harms
neither: it takes a limited amount, and gives it back.
"""

import asyncio
import signal
import sys
import textwrap

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp_types import CallToolResult, TextContent

# The attempts that are Python programs, for `python3 -c`. Each prints one line.

HOME = """
import os, pwd
home = pwd.getpwuid(os.getuid()).pw_dir
try:
    print(f"yes: {home} has {len(os.listdir(home))} entries")
except OSError as error:
    print(f"no: {error.strerror}")
"""

SERVERS_ENVIRONMENT = """
import os
try:
    size = len(open(f"/proc/{os.getppid()}/environ", "rb").read().split(b"\\0")) - 1
    print(f"yes: {size} variables, keys and all")
except OSError as error:
    print(f"no: {error.strerror}")
"""

PROCESSES = """
import os
count = sum(name.isdigit() for name in os.listdir("/proc"))
print(f"yes: {count} processes" if count > 8 else f"no: only its own {count}")
"""

ROOT = """
import os
print("yes: it is root" if os.getuid() == 0 else f"no: it is user {os.getuid()}")
"""

ITS_PROGRAM = """
import os
arguments = open(f"/proc/{os.getppid()}/cmdline", "rb").read().split(b"\\0")
program = next(word for word in arguments if word.endswith(b".py") or b"uvicorn" in word)
where = os.path.join(os.readlink(f"/proc/{os.getppid()}/cwd").encode(), program)
print("yes" if os.access(where, os.W_OK) else "no: it may only be read")
"""

FILES_ELSEWHERE = """
import os, uuid
written = []
for folder in ("/", "/usr/local/bin", "/var/tmp", os.path.expanduser("~/..")):
    path = os.path.join(folder, f"{uuid.uuid4()}.tmp")
    try:
        open(path, "x").close()
        os.unlink(path)
        written.append(os.path.normpath(folder))
    except OSError:
        pass
print("yes: in " + ", ".join(written) if written else "no")
"""

MEMORY = """
import sys
taken = bytearray(400_000_000)
print(f"yes: {len(taken) // 1_000_000} MB")
"""

PROCESSES_AT_ONCE = """
import subprocess
started = []
try:
    while len(started) < 100:
        started.append(subprocess.Popen(["sleep", "5"]))
    print(f"yes: {len(started)}")
except OSError as error:
    print(f"no: {error.strerror}, after {len(started)}")
finally:
    for one in started:
        one.kill()
"""

NEW_SESSION = """
import subprocess
subprocess.Popen(["sleep", "15"], start_new_session=True)
print("yes: for 15 seconds, out of reach of the time limit")
"""

FILL_THE_DISK = """
import os
path = "filled.tmp"
try:
    with open(path, "wb") as file:
        for megabyte in range(100):
            file.write(bytes(1_000_000))
    print("yes: 100 MB, and more")
except OSError as error:
    print(f"no: {error.strerror}, after {megabyte} MB")
finally:
    os.unlink(path)
"""

# Connected like this, a datagram socket has a route and an address, and sends nothing.
NETWORK = """
import socket
try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        print(f"yes: from {way.getsockname()[0]}")
except OSError as error:
    print(f"no: {error.strerror}")
"""

Attempt = tuple[str, str, dict[str, object]]


def python(program: str) -> dict[str, object]:
    return {"command": ["python3", "-c", program.strip()]}


ATTEMPTS: list[Attempt] = [
    ("read_file ../../etc/passwd", "read_file", {"path": "../../etc/passwd"}),
    ("read_file /etc/passwd", "read_file", {"path": "/etc/passwd"}),
    ("cat /etc/hostname", "run_command", {"command": ["cat", "/etc/hostname"]}),
    ("be root", "run_command", python(ROOT)),
    ("list your home folder", "run_command", python(HOME)),
    ("read the server's environment", "run_command", python(SERVERS_ENVIRONMENT)),
    ("see other processes", "run_command", python(PROCESSES)),
    ("write files elsewhere", "run_command", python(FILES_ELSEWHERE)),
    ("change the server's program", "run_command", python(ITS_PROGRAM)),
    ("take 400 MB of memory", "run_command", python(MEMORY)),
    ("start 100 processes", "run_command", python(PROCESSES_AT_ONCE)),
    ("fill the disk", "run_command", python(FILL_THE_DISK)),
    ("reach the network", "run_command", python(NETWORK)),
    ("leave a process behind", "run_command", python(NEW_SESSION)),
]


def in_a_line(result: CallToolResult) -> str:
    """The result, in the width that is left in the terminal."""
    said = " ".join(one.text for one in result.content if isinstance(one, TextContent))
    said = said.removeprefix("Error executing tool read_file: ")
    if not said.startswith(("yes", "no")):
        said = f"{'no' if result.is_error or 'exit status' in said else 'yes'}: {said}"
    return textwrap.shorten(said, 48, placeholder=" …")


async def main(url: str) -> str | None:
    """Print the table. Returns why there is none, if it is another server."""
    # mode="legacy": the handshake of the revisions that have this transport (lesson 06).
    async with Client(sse_client(url), mode="legacy") as client:
        for what, tool, arguments in ATTEMPTS:
            try:
                result = await client.call_tool(tool, arguments, read_timeout_seconds=30)
            except MCPError as error:
                return f"This is not terminal_server.py: {error}"
            print(f"{what:31} {in_a_line(result)}", flush=True)
    return None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} URL")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback
    try:
        sys.exit(asyncio.run(main(sys.argv[1])))
    except httpx2.HTTPStatusError as error:
        sys.exit(f"No event stream at {sys.argv[1]}: {error.response.status_code}")
    except httpx2.HTTPError as error:
        sys.exit(f"No server answers at {sys.argv[1]}: {error}")
