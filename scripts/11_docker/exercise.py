"""Exercise 11: four files that make a server available to others, each with faults to fix.

    uv run work/11_docker/exercise.py

shows the four files. With the name of a folder, it writes them there, with this lesson's server
next to them. If you have a container engine, you can then build and run it:

    uv run work/11_docker/exercise.py work/11_docker/deploy
    (cd work/11_docker/deploy && docker build -t terminal_server_sse . && sh run.sh)
    (cd work/11_docker/deploy && docker compose up)
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path

# The programs that go into the image: this lesson's server, and the versions that it needs.
SERVER = Path(__file__).resolve().parents[2] / "scripts" / "11_docker"


def dockerfile() -> str:
    """Dockerfile: how the image is made."""
    return r"""FROM python:3.12-slim
WORKDIR /app

# The versions change less often than the programs, so they come first, in their own layer.
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY *.py ./
ENV WORKSPACE=/workspace PYTHONUNBUFFERED=1

# TODO 1: Run the server as a user `app` with the number 1000, who can write in /workspace and
# owns nothing else. Whatever a model is talked into, its commands can do it only as this user.
RUN mkdir /workspace

# TODO 2: Start the server so that `docker stop` reaches it: the signal goes to the first
# process in the container, and a shell does not pass it on. And let it listen where clients
# outside the container can reach it: 127.0.0.1 in here is the container itself.
CMD python terminal_server.py
"""


def run_command() -> str:
    """run.sh: the command that runs the image."""
    return r"""#!/bin/sh
# If the folder were missing, the engine would create it, and it would belong to root.
mkdir -p workspace

# TODO 3: Only this machine may reach the server, on port 8081: it runs commands for anyone
# who asks. And what it writes in /workspace must appear in the folder `workspace` next to this
# file, and still be there when the container is gone.
docker run --rm --name terminal_server \
  -p 8081:8081 \
  -v "$PWD/workspace" \
  terminal_server_sse
"""


def compose() -> str:
    """compose.yaml: the server with nginx in front of it."""
    return r"""services:
  server:
    build: .
    image: terminal_server_sse
    volumes:
      - ./workspace:/workspace
    # TODO 4: Everybody comes in through nginx, so publish no port of this server. And limit
    # what a command can do in here: it may write only in /workspace and /tmp, it has none of
    # root's capabilities and can't gain any, and it can use at most 256 MiB of memory, 64
    # processes and one processor.
    ports:
      - "8081:8081"

  nginx:
    image: nginx:1.30-alpine
    depends_on: [server]
    ports:
      - "127.0.0.1:8080:8080"
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
"""


def nginx() -> str:
    """nginx.conf: what lets a stream through."""
    return r"""events {}

http {
    server {
        listen 8080;

        location / {
            proxy_pass http://server:8081;

            # TODO 5: Pass each event on at once, whatever the server says about it. Speak
            # HTTP/1.1 to the server: in HTTP/1.0 a response that breaks off looks like a
            # complete one. And leave out what is only for WebSockets.
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";

            # TODO 6: Let a stream be silent for an hour. A model that is thinking is silent,
            # and so is a person who has been asked a question.
            proxy_connect_timeout 60s;
            proxy_read_timeout 60s;
            proxy_send_timeout 60s;

            # TODO 7: Tell the server which name and port the client asked for, exactly as it
            # sent them. A server that checks them answers 421 to anything else.
            proxy_set_header Host $host;
        }
    }
}
"""


def files() -> dict[str, str]:
    """The text of each file, by its name."""
    return {
        "Dockerfile": dockerfile(),
        "run.sh": run_command(),
        "compose.yaml": compose(),
        "nginx.conf": nginx(),
    }


def write(folder: Path, server: Path) -> None:
    """Write the four files into `folder`, with what the image is made of. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in [*server.glob("*.py"), server / "requirements.txt"]:
        if path.name != "exercise.py":
            shutil.copyfile(path, folder / path.name)
    # If it were missing, the engine would create it, and it would belong to root.
    (folder / "workspace").mkdir(exist_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, help="where to write the files")
    parser.add_argument("--server", type=Path, default=SERVER, help="scripts/11_docker")
    options = parser.parse_args()

    if options.folder is None:
        for name, text in files().items():
            print(f"==> {name} <==\n{text}")
        return
    if not (options.server / "terminal_server.py").is_file():
        sys.exit(
            f"There is no terminal_server.py in {options.server}. Name its folder: --server"
        )
    try:
        write(options.folder, options.server)
    except OSError as error:
        sys.exit(f"Cannot write to {options.folder}: {error.strerror}: {error.filename}")
    print(f"Written to {options.folder}: {', '.join(files())}, and the server. Next, type:")
    folder = shlex.quote(str(options.folder))
    print(f"  (cd {folder} && docker build -t terminal_server_sse . && sh run.sh)")


if __name__ == "__main__":
    main()
