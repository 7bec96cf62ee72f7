"""What a person has approved: a hash of each tool, kept in a JSON file.

A tool is what its server says about it. If the server says something else the next day, that is
another tool, and the agent does not get it until a person has approved it again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_types import Tool

# Asks about a tool. It gets the name, the definition that was approved ("" if the tool is new),
# and the definition now.
Approve = Callable[[str, str, str], bool]

# Python counts these as printable, and yet nothing is seen of them. A model can read what a row
# of variation selectors spells, and write one.
BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


class PinsError(Exception):
    """The file cannot be used. The text says why."""


class Pins:
    """The approved tools. A person is asked about every other one."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._pins = read(file)
        self._refused = set[str]()  # an agent asks for the tools before each of its steps

    def allow(self, server: str, tool: Tool, approve: Approve) -> bool:
        """Whether a person has approved the tool as it is, or approves it now."""
        now = fingerprint(server, tool)
        pin = self._pins.get(server, {}).get(tool.name, {"sha256": "", "definition": ""})
        if pin["sha256"] == now:
            return True
        if now in self._refused:
            return False
        if not approve(visible(f"{server}: {tool.name}"), pin["definition"], definition(tool)):
            self._refused.add(now)
            return False
        approved = {"sha256": now, "definition": definition(tool)}
        self._pins.setdefault(server, {})[tool.name] = approved
        return True

    def save(self) -> None:
        """Keep what is approved for the next program. Raises PinsError."""
        try:
            self.file.write_text(json.dumps(self._pins, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise PinsError(f"{self.file} cannot be written: {error.strerror}") from None


def fingerprint(server: str, tool: Tool) -> str:
    """A hash of everything that the server says about the tool.

    The description is not enough: if there is none, openai-agents shows the title to the model.
    Models also read argument names and the descriptions in a schema.
    """
    said = {"server": server, **tool.model_dump(mode="json", by_alias=True, exclude_none=True)}
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def definition(tool: Tool) -> str:
    """The same for a person to read: the description, then one line for each other field."""
    said = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    lines = str(said.pop("description", "")).splitlines() + fields("", said)
    return "\n".join(visible(line.strip()) for line in lines if line.strip())


def fields(path: str, said: Any) -> list[str]:
    """`inputSchema.properties.city.type: "string"`, and a line like that for each field."""
    if isinstance(said, dict) and said:
        return [line for key in sorted(said) for line in fields(f"{path}.{key}", said[key])]
    return [f"{path.removeprefix('.')}: {json.dumps(said)}"]


def visible(text: str) -> str:
    """The text with escapes in place of what a terminal would hide, or obey."""
    return "".join(
        char
        if char.isprintable() and not BLANK.match(char)
        else char.encode("unicode_escape").decode()
        for char in text
    )


def changes(before: str, now: str) -> str:
    """What is new, line by line: `+` is new, `-` is gone."""
    lines = difflib.ndiff(before.splitlines(), now.splitlines())
    return "\n".join(line for line in lines if line[0] in "+-")


def read(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The pins in the file: none if there is no file. Raises PinsError."""
    try:
        pins: Any = json.loads(file.read_text(encoding="utf-8"))
        for tools in pins.values():
            for pin in tools.values():
                if not (isinstance(pin["sha256"], str) and isinstance(pin["definition"], str)):
                    raise TypeError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Starting with an empty file would hide that somebody has changed it.
        raise PinsError(
            f"{file} is not a file of pins. Delete it to approve all again."
        ) from None
    return pins
