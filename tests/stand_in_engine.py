"""A container engine for a machine that has none: Podman, private, in one folder.

    python3 tests/stand_in_engine.py start FOLDER     prints DOCKER_HOST=unix://…
    python3 tests/stand_in_engine.py stop FOLDER      leaves no process and no file

The command `docker` works with it. It can't pull images, for want of a registry. So it has
two made from this Debian's own files: `python:3.12-slim` and, where nginx is installed,
`nginx:1.30-alpine`. They are as like the real ones as the lesson's tests need: the same
Python in the same place, the same users, no compiler.

Building an image with them downloads packages, as `uv sync` does.

Only the standard library: `.ci/run` starts this while the others are still being installed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PYTHON_IMAGE = "python:3.12-slim"
NGINX_IMAGE = "nginx:1.30-alpine"
PROGRAMS = ("docker", "podman", "runc", "netavark", "aardvark-dns", "iptables", "catatonit")
PLACES = ("/usr/lib/podman", "/usr/libexec/podman")  # of what only others start

# crun, the default, refuses some machines' control groups, and limits as they are set there.
# The events' default is systemd's journal.
CONTAINERS_CONF = """\
[containers]
netns = "bridge"
init_path = "{init}"
default_ulimits = ["nofile={files}:{files}", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
exit_command_delay = 10
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
default_network = "{network}"
default_subnet_pools = [{{"base" = "10.{number}.128.0/17", "size" = 24}}]
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""

# What the course's images never use: a third of the time it takes to make them.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
NOT_IN_PYTHON = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"}
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}

PIP = """\
#!/usr/local/bin/python3
import sys
from pip._internal.cli.main import main
sys.exit(main())
"""


class EngineError(Exception):
    """The engine can't be had here. The text says why."""


def missing_programs() -> list[str]:
    """What has to be installed first."""
    return [program for program in PROGRAMS if found_at(program) is None]


