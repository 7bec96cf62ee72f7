"""What an nginx.conf does with a request: where it goes, and which settings apply."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crossplane

Block = list[dict[str, Any]]  # directives: {"directive": …, "args": […], "block": […]}

SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadConfig(Exception):
    """nginx would refuse the file; `line` is counted from 1, 0 if none is to blame."""

    def __init__(self, said: str, line: int) -> None:
        super().__init__(said)
        self.line = line


@dataclass(frozen=True)
class Way:
    """The blocks that a request goes through, outermost first."""

    blocks: tuple[Block, ...]

    def setting(self, name: str) -> tuple[list[str], int] | None:
        """The arguments of a directive and its line: the innermost block that has it counts."""
        for block in reversed(self.blocks):
            for one in block:
                if one["directive"] == name:
                    return one["args"], one["line"]
        return None

    def headers(self) -> dict[str, tuple[str, int]]:
        """What proxy_set_header sets, by the lower-case name, and its line.

        A block that sets any header inherits none from the blocks around it.
        """
        for block in reversed(self.blocks):
            own = [one for one in block if one["directive"] == "proxy_set_header"]
            if own:
                return {one["args"][0].lower(): (one["args"][1], one["line"]) for one in own}
        return {}


def read(text: str) -> Block:
    """The directives of the file. The files that it includes are not read. Raises BadConfig."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nginx.conf"
        path.write_text(text, encoding="utf-8")
        # `strict` refuses unknown directives; crossplane does not know the newest.
        newest = ("http2", "http3")
        payload: Any = crossplane.parse(str(path), single=True, strict=True, ignore=newest)
    for error in payload["errors"]:
        said = error["error"].replace(str(path), "nginx.conf")
        raise BadConfig(re.sub(r" in \S+:\d+$", "", said), error["line"] or 0)
    return payload["config"][0]["parsed"]


def way(config: Block, path: str) -> Way | None:
    """The way of a request for `path` to a proxy_pass; None if it does not reach one."""
    for http in blocks(config, "http"):
        for server in blocks(http, "server"):
            inner = _inside(server, path)
            if any(one["directive"] == "proxy_pass" for one in inner[-1]):
                return Way((http, *inner))
    return None


def blocks(block: Block, name: str) -> list[Block]:
    return [one["block"] for one in block if one["directive"] == name]


def _inside(block: Block, path: str) -> tuple[Block, ...]:
    """The block, and the locations in it that match the path, as nginx chooses them."""
    locations = [one for one in block if one["directive"] == "location"]
    chosen = _location(locations, path)
    return (block,) if chosen is None else (block, *_inside(chosen["block"], path))


def _location(locations: Block, path: str) -> dict[str, Any] | None:
    """An exact one, else the first regular expression that matches, else the longest prefix."""
    prefixes: Block = []
    patterns: Block = []
    for one in locations:
        kind, value = one["args"] if len(one["args"]) == 2 else ("", one["args"][0])
        if kind == "=" and value == path:
            return one
        if kind in ("~", "~*"):
            try:
                if re.search(value, path, re.IGNORECASE if kind == "~*" else 0):
                    patterns.append(one)
            except re.error:
                pass
        elif kind in ("", "^~") and path.startswith(value):
            prefixes.append(one)
    best = max(prefixes, key=lambda one: len(one["args"][-1]), default=None)
    if best is not None and best["args"][0] == "^~":
        return best
    return patterns[0] if patterns else best


def seconds(text: str) -> float:
    """A time as nginx writes it, such as `90`, `1h` or `1h30m`; 0 if it is not one."""
    parts = re.findall(r"(\d+)(ms|[smhdw]?)", text)
    if "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        return 0
    return sum(int(number) * SECONDS[unit] for number, unit in parts)
