"""Attacks servers, clients and agents, and says what came of it.

    uv run scripts/09_security/attack.py
    uv run scripts/09_security/attack.py guessed_id
    uv run scripts/09_security/attack.py all --url http://127.0.0.1:8019 --tokens ALICE MALLORY

Without --url it starts what it attacks: all that is open, and all that is secured. Attack
nothing that is not yours.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
from attacks.finding import Finding
from attacks.lab import LabError, started
from attacks.target import NotTried, Refused, Server
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent

# In the order of the lesson.
ATTACKS = [
    name
    for name in [
        "anonymous",
        "timing",
        "guessed_id",
        "logged_id",
        "stolen_stream",
        "crossed_replies",
        "secrets_in_logs",
        "rebinding",
        "rebinding_page",
        "foreign_origin",
        "cross_site_post",
        "field_injection",
        "endless_body",
        "slow_head",
        "slow_body",
        "slow_reader",
        "hoarded_sessions",
        "many_streams",
        "flood",
        "endless_event",
        "foreign_endpoint",
        "path_escape",
        "second_command",
        "poisoned_description",
        "rug_pull",
        "shadowing",
        "hidden_instruction",
    ]
    if (HERE / "attacks" / f"{name}.py").is_file()  # until all are written
]
OPEN, SECURE = "open", "secure"


def load(name: str) -> ModuleType:
    return importlib.import_module(f"attacks.{name}")


async def result_of(attack: ModuleType, target: Any) -> Finding | str:
    """What came of an attack, or why it was not tried."""
    try:
        return await attack.attack(target)
    except NotTried as reason:
        return str(reason)
    except (Refused, TimeoutError, httpx2.HTTPError, OSError) as error:
        # What an attack expects of any server did not happen: it proves nothing either way.
        return f"broke off: {type(error).__name__} {error}".strip()


class Report:
    """The findings, by attack and by what was attacked."""

    def __init__(self) -> None:
        self.findings: dict[str, dict[str, Finding | str]] = {}

    def add(self, attack: str, target: str, finding: Finding | str) -> None:
        self.findings.setdefault(attack, {})[target] = finding

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "attack": attack,
                "case": load(attack).CASE,
                **{
                    target: {"succeeded": finding.succeeded, "evidence": finding.evidence}
                    if isinstance(finding, Finding)
                    else {"not_tried": finding}
                    for target, finding in found.items()
                },
            }
            for attack, found in self.findings.items()
        ]

    def as_table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        targets = list(next(iter(self.findings.values())))
        for heading in ("Attack", *targets, "The published case"):
            table.add_column(heading)
        for attack, found in self.findings.items():
            table.add_row(
                attack, *(in_a_word(found[target]) for target in targets), load(attack).CASE
            )
        return table


def in_a_word(finding: Finding | str) -> str:
    if isinstance(finding, str):
        return "not tried"
    return "[red]succeeds[/]" if finding.succeeded else "[green]fails[/]"


async def attack_both(
    names: list[str], told: Callable[[str, str, Finding | str], None]
) -> None:
    with ExitStack() as stack:
        share_a_server = [
            name for name in names if load(name).AGAINST == "server" and not alone(name)
        ]
        servers: dict[str, Callable[[str], Server]] = {}
        if share_a_server:
            for target in (OPEN, SECURE):
                program = HERE / f"{target}_server.py"
                servers[target] = stack.enter_context(started(program, share_a_server))
        for name in names:
            for target in (OPEN, SECURE):
                with victim(name, target, servers) as attacked:
                    told(name, target, await result_of(load(name), attacked))


def alone(name: str) -> bool:
    """Whether an attack wants a server of its own: it then says why."""
    return getattr(load(name), "ALONE", False)


@contextmanager
def victim(
    name: str, target: str, servers: Mapping[str, Callable[[str], Server]]
) -> Iterator[Server | Path]:
    """What an attack is aimed at: the open one or the secure one."""
    if load(name).AGAINST == "client":
        yield HERE / f"{target}_client.py"  # the attack starts it
    elif alone(name):
        with started(HERE / f"{target}_server.py", [name]) as server_for:
            yield server_for(name)
    else:
        yield servers[target](name)


async def attack_url(
    names: list[str],
    url: str,
    tokens: list[str],
    told: Callable[[str, str, Finding | str], None],
) -> None:
    for name in names:
        server = Server(url.rstrip("/").removesuffix("/sse"), tokens[0], tokens[1])
        told(name, url, await result_of(load(name), server))


def main() -> None:
    parser = argparse.ArgumentParser(description="Attack servers, clients and agents.")
    parser.add_argument("name", nargs="?", default="all", help="an attack, or all of them")
    parser.add_argument("--url", help="attack this server instead. It must be yours")
    parser.add_argument(
        "--tokens",
        nargs=2,
        default=["", ""],
        metavar=("ALICE", "MALLORY"),
        help="for --url: tokens of two of its users. The second one attacks the first",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    chosen = parser.parse_args()
    if chosen.name != "all" and chosen.name not in ATTACKS:
        parser.error(f"no attack is called {chosen.name!r}. There are: {', '.join(ATTACKS)}")
    names = ATTACKS if chosen.name == "all" else [chosen.name]
    if chosen.url:
        names = [name for name in names if load(name).AGAINST == "server"]
        if not names:
            parser.error(f"{chosen.name} is not aimed at servers")

    report = Report()

    def told(name: str, target: str, finding: Finding | str) -> None:
        report.add(name, target, finding)
        if chosen.json:
            return
        print(f"{name}, {target}: {finding}")

    try:
        if chosen.url:
            asyncio.run(attack_url(names, chosen.url, chosen.tokens, told))
        else:
            asyncio.run(attack_both(names, told))
    except LabError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if chosen.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        Console().print(report.as_table())


if __name__ == "__main__":
    main()
