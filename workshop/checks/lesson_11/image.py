"""TODO 1 and 2: the Dockerfile. It is read and, if that finds no fault, built and run."""

from __future__ import annotations

import re

from workshop.checks.lesson_11.box import Tried, engine, tried
from workshop.checks.lesson_11.dockerfile import Command, Image, Line, read
from workshop.checks.lesson_11.opening import COURSE, DOCKERFILE, NO_TEXT, suite
from workshop.checks.lesson_11.texts import Texts
from workshop.failed import Failed
from workshop.patience import stretched

LABEL = "Dockerfile"
PORT = "8081"
SOON_STOPPED = stretched(5)  # seconds; the engine itself needs some of them


def image_of(texts: Texts) -> Image:
    return read(texts.text("dockerfile"))


def wrong(hint: str, line: Line | None, wanted: str, at: str = "") -> Failed:
    """The failure that shows a line, with a caret under `at` in it."""
    if line is None:
        return Failed(hint, wanted=f"{wanted}, in the Dockerfile")
    place = line.content.encode().find(at.encode()) if at else 0
    return Failed(hint, received=line.content, at=max(place, 0), wanted=wanted, label=LABEL)


@suite.check(
    "dockerfile",
    "The Dockerfile can be read",
    todo=1,
    read="An image",
    rule=DOCKERFILE,
    why="The build stops at the first line that is not an instruction.",
    hints={
        "no-text": NO_TEXT,
        "no-instruction": "Each line begins with an instruction, such as RUN or USER, unless "
        "the line above it ends with a backslash. The first one is FROM.",
    },
)
def dockerfile(texts: Texts) -> None:
    texts.text("dockerfile")
    try:
        image_of(texts)
    except ValueError as error:
        raise Failed(
            "no-instruction", received=str(error), at=0, wanted="an instruction", label=LABEL
        ) from None


@suite.check(
    "user",
    "The server runs as a user that is not root, with the number 1000",
    todo=1,
    after=("dockerfile",),
    read="An image",
    rule=f"{DOCKERFILE}: USER",
    why="A fault in the server, or a model that was talked into something, has all the rights "
    "of this user. Root in a container is one step away from root on the machine.",
    hints={
        "root": "Without USER, everything in the container runs as root.",
        "no-such-user": "USER does not create the user: the container would not start.",
        "other-number": "The number matters: files in a mounted folder belong to numbers, not "
        "to names. On most Linux machines, 1000 is the first user.",
    },
)
def user(texts: Texts) -> None:
    image = image_of(texts)
    number = image.number_of(image.user)
    if number == 0:
        raise wrong("root", image.user_line, "USER 1000, above CMD")
    if number is None:
        made = f"a RUN above it that makes the user {image.user!r}"
        raise wrong("no-such-user", image.user_line, made, image.user)
    if number != 1000:
        raise wrong("other-number", image.user_line, "a user with the number 1000", image.user)


@suite.check(
    "workspace",
    "This user may write in /workspace",
    todo=1,
    after=("user",),
    read="An image",
    rule=f"{DOCKERFILE}: USER",
    why="The build succeeds, but then every tool that writes a file fails.",
    hints={
        "not-its-own": "Who owns /workspace? What RUN creates belongs to the user who runs it.",
        "too-late": "After USER, each RUN runs as that user. Only root can create users, "
        "change the owners of files, and create a folder in /.",
    },
)
def workspace(texts: Texts) -> None:
    image = image_of(texts)
    if image.not_allowed:
        raise wrong("too-late", image.not_allowed[0], "this line above USER")
    owner = image.owners.get("/workspace", "root")
    if "/workspace" in image.open_to_all:
        return
    if image.number_of(owner) != image.number_of(image.user):
        made = next(
            (one for one in image.lines if re.search("mkdir|WORKDIR", one.content)), None
        )
        raise wrong("not-its-own", made, f"/workspace belongs to {image.user}", "/workspace")


@suite.check(
    "signals",
    "The signal of `docker stop` reaches Python",
    todo=2,
    after=("dockerfile",),
    read="An image",
    rule=f"{DOCKERFILE}: shell and exec form",
    why="`docker stop` waits ten seconds and then kills the container. Each deployment takes "
    "that long, every stream breaks off, and the exit status is 137.",
    hints={
        "shell-form": "A string after CMD is given to /bin/sh, which does not pass signals on. "
        "In the exec form, a list, there is no shell.",
        "not-a-list": "The list must be JSON: double quotes, and commas. Anything else is a "
        "string for the shell, brackets included.",
        "one-word": "The first word of the list is the program. No program here has spaces in "
        "its name.",
        "no-command": "Nothing says what to run.",
        "other-signal": "The server ends properly on SIGTERM. SIGKILL can't be handled at all.",
    },
)
def signals(texts: Texts) -> None:
    image = image_of(texts)
    command = image.command()
    wanted = 'CMD ["python", …]'
    if not command.words:
        raise wrong("no-command", command.line, wanted)
    if command.line is not None and command.shell and command.line.value.startswith("["):
        raise wrong("not-a-list", command.line, wanted, "[")
    if _in_a_shell(command):
        raise wrong("shell-form", command.line, wanted, command.words[0])
    if " " in command.words[0]:
        raise wrong("one-word", command.line, "each word in quotes of its own", '"')
    stop = image.last("STOPSIGNAL")
    if stop and not re.fullmatch(r"(SIG)?(TERM|INT)|15|2", stop.value.strip(), re.IGNORECASE):
        raise wrong("other-signal", stop, "SIGTERM, the default", stop.value)


