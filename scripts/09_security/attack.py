"""Attacks servers, clients and agents, and reports which attacks succeed.

    uv run scripts/09_security/attack.py
    uv run scripts/09_security/attack.py guessed_id logged_id
    uv run scripts/09_security/attack.py all --url http://127.0.0.1:8019 --tokens ALICE MALLORY

Without --url it starts what it attacks: everything open, and everything secured. Attack only
what is yours.
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
from attacks.target import NotTried, Refused, Server, request

HERE = Path(__file__).parent

# In the order of the lesson.
ATTACKS = [
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
OPEN, SECURE = "open", "secure"
BROKE_OFF = (Refused, TimeoutError, httpx2.HTTPError, OSError)
TOOLS = {"echo", "wait"}  # what the attacks call
WIDTH = 80  # of a terminal

Findings = dict[str, Finding | NotTried]  # by what was attacked
Tell = Callable[[str, Findings], None]
ForAttack = Callable[[str], Server]  # a server, with an Alice and a Mallory for an attack


def load(name: str) -> ModuleType:
    return importlib.import_module(f"attacks.{name}")


async def result_of(name: str, target: Any) -> Finding | NotTried:
    """The result of an attack, or why there is none."""
    try:
        return await load(name).attack(target)
    except NotTried as reason:
        return reason
    except (*BROKE_OFF, EOFError, LookupError, ValueError) as error:
        # Something went wrong that the attack did not expect: it proves nothing either way.
        return NotTried(f"broke off: {type(error).__name__} {error}".strip())


def started_servers(stack: ExitStack, names: list[str]) -> dict[str, ForAttack]:
    """The open and the secure server, for the attacks that can share them."""
    attacks = [n for n in names if load(n).AGAINST == "server" and not is_alone(n)]
    return {
        which: stack.enter_context(started(HERE / f"{which}_server.py", attacks))
        for which in ((OPEN, SECURE) if attacks else ())
    }


def is_alone(name: str) -> bool:
    """Whether an attack needs its own server: its program says why."""
    return getattr(load(name), "ALONE", False)


def target_of(stack: ExitStack, name: str, which: str, servers: dict[str, ForAttack]) -> Any:
    """What this attack is aimed at, in its open or in its secure version."""
    match load(name).AGAINST:
        case "server" if is_alone(name):
            return stack.enter_context(started(HERE / f"{which}_server.py", [name]))(name)
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
            targets = [target_of(stack, name, which, servers) for which in (OPEN, SECURE)]
            if load(name).AGAINST in ("server", "client"):
                # Both at once: such an attack waits for most of its time.
                found = await asyncio.gather(*(result_of(name, target) for target in targets))
            else:
                # These start their own servers: nothing else may wait for an answer meanwhile.
                found = [await result_of(name, target) for target in targets]
            tell(name, dict(zip((OPEN, SECURE), found, strict=True)))


async def attack_url(names: list[str], url: str, tokens: list[str], tell: Tell) -> None:
    """Make each attack that is aimed at servers on this one."""
    server = Server(url.rstrip("/").removesuffix("/sse"), tokens[0], tokens[1])
    await get_to_know(server)
    for name in names:
        tell(name, {"here": await result_of(name, server)})


async def get_to_know(server: Server) -> None:
    """Learn where it takes messages. Raises LabError if attacks on it would say nothing."""
    try:
        async with server.open(server.alice) as alice:
            path, query, _ = (await alice.endpoint()).partition("?session_id=")
            if not query or not path.startswith("/"):
                raise LabError(f"{server.url} names an endpoint without ?session_id=: {path}")
            server.post_path = path
            await alice.initialize()
            await alice.send(request(1, "tools/list"))
            tools = json.loads((await alice.reply(1)).data)["result"]["tools"]
    except (*BROKE_OFF, LookupError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise LabError(f"{server.url} is no server that Alice can use: {reason}") from error
    if missing := TOOLS - {tool["name"] for tool in tools}:
        names = " and ".join(sorted(missing))
        raise LabError(f"{server.url} has no tool {names}, and the attacks call it")


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
    """One attack, and its results."""
    first_line = (load(name).__doc__ or "").partition("\n")[0]
    print(f"{name}. {first_line}")
    for which, finding in findings.items():
        came = f"  {which:8}{word(name, finding)}: {evidence(finding)}"
        print(came if len(came) <= WIDTH else came[: WIDTH - 1] + "…", flush=True)


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
    parser.add_argument("names", nargs="*", default=["all"], metavar="NAME", help="or: all")
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
    for name in chosen.names:
        if name != "all" and name not in ATTACKS:
            parser.error(f"no attack is called {name!r}. There are: {', '.join(ATTACKS)}")
    in_detail = "all" not in chosen.names or chosen.url is not None
    names = ATTACKS if "all" in chosen.names else list(dict.fromkeys(chosen.names))
    if chosen.url:
        names = [name for name in names if load(name).AGAINST == "server"]
        if not names:
            parser.error("none of these is aimed at a server")

    all_findings: dict[str, Findings] = {}

    def tell(name: str, findings: Findings) -> None:
        all_findings[name] = findings
        if not chosen.json:
            show = show_evidence if in_detail else show_row
            show(name, findings)

    if not in_detail and not chosen.json:
        print(f"{'attack':22}{OPEN:14}{SECURE:14}the published case")
    try:
        if chosen.url:
            asyncio.run(attack_url(names, chosen.url, chosen.tokens, tell))
        else:
            asyncio.run(attack_both(names, tell))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2  # 1 says that an attack has succeeded
    except KeyboardInterrupt:
        return 130
    if chosen.json:
        print(as_json(all_findings))
    # For a script: an attack has succeeded on something that should withstand it.
    held = [[*findings.values()][-1] for findings in all_findings.values()]
    return int(any(isinstance(found, Finding) and found.succeeded for found in held))


if __name__ == "__main__":
    sys.exit(main())
