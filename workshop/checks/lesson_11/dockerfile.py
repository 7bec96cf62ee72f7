"""What a Dockerfile makes: the user, who may write in a folder, and the command."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import dataclass, field
from string import Template
from typing import IO, cast

from dockerfile_parse import DockerfileParser

INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
    *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
    *("WORKDIR", "COMMENT"),
}
# The users that a Debian image already has, and their numbers.
GIVEN = {"root": 0, "daemon": 1, "bin": 2, "www-data": 33, "nobody": 65534}
SYSTEM_USER = 999  # the number that useradd --system gives first

_WITH_VALUE = {
    *("-u", "--uid", "-g", "--gid", "-G", "--groups", "-d", "--home-dir", "--home", "-s"),
    *("--shell", "-c", "--comment", "--gecos", "-b", "--base-dir", "-k", "--ingroup"),
}


@dataclass(frozen=True)
class Line:
    """One instruction, with the line that it begins on, counted from 0."""

    name: str
    value: str
    number: int
    content: str


@dataclass
class Command:
    """What the container runs: words, or a string for a shell."""

    words: list[str]
    shell: bool
    line: Line | None


@dataclass
class Image:
    """The last stage of a Dockerfile."""

    lines: list[Line]
    user: str = "root"
    user_line: Line | None = None
    numbers: dict[str, int] = field(default_factory=lambda: dict(GIVEN))
    owners: dict[str, str] = field(default_factory=dict)  # of folders, once they are made
    open_to_all: set[str] = field(default_factory=set)
    not_allowed: list[Line] = field(
        default_factory=list
    )  # these need root, but run as another user
    environment: dict[str, str] = field(default_factory=dict)

    def number_of(self, user: str) -> int | None:
        """The number of a user, by its name or number; None if there is no such user."""
        return int(user) if user.isdigit() else self.numbers.get(user)

    def last(self, name: str) -> Line | None:
        """The last instruction of this name: it is the one that counts."""
        return next((line for line in reversed(self.lines) if line.name == name), None)

    def command(self) -> Command:
        """ENTRYPOINT and CMD together."""
        entry, cmd = self.last("ENTRYPOINT"), self.last("CMD")
        if entry is None:
            return _command(cmd)
        found = _command(entry)
        if not found.shell and cmd is not None:
            found.words += _command(cmd).words
        return found


def read(text: str) -> Image:
    """Follow the Dockerfile. Raises ValueError with the line that is not an instruction."""
    # A RUN with a here-document (<<EOF) is several commands.
    text = re.sub(
        r"^(RUN\b.*?)<<-?([\"']?)(\w+)\2[^\n]*\n(.*?)\n\s*\3$",
        lambda found: found[1] + found[4].strip().replace("\n", " && "),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    parser = DockerfileParser(fileobj=cast(IO[str], io.BytesIO(text.encode())))  # of bytes
    lines = [
        Line(one["instruction"], one["value"], one["startline"], one["content"].rstrip("\n"))
        for one in parser.structure
        if one["instruction"] != "COMMENT"
    ]
    for line in lines:
        if line.name not in INSTRUCTIONS:
            raise ValueError(line.content)
    starts = [number for number, line in enumerate(lines) if line.name == "FROM"]
    if not starts:
        raise ValueError("")
    image = Image(lines[starts[-1] :])
    for line in image.lines:
        _follow(image, line)
    return image


def _follow(image: Image, line: Line) -> None:
    value = Template(line.value).safe_substitute(image.environment)
    if line.name == "USER":
        image.user, image.user_line = value.split(":")[0].strip().strip("\"'"), line
    elif line.name == "ENV":
        image.environment |= dict(re.findall(r"(\w+)=\"?([^\s\"]+)", value))
        if len(pair := value.split(maxsplit=1)) == 2 and "=" not in pair[0]:
            image.environment[pair[0]] = pair[1]
    elif line.name == "WORKDIR":
        image.owners.setdefault(_path(value), "root")
    elif line.name in ("COPY", "ADD"):
        if chown := re.match(r"--chown=([^\s:]+)", value):
            image.owners[_path(value.split()[-1])] = chown[1]
    elif line.name == "RUN":
        for words in _commands(value):
            _run(image, line, words)


def _run(image: Image, line: Line, words: list[str]) -> None:
    """One command of a RUN, if it is about users or folders."""
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name not in ("useradd", "adduser", "mkdir", "install", "chown", "chmod"):
        return
    paths = [_path(word) for word in rest if word.startswith("/")]
    at_root = image.number_of(image.user) == 0
    if not at_root and (name != "mkdir" or any(path.count("/") == 1 for path in paths)):
        image.not_allowed.append(line)
    elif name in ("useradd", "adduser"):
        _add_user(image, rest)
    elif name == "mkdir":
        for path in paths:
            image.owners.setdefault(path, image.user)
    elif name == "install":
        owner = _value(rest, "-o", "--owner") or "root"
        image.owners |= dict.fromkeys(paths, owner)
    elif name == "chown":
        owner = next((word for word in rest if not word.startswith(("-", "/"))), "root")
        image.owners |= dict.fromkeys(paths, owner.split(":")[0])
    elif any(
        re.fullmatch(r"[0-7]?[0-7]?[0-7][2367]|[ao]*\+?[rx]*w[rx]*", word) for word in rest
    ):
        image.open_to_all |= set(paths)


def _add_user(image: Image, words: list[str]) -> None:
    number = _value(words, "-u", "--uid")
    if number is None:
        system = {"-r", "--system", "-S"} & set(words)
        number = str(SYSTEM_USER if system else 1000)
    names = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and before not in _WITH_VALUE
    ]
    if names and number.isdigit():
        image.numbers[names[0]] = int(number)


def _value(words: list[str], *options: str) -> str | None:
    """The value of an option, which is the next word or joined to it."""
    for number, word in enumerate(words):
        name, joined, value = word.partition("=")
        if name in options:
            return value if joined else "".join(words[number + 1 : number + 2])
        if not word.startswith("--") and word[:2] in options and len(word) > 2:
            return word[2:]
    return None


def _command(line: Line | None) -> Command:
    if line is None:
        return Command([], shell=False, line=None)
    try:
        words = json.loads(line.value)
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return Command(list(words), shell=False, line=line)
    return Command(_words(line.value), shell=True, line=line)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return text.split()


def _commands(text: str) -> list[list[str]]:
    """The commands of a RUN, as lists of words: split at `&&`, `||`, `;` and `|`."""
    form = _command(Line("RUN", re.sub(r"^(--\S+\s+)+", "", text), 0, text))
    if not form.shell:
        return [form.words] if form.words else []
    lexer = shlex.shlex(
        form.line.value if form.line else "", posix=True, punctuation_chars=True
    )
    lexer.commenters = ""
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word and set(word) <= set("&|;()"):
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:
        pass
    return [words for words in commands if words]


def _path(text: str) -> str:
    return text.rstrip("/") or "/"