def _in_a_shell(command: Command) -> bool:
    """Whether a shell stays between the engine and the program."""
    words = command.words
    if command.shell:
        return words[0] != "exec"
    shell = words[0].rpartition("/")[2] in ("sh", "bash", "dash")
    return shell and "-c" in words and not words[-1].startswith("exec ")


@suite.check(
    "listens",
    "Inside the container, the server listens on all addresses, port 8081",
    todo=2,
    after=("dockerfile",),
    read="An image",
    rule="Docker manual, port publishing and mapping",
    why="The container runs, its log says that the server is listening, but every client gets "
    "`connection reset` or an empty reply.",
    hints={
        "inside-only": "127.0.0.1 in a container is the container itself: what `docker run -p` "
        "passes on arrives at another address. Which --host means all addresses?",
        "other-port": "The other files pass requests on to port 8081.",
    },
)
def listens(texts: Texts) -> None:
    image = image_of(texts)
    command = image.command()
    if not command.words:
        return  # which is what `signals` is about
    # Even if the list is not JSON, or the command is a string for a shell.
    words = re.findall(r"[^\s\"',\[\]]+", " ".join(command.words))
    host = _option(words, "--host") or "127.0.0.1"
    if host not in ("0.0.0.0", "::"):
        at = host if "--host" in words else ""
        raise wrong("inside-only", command.line, "--host 0.0.0.0", at)
    port = _option(words, "--port") or image.environment.get("PORT", PORT)
    if port != PORT:
        raise wrong("other-port", command.line, f"port {PORT}, the server's default", port)


def _option(words: list[str], name: str) -> str:
    for number, word in enumerate(words):
        if word == name:
            return "".join(words[number + 1 : number + 2])
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


@suite.check(
    "container",
    "The image can be built, and has in it what it starts",
    todo=2,
    after=("user", "workspace", "signals", "listens"),
    read="When a container fails",
    rule=COURSE,
    why="Nobody can run an image that can't be built, or that ends as soon as it starts.",
    hints={
        "not-built": "The build stops here. The folder has the server's Python files, "
        "requirements.txt, and one folder: `workspace`.",
        "does-not-work": "Try it by hand: `docker logs` shows what the container printed, and "
        "`docker ps -a` shows how it ended.",
    },
)
def container(texts: Texts) -> None:
    image = image_of(texts)
    for line in image.lines:
        for source in _copied(line):
            if not re.fullmatch(r"(\./)?(\.|\*|\*\.py|\w+\.py|requirements\.txt)?", source):
                wanted = "a file that is in the folder"
                failed = wrong("not-built", line, wanted, source)
                failed.todo = 1
                raise failed
    command = image.command()
    scripts = [word for word in command.words if word.endswith(".py")]
    if scripts and scripts[0].rpartition("/")[2] != "terminal_server.py":
        raise wrong("does-not-work", command.line, "terminal_server.py", scripts[0])
    if engine():
        _compare(tried(texts.text("dockerfile")))


def _copied(line: Line) -> list[str]:
    """What a COPY takes from the folder."""
    words = line.value.split()
    if line.name not in ("COPY", "ADD") or words[0].startswith(("--from", "<<", "[")):
        return []
    return [word for word in words[:-1] if not word.startswith("--")]


def _compare(found: Tried) -> None:
    """Compare what the engine shows with what the Dockerfile promises. Raises Failed."""
    sent = "docker build"
    if found.built:
        raise Failed(
            "not-built",
            sent=sent,
            received=found.built,
            wanted="an image",
            label="Printed",
            todo=1,
        )
    shown = [
        ("id -u", found.user, "1000", found.user == "1000"),
        ("touch /workspace/…", "an error", "a new file", found.writes),
        (
            "GET /sse",
            found.answer or found.log,
            "the endpoint event",
            b"endpoint" in found.answer,
        ),
        (
            "docker stop",
            f"status {found.status} after {found.seconds:.1f} s",
            f"status 0 within {SOON_STOPPED} s",
            found.status == 0 and found.seconds < SOON_STOPPED,
        ),
    ]
    for asked, got, wanted, right in shown:
        if not right:
            raise Failed(
                "does-not-work", sent=asked, received=got, wanted=wanted, label="Printed"
            )


@suite.check(
    "healthcheck",
    "What a HEALTHCHECK runs is in the image",
    after=("dockerfile",),
    read="An image",
    rule=f"{DOCKERFILE}: HEALTHCHECK",
    why="The server works, but the engine says `unhealthy`. What waits for it waits forever.",
    hints={"no-curl": "A slim image has neither curl nor wget. Python can ask just as well."},
)
def healthcheck(texts: Texts) -> None:
    image = image_of(texts)
    line = image.last("HEALTHCHECK")
    tool = re.search(r"\b(curl|wget)\b", line.value) if line else None
    if line and tool:
        installs = r"\b(apt-get|apt|apk)\b.*\b" + tool[0]
        if not any(re.search(installs, one.value) for one in image.lines if one.name == "RUN"):
            raise wrong("no-curl", line, "a check in Python, or none", tool[0])
