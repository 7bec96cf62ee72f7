"""What a `docker run` line asks for."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from typing import NoReturn

FLAGS = (
    *("--rm", "-d --detach", "-i --interactive", "-t --tty", "--init", "--privileged"),
    *("--read-only", "-P --publish-all", "--no-healthcheck", "--oom-kill-disable"),
    *("--sig-proxy", "-q --quiet"),
)
WITH_VALUE = (
    *("-p --publish", "-v --volume", "--mount", "--name", "-u --user", "-e --env"),
    *("--env-file", "--network --net", "--cap-drop", "--cap-add", "--security-opt"),
    *("-m --memory", "--memory-swap", "--memory-reservation", "--cpus", "-c --cpu-shares"),
    *("--pids-limit", "--tmpfs", "-w --workdir", "--restart", "--entrypoint", "--add-host"),
    *("--stop-timeout", "--stop-signal", "-h --hostname", "-l --label", "--log-driver"),
    *("--log-opt", "--ulimit", "--pull", "--platform", "--shm-size", "--gpus", "--device"),
    *("--dns", "--expose", "--cidfile", "--userns", "--ipc", "--pid", "--cgroupns"),
    *("--health-cmd", "--health-interval", "--health-retries", "--health-timeout"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@dataclass(frozen=True)
class Mount:
    """One -v or --mount: `source` is empty for a single path."""

    source: str
    target: str
    said: str


@dataclass(frozen=True)
class Port:
    """One -p: `address` is empty if it has none."""

    address: str
    outside: str
    inside: str
    said: str


@dataclass(frozen=True)
class Run:
    """A `docker run` line, parsed."""

    line: str
    options: dict[str, list[str]]  # by their long names; a flag has one empty value
    image: str
    arguments: list[str]  # what comes after the image: the container's command

    def mounts(self) -> list[Mount]:
        found = []
        for said in self.options["volume"]:
            parts = said.split(":")
            source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
            found.append(Mount(source, target.rstrip("/"), said))
        for said in self.options["mount"]:
            parts = [part.partition("=") for part in said.split(",")]
            keys = {name: value for name, _, value in parts}
            target = keys.get("target") or keys.get("dst") or keys.get("destination") or ""
            source = keys.get("source") or keys.get("src") or ""
            found.append(Mount(source, target.rstrip("/"), said))
        return found

    def ports(self) -> list[Port]:
        """The published ports. Raises ValueError with what can't be read."""
        found = []
        for said in self.options["publish"]:
            form = re.fullmatch(r"(?:([\w.]*|\[[\da-f:]+\]):)?(\d*):(\d+)(?:/tcp)?", said)
            alone = re.fullmatch(r"(\d+)(?:/tcp)?", said)
            if form is None and alone is None:
                raise ValueError(said)
            address, outside, inside = form.groups() if form else ("", "", alone and alone[1])
            found.append(Port(address or "", outside or "", inside or "", said))
        return found


def read(text: str) -> Run:
    """The line with `docker run` in a shell script. Raises ValueError."""
    lines = re.sub(r"\\\n", " ", "\n".join(map(str.rstrip, _without_comments(text)))).split(
        "\n"
    )
    for line in lines:
        words = shlex.split(line)
        for at in range(len(words) - 1):
            if words[at] in ("docker", "podman") and words[at + 1] == "run":
                return _taken_apart(" ".join(line.split()), words[at + 2 :])
    raise ValueError("")


def _without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def _taken_apart(line: str, words: list[str]) -> Run:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for names in FLAGS:
        parser.add_argument(*names.split(), action="append_const", const="", default=[])
    for names in WITH_VALUE:
        parser.add_argument(*names.split(), action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = vars(
        parser.parse_args([re.sub("^(--[a-z-]+)=true$", r"\1", word) for word in words])
    )
    image, arguments = given.pop("image"), given.pop("arguments")
    return Run(line, given, image, arguments)