def found_at(program: str) -> str | None:
    """Its path, also where only podman looks."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))


def environment(folder: Path) -> dict[str, str]:
    """For `podman`: everything it keeps is in the folder."""
    return {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": str(folder / "tmp"),
    }


def podman(folder: Path, *arguments: str) -> str:
    """What podman prints. Raises EngineError with its complaint."""
    run = subprocess.run(
        ["podman", *arguments], env=environment(folder), capture_output=True, text=True
    )
    if run.returncode:
        raise EngineError(f"podman {' '.join(arguments)}: {run.stderr}")
    return run.stdout


def start(folder: Path) -> str:
    """Make the images, start the engine; returns the DOCKER_HOST. Raises EngineError."""
    if missing := missing_programs():
        raise EngineError(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise EngineError("only root can make its images")
    if shutil.which("dpkg-query") is None:
        raise EngineError("its images are made from Debian's packages, and this is not Debian")
    for name in ("tmp", "networks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Not the bridge of another such engine: the end of another test run would take it away.
    number = 100 + os.getpid() % 100
    network = f"engine{number}"
    described = {
        "name": network,
        "id": hashlib.sha256(network.encode()).hexdigest(),
        "driver": "bridge",
        "network_interface": network,
        "subnets": [{"subnet": f"10.{number}.0.0/24", "gateway": f"10.{number}.0.1"}],
        "ipam_options": {"driver": "host-local"},
    }
    (folder / "networks" / f"{network}.json").write_text(json.dumps(described))
    (folder / "storage.conf").write_text(STORAGE_CONF.format(folder=folder))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    init = found_at("catatonit")
    (folder / "containers.conf").write_text(
        CONTAINERS_CONF.format(
            folder=folder, network=network, number=number, files=files, init=init
        )
    )
    make_images(folder)
    socket = folder / "podman.sock"
    # If nobody says stop, because the test run was killed, it leaves after an idle hour.
    with (folder / "service.log").open("wb") as log:
        service = subprocess.Popen(
            ["podman", "system", "service", "--time", "3600", f"unix://{socket}"],
            env=environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / "service.pid").write_text(str(service.pid))
    while not socket.exists():
        if service.poll() is not None:
            raise EngineError((folder / "service.log").read_text())
        time.sleep(0.02)
    return f"unix://{socket}"


def stop(folder: Path) -> None:
    """End every container and the engine, and remove the folder."""
    with suppress(OSError, EngineError):
        podman(folder, "rm", "--all", "--force", "--time", "0")
    with suppress(OSError, EngineError):
        podman(folder, "network", "prune", "--force")
    with suppress(OSError, ValueError):
        process = int((folder / "service.pid").read_text())
        os.kill(process, signal.SIGTERM)
        with suppress(ChildProcessError):
            os.waitpid(process, 0)
    # What waits to tell podman that a command has ended.
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = process.read_bytes().split(b"\0")
            if words[0].endswith(b"/conmon") and f"{folder}/storage".encode() in words:
                os.kill(int(process.parent.name), signal.SIGKILL)
    # Podman keeps its storage mounted on itself.
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    for mounted in reversed([line.split()[1] for line in mounts.splitlines()]):
        if Path(mounted).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", mounted])
    shutil.rmtree(folder, ignore_errors=True)


def make_images(folder: Path) -> None:
    """Import the stand-ins. Raises EngineError."""
    python = python_tree()
    archive = folder / "root.tar"
    with Root(archive) as root:
        root.packages(essential_packages())
        root.python(python)
        root.trust()
    environment = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
    podman(
        *(folder, "import", "--change", environment, "--change", 'CMD ["python3"]'),
        *(str(archive), f"localhost/{PYTHON_IMAGE}"),
    )
    archive.unlink()
    if shutil.which("nginx"):
        with Root(archive) as root:
            root.packages(["base-files", "dash", "coreutils", *installed("nginx")])
            users = {"root": 0, "nginx": 101, "nobody": 65534}
            passwd = [
                f"{user}:x:{number}:{number}::/:/bin/sh\n" for user, number in users.items()
            ]
            group = [
                f"{user}:x:{number}:\n" for user, number in [*users.items(), ("nogroup", 65534)]
            ]
            root.text("etc/passwd", "".join(passwd))
            root.text("etc/group", "".join(group))
            for name in ("log", "lib"):
                root.folder(f"var/{name}/nginx")
        command = 'CMD ["nginx", "-g", "daemon off;"]'
        podman(
            *(folder, "import", "--change", environment, "--change", command),
            *(str(archive), f"localhost/{NGINX_IMAGE}"),
        )
        archive.unlink()


def essential_packages() -> list[str]:
    """What every Debian has, what makes users, and what compiled packages lean on."""
    listed = output("dpkg-query", "-W", "-f", "${Essential} ${Package}\n")
    essential = [line[4:] for line in listed.splitlines() if line.startswith("yes ")]
    return [*essential, "passwd", "libc6", "libgcc-s1", "libstdc++6"]


def installed(prefix: str) -> list[str]:
    """The installed packages whose names begin so."""
    listed = output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", f"{prefix}*")
    return [line.split()[1] for line in listed.splitlines() if line.startswith("installed ")]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def python_tree() -> Path:
    """The folder of an installed CPython 3.12, else of the one that runs this.

    Debian's own will not do: it is spread over /usr. Raises EngineError.
    """
    found = [
        *sorted(Path.home().glob(".pyenv/versions/3.12.*")),
        *sorted(Path.home().glob(".local/share/uv/python/cpython-3.12.*")),
        Path(sys.base_prefix),
    ]
    for tree in found:
        if tree != Path("/usr") and list(tree.glob("bin/python3.1?")):
            return tree
    raise EngineError("no CPython in a folder of its own: uv python install 3.12")


class Root:
    """A root file system as a tar archive, from files of this machine."""

    def __init__(self, archive: Path) -> None:
        self.tar = tarfile.open(archive, "w")  # noqa: SIM115
        self.seen: set[str] = set()
        self.programs: list[str] = []
        for name, target in LINKS.items():
            self.folder(target)
            self.link(name, target)
        for name in ("dev", "proc", "sys", "run", "root", "usr/local/bin"):
            self.folder(name)
        for name in ("tmp", "var/tmp"):
            self.folder(name, 0o1777)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.libraries()
        self.tar.close()

    def folder(self, name: str, mode: int = 0o755) -> None:
        if name in self.seen:
            return
        if parent := os.path.dirname(name):  # noqa: PTH120
            self.folder(parent)
        self.seen.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        self.seen.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self.tar.addfile(entry)

    def text(self, name: str, text: str, mode: int = 0o644) -> None:
        self.seen.add(name)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), mode
        self.tar.addfile(entry, io.BytesIO(text.encode()))

    def file(self, path: Path, name: str | None = None) -> None:
        """One file or link, under the name that /bin, /lib and so on lead to."""
        name = name or str(path.parent.resolve() / path.name).lstrip("/")
        if name in self.seen or name.startswith(LEFT_OUT):
            return
        self.folder(str(Path(name).parent))
        self.seen.add(name)
        entry = self.tar.gettarinfo(path, name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        if not entry.isreg():
            self.tar.addfile(entry)
            return
        # A hard link in this machine's tree may lead to a file that is left out.
        entry.type = tarfile.REGTYPE
        with path.open("rb") as data:
            if data.read(4) == b"\x7fELF":
                self.programs.append(str(path))
            data.seek(0)
            self.tar.addfile(entry, data)

    def packages(self, names: Iterable[str]) -> None:
        """All files of installed packages."""
        for line in output("dpkg", "-L", *names).splitlines():
            path = Path(line)
            if line.startswith("/") and (path.is_symlink() or path.is_file()):
                self.file(path)
        for name in ("passwd", "group"):
            master = Path(f"/usr/share/base-passwd/{name}.master")
            if f"usr/share/base-passwd/{name}.master" in self.seen:
                self.file(master, f"etc/{name}")

    def libraries(self) -> None:
        """The shared libraries of everything so far: what `ldd` finds here."""
        found = re.findall(r"(?:=> |^\t)(/\S+) \(", output("ldd", *self.programs), re.M)
        for path in map(Path, dict.fromkeys(found)):
            if "libpython" in path.name:
                self.file(path, f"usr/lib/{path.name}")  # where it is found without a cache
                continue
            self.file(path)
            if path.is_symlink():
                self.file(path.resolve())

    def python(self, tree: Path) -> None:
        """A CPython in /usr/local, with pip and without tests."""
        library = next(tree.glob("lib/python3.1?"))
        for folder, folders, files in os.walk(library):
            here = Path(folder)
            within = here.relative_to(library)
            if within == Path("site-packages"):
                folders[:] = [name for name in folders if name.startswith("pip")]
                files = []
            folders[:] = [name for name in folders if name not in NOT_IN_PYTHON]
            folders[:] = [name for name in folders if not name.startswith("config-")]
            for name in files:
                if ".opt-" not in name:
                    self.file(here / name, f"usr/local/lib/{library.name}/{within / name}")
        self.file((tree / "bin" / library.name).resolve(), f"usr/local/bin/{library.name}")
        for name in ("python", "python3"):
            self.link(f"usr/local/bin/{name}", library.name)
        script = (
            "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\n"
        )
        for name in ("pip", "pip3"):
            self.text(f"usr/local/bin/{name}", f"{script}sys.exit(main())\n", 0o755)

    def trust(self) -> None:
        """The certificates and the index that pip uses here: behind some proxies, its own."""
        settings = ["[global]", "disable-pip-version-check = true"]
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        certificates = next((os.environ[name] for name in names if os.environ.get(name)), None)
        configured = output(sys.executable, "-m", "pip", "config", "list")
        for name, value in re.findall(r"^[\w:.]*\.([\w-]+)='(.*)'$", configured, re.M):
            if name == "cert":
                certificates = certificates or value
            elif name == "index-url":
                settings.append(f"index-url = {value}")
        if certificates and Path(certificates).is_file():
            self.file(Path(certificates).resolve(), certificates.lstrip("/"))
            settings.append(f"cert = {certificates}")
        self.text("etc/pip.conf", "\n".join(settings) + "\n")


def main() -> int:
    match sys.argv[1:]:
        case ["start", folder]:
            try:
                print(f"DOCKER_HOST={start(Path(folder).resolve())}")
            except EngineError as error:
                print(error, file=sys.stderr)
                return 1
        case ["stop", folder]:
            stop(Path(folder).resolve())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
