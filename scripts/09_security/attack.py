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
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
from attacks.finding import Finding
from attacks.lab import LabError, started
from attacks.target import NotTried, Refused, Server

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
        "jwt_wrong_algorithm",
        "jwt_wrong_audience",
        "jwt_expired",
        "jwt_wrong_key",
        "jwt_lying_kid",
        "token_for_another",
    ]
    if (HERE / "attacks" / f"{name}.py").is_file()  # until all are written
]
OPEN, SECURE = "open", "secure"

Findings = dict[str, Finding | NotTried]  # by what was attacked
Tell = Callable[[str, Findings], None]
ForAttack = Callable[[str], Server]  # a server, with an Alice and a Mallory for an attack


def load(name: str) -> ModuleType:
    return importlib.import_module(f"attacks.{name}")


async def result_of(name: str, target: Any) -> Finding | NotTried:
    """What came of an attack, or why nothing did."""
    try:
        return await load(name).attack(target)
    except NotTried as reason:
        return reason
    except (Refused, TimeoutError, httpx2.HTTPError, OSError) as error:
        # Something went wrong that the attack did not expect: it proves nothing either way.
        return NotTried(f"broke off: {type(error).__name__} {error}".strip())


def started_servers(stack: ExitStack, names: list[str]) -> dict[str, ForAttack]:
    """The open and the secure server, for those of the attacks that are aimed at servers."""
    attacks = [name for name in names if load(name).AGAINST == "server"]
    return {
        which: stack.enter_context(started(HERE / f"{which}_server.py", attacks))
        for which in ((OPEN, SECURE) if attacks else ())
    }


def target_of(name: str, which: str, servers: dict[str, ForAttack]) -> Any:
    """What this attack is aimed at, in its open or in its secure version."""
    match load(name).AGAINST:
        case "server":
            return servers[which](name)
        case "client":
            return HERE / f"{which}_client.py"
        case "agent":
            from agent import victims

            return victims.OPEN if which == OPEN else victims.SECURE
        case _:
            return load(name).OPEN if which == OPEN else load(name).SECURE


async def attack_both(names: list[str], tell: Tell) -> None:
    """Make each attack on what is open and on what is secure."""
    with ExitStack() as stack:
        servers = started_servers(stack, names)
        for name in names:
            tell(
                name,
                {
                    which: await result_of(name, target_of(name, which, servers))
                    for which in (OPEN, SECURE)
                },
            )


async def attack_url(names: list[str], url: str, tokens: list[str], tell: Tell) -> None:
    """Make each attack that is aimed at servers on this one."""
    server = Server(url.rstrip("/").removesuffix("/sse"), tokens[0], tokens[1])
    for name in names:
        tell(name, {url: await result_of(name, server)})


def word(name: str, finding: Finding | NotTried) -> str:
    if isinstance(finding, NotTried):
        return "not tried"
    if finding.succeeded:
        return "succeeds"
    return "fails" if getattr(load(name), "CLAIMED", True) else "not measured"


def evidence(finding: Finding | NotTried) -> str:
    return finding.evidence if isinstance(finding, Finding) else str(finding)


def show_row(name: str, findings: Findings) -> None:
    """One line of the table of all attacks."""
    words = "".join(f"{word(name, finding):14}" for finding in findings.values())
    print(f"{name:22}{words}{load(name).CASE}".rstrip(), flush=True)


def show_evidence(name: str, findings: Findings) -> None:
    """One attack, and what came of it."""
    first_line = (load(name).__doc__ or "").partition("\n")[0]
    print(f"{name}: {first_line[0].lower()}{first_line[1:]}")
    for which, finding in findings.items():
        print(f"  {which:8}{word(name, finding):10}{evidence(finding)}", flush=True)
    if load(name).CASE:
        print(f"  It retells {load(name).CASE}.")


def as_json(all_findings: dict[str, Findings]) -> str:
    return json.dumps(
        [
            {
                "attack": name,
                "case": load(name).CASE,
                "findings": {
                    which: {"result": word(name, finding), "evidence": evidence(finding)}
                    for which, finding in findings.items()
                },
            }
            for name, findings in all_findings.items()
        ],
        indent=2,
        ensure_ascii=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Attack servers, clients and agents.")
    parser.add_argument("name", nargs="?", default="all", help="an attack, or all of them")
    parser.add_argument("--url", help="attack this server instead. It must be yours")
    parser.add_argument(
        "--tokens",
        nargs=2,
        default=["", ""],
        metavar=("ALICE", "MALLORY"),
        help="for --url: the tokens of two users. The second one attacks the first",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    chosen = parser.parse_args()
    if chosen.name != "all" and chosen.name not in ATTACKS:
        parser.error(f"no attack is called {chosen.name!r}. There are: {', '.join(ATTACKS)}")
    names = ATTACKS if chosen.name == "all" else [chosen.name]
    if chosen.url:
        names = [name for name in names if load(name).AGAINST == "server"]
        if not names:
            parser.error(f"{chosen.name} is not aimed at a server")

    all_findings: dict[str, Findings] = {}

    def tell(name: str, findings: Findings) -> None:
        all_findings[name] = findings
        if not chosen.json:
            show = show_evidence if in_detail else show_row
            show(name, findings)

    in_detail = len(names) == 1 or chosen.url is not None
    if not in_detail and not chosen.json:
        print(f"{'attack':22}{OPEN:14}{SECURE:14}the published case")
    try:
        if chosen.url:
            asyncio.run(attack_url(names, chosen.url, chosen.tokens, tell))
        else:
            asyncio.run(attack_both(names, tell))
    except LabError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        return 130
    if chosen.json:
        print(as_json(all_findings))
    # For a script: an attack on what should withstand it has succeeded.
    held = [
        found for findings in all_findings.values() for found in list(findings.values())[-1:]
    ]
    return int(any(isinstance(found, Finding) and found.succeeded for found in held))


if __name__ == "__main__":
    sys.exit(main())
