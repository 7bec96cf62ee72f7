"""TODO 3: the command that runs the image."""

from __future__ import annotations

from workshop.checks.lesson_11.docker_run import Run, read
from workshop.checks.lesson_11.opening import COURSE, HOME, NO_TEXT, RUN, suite
from workshop.checks.lesson_11.texts import Texts
from workshop.failed import Failed

IMAGE = "terminal_server_sse"


def run_of(texts: Texts) -> Run:
    return read(texts.text("run_command"))


def wrong(hint: str, run: Run, wanted: str, at: str) -> Failed:
    """The failure that shows the line, with a caret under `at` in it."""
    place = run.line.encode().find(at.encode()) if at else len(run.line.encode())
    return Failed(hint, received=run.line, at=max(place, 0), wanted=wanted, label="run.sh")


@suite.check(
    "run-line",
    "run.sh has a `docker run` for the image terminal_server_sse",
    todo=3,
    read="Run the container",
    rule=RUN,
    why="An option after the image goes to the program in the container, and the engine does "
    "not see it.",
    hints={
        "no-text": NO_TEXT,
        "not-read": "docker can't read this line. A line that continues ends with a "
        "backslash, and nothing comes after it.",
        "other-image": "The image has the name that `docker build -t` gave it.",
        "after-the-image": "The order is: docker run, options, image. What comes after the "
        "image is the command in the container.",
    },
)
def run_line(texts: Texts) -> None:
    text = texts.text("run_command")
    try:
        run = run_of(texts)
    except ValueError as error:
        line = next((one for one in text.splitlines() if " run " in one), text)
        said = f"docker run [OPTIONS] {IMAGE}" + (f" ({error})" if str(error) else "")
        raise Failed("not-read", received=line, wanted=said, label="run.sh") from None
    if run.arguments and run.arguments[0].startswith("-"):
        raise wrong("after-the-image", run, f"{IMAGE} after all options", run.arguments[0])
    if run.image.removesuffix(":latest") != IMAGE:
        raise wrong("other-image", run, IMAGE, run.image)


@suite.check(
    "published",
    "Only this machine can reach the server",
    todo=3,
    after=("run-line",),
    read="Run the container",
    rule=f"{RUN}: --publish",
    why="Without an address, a port is published on all of them: anyone on the same network "
    "can run commands. A firewall on the machine often does not stop that.",
    hints={
        "everybody": "A port can be published on one address: ADDRESS:PORT:PORT.",
        "not-published": "Nothing is published, so nobody can reach the server, not even you.",
        "not-read": "Write ADDRESS:PORT:PORT, outside first. The last port is the container's.",
        "other-port": "The first port is the one on your machine, the second the one that the "
        "server listens on. Both are 8081.",
    },
)
def published(texts: Texts) -> None:
    run = run_of(texts)
    wanted = "-p with the address 127.0.0.1, and port 8081 inside and outside"
    try:
        ports = run.ports()
    except ValueError as error:
        raise wrong("not-read", run, wanted, str(error)) from None
    if run.options["publish_all"]:
        raise wrong("everybody", run, wanted, "-P")
    if not ports and not run.options["network"]:
        raise wrong("not-published", run, wanted, run.image)
    for port in ports:
        if port.address not in HOME:
            raise wrong("everybody", run, wanted, port.said)
        if (port.outside, port.inside) != ("8081", "8081"):
            raise wrong("other-port", run, wanted, port.said)


@suite.check(
    "mounted",
    "/workspace is the folder `workspace` on your machine",
    todo=3,
    after=("run-line",),
    read="Run the container",
    rule=f"{RUN}: --volume",
    why="The model says that it has written the file, but nothing appears in your folder. With "
    "--rm, the file is gone when the container ends.",
    hints={
        "alone": "A single path after -v is a path in the container. A mount has two: the one "
        "on your machine, a colon, and the one in the container.",
        "a-volume": "A name without a slash is a volume, which the engine keeps somewhere. "
        "To mount a folder of yours, give its path.",
        "whole-folder": "The model's commands could change everything in this folder, run.sh "
        "included. Mount only the folder `workspace` in it.",
        "other-target": "The server's folder in the container is /workspace.",
    },
)
def mounted(texts: Texts) -> None:
    run = run_of(texts)
    mounts = run.mounts()
    wanted = "-v with the folder on your machine, and /workspace"
    for mount in mounts:
        if not mount.source:
            raise wrong("alone", run, wanted, mount.said)
    here = next((mount for mount in mounts if mount.target == "/workspace"), None)
    if here is None:
        raise wrong("other-target", run, wanted, mounts[0].said if mounts else run.image)
    if here.source[0] not in "/.~$":
        raise wrong("a-volume", run, wanted, here.said)
    if not here.source.rstrip("/").endswith("/workspace"):
        raise wrong("whole-folder", run, wanted, here.said)


@suite.check(
    "walls",
    "The command keeps all the walls of the container",
    todo=3,
    after=("run-line",),
    read="Run the container",
    rule=COURSE,
    why="Each of these options makes an error go away, and the protection with it.",
    hints={
        "privileged": "--privileged and --cap-add give the container rights over your machine.",
        "as-root": "The image's user is the right one. If a folder is not writable, make that "
        "user its owner.",
        "host-network": "On your machine's network, the server can reach all that listens on "
        "your 127.0.0.1.",
    },
)
def walls(texts: Texts) -> None:
    run = run_of(texts)
    if run.options["privileged"] or run.options["cap_add"]:
        given = "--privileged" if run.options["privileged"] else "--cap-add"
        raise wrong("privileged", run, "the command without it", given)
    for user in run.options["user"]:
        if user.split(":")[0] in ("0", "root"):
            raise wrong("as-root", run, "the command without it", user)
    if "host" in run.options["network"]:
        raise wrong("host-network", run, "-p in place of it", "host")
