"""TODO 4: compose.yaml."""

from __future__ import annotations

import difflib
import re
from typing import Any

import yaml

from workshop.checks.lesson_11.opening import COMPOSE, HOME, NO_TEXT, suite
from workshop.checks.lesson_11.texts import Texts
from workshop.failed import Failed

LABEL = "compose"
# The keys of a service in the Compose Specification. Others begin with `x-`.
SERVICE_KEYS = {
    *("annotations", "attach", "blkio_config", "build", "cap_add", "cap_drop", "cgroup"),
    *("cgroup_parent", "command", "configs", "container_name", "cpu_count", "cpu_percent"),
    *("cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpus"),
    *("cpuset", "credential_spec", "depends_on", "deploy", "develop"),
    *("device_cgroup_rules", "devices", "dns", "dns_opt", "dns_search", "domainname"),
    *("entrypoint", "env_file", "environment", "expose", "extends", "external_links"),
    *("extra_hosts", "gpus", "group_add", "healthcheck", "hostname", "image", "init"),
    *("ipc", "isolation", "label_file", "labels", "links", "logging", "mac_address"),
    *("mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "models"),
    *("network_mode", "networks", "oom_kill_disable", "oom_score_adj", "pid", "pids_limit"),
    *("platform", "ports", "post_start", "pre_stop", "privileged", "profiles", "provider"),
    *("pull_policy", "read_only", "restart", "runtime", "scale", "secrets", "security_opt"),
    *("shm_size", "stdin_open", "stop_grace_period", "stop_signal", "storage_opt"),
    *("sysctls", "tmpfs", "tty", "ulimits", "use_api_socket", "user", "userns_mode", "uts"),
    *("volumes", "volumes_from", "working_dir"),
}
TOP_KEYS = {*("name", "version", "services", "networks", "volumes", "configs", "secrets")}
TOP_KEYS |= {"include", "models"}
# A service's own key, the one in `deploy`, and the most that the TODO allows.
LIMITS = (
    ("mem_limit", "memory", 256 * 2**20, "256m"),
    ("pids_limit", "pids", 64, "64"),
    ("cpus", "cpus", 1, "1"),
)
SMALLEST = 6 * 1024 * 1024  # the least memory that Docker accepts


def services_of(texts: Texts) -> dict[str, dict[str, Any]]:
    """The services. Raises Failed where Compose would refuse the file."""
    text = texts.text("compose")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        lines = text.splitlines()
        line = lines[min(mark.line, len(lines) - 1)] if mark else ""
        hint = "tab" if "\t" in line[: len(line) - len(line.lstrip())] else "not-yaml"
        said = str(getattr(error, "problem", error))
        raise Failed(
            hint,
            received=line,
            at=len(line[: mark.column].encode()) if mark else None,
            wanted=f"YAML. It says: {said}",
            label=LABEL,
        ) from None
    services = found.get("services") if isinstance(found, dict) else None
    if not isinstance(services, dict):
        raise _key_failure(text, "no-service", "", "services: with server and nginx in it")
    for key in found:
        if key not in TOP_KEYS and not str(key).startswith("x-"):
            raise _unknown(text, key, TOP_KEYS)
    for name in ("server", "nginx"):
        if not isinstance(services.get(name), dict):
            raise _key_failure(text, "no-service", name, f"a service {name} with keys in it")
        for key in services[name]:
            if key not in SERVICE_KEYS and not str(key).startswith("x-"):
                raise _unknown(text, key, SERVICE_KEYS)
    return services


def _unknown(text: str, key: object, known: set[str]) -> Failed:
    close = difflib.get_close_matches(str(key), known, n=1)
    wanted = f"{close[0]}?" if close else "a key that Compose knows in this place"
    return _key_failure(text, "unknown-key", str(key), wanted)


def _key_failure(text: str, hint: str, key: str, wanted: str) -> Failed:
    """The failure that shows the line of a key, or says that something is missing."""
    line = next(
        (
            one
            for one in text.splitlines()
            if key and re.match(rf"[\s\-\"']*{re.escape(key)}\b", one)
        ),
        None,
    )
    if line is None:
        return Failed(hint, wanted=f"{wanted}, in compose.yaml")
    at = len(line[: len(line) - len(line.lstrip())].encode())
    return Failed(hint, received=line, at=at, wanted=wanted, label=LABEL)


def _listed(value: object) -> list[str]:
    """A list's entries as strings; a single string is a list of one."""
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []


@suite.check(
    "compose",
    "compose.yaml can be read, with the services server and nginx",
    todo=4,
    read="Limits",
    rule=COMPOSE,
    why="Compose refuses a file with a key that it does not know, and starts nothing.",
    hints={
        "no-text": NO_TEXT,
        "tab": "YAML is indented with spaces only: there is a tab in this line.",
        "not-yaml": "Look at this line and the one above: the keys of a service begin in the "
        "same column, and a colon and a space follow each key.",
        "no-service": "Both services are needed: the server, and nginx in front of it.",
        "unknown-key": "Compose has no such key here. Is it misspelt, or in the wrong column?",
    },
)
def compose(texts: Texts) -> None:
    services_of(texts)


@suite.check(
    "only-nginx",
    "Only nginx is published, and only on this machine",
    todo=4,
    after=("compose",),
    read="Limits",
    rule=f"{COMPOSE}: ports",
    why="A published port of the server is a way around nginx, and around its limits. "
    "Without an address, the whole network can use it.",
    hints={
        "around-nginx": "Services in one compose file reach each other by name. The server "
        "needs no port on your machine.",
        "everybody": "ADDRESS:PORT:PORT publishes a port on one address only.",
    },
)
def only_nginx(texts: Texts) -> None:
    services = services_of(texts)
    text = texts.text("compose")
    if services["server"].get("ports") or services["server"].get("network_mode") == "host":
        key = "ports" if services["server"].get("ports") else "network_mode"
        raise _key_failure(text, "around-nginx", key, "no ports in the service server")
    ports = services["nginx"].get("ports")
    for port in ports if isinstance(ports, list) else []:
        if isinstance(port, dict):
            said, address = str(port.get("published")), port.get("host_ip")
        else:
            said = str(port)
            address = said.rpartition(":")[0].rpartition(":")[0]
        if address not in HOME:
            raise _key_failure(text, "everybody", said, "127.0.0.1 before the ports")


@suite.check(
    "read-only",
    "The server's file system is read-only, except /workspace and /tmp",
    todo=4,
    after=("compose",),
    read="Limits",
    rule=f"{COMPOSE}: read_only, tmpfs",
    why="What a command writes elsewhere changes the server itself, until the container is "
    "created again.",
    hints={
        "writable": "One key of the service makes the whole file system of this container "
        "read-only. Mounts stay as they are.",
        "workspace": "The server has to write in /workspace, and a mount with `:ro` is "
        "read-only.",
        "no-tmp": "Many commands need /tmp: a tmpfs puts it in memory.",
    },
)
def read_only(texts: Texts) -> None:
    server, text = services_of(texts)["server"], texts.text("compose")
    if server.get("read_only") is not True:
        raise _key_failure(text, "writable", "read_only", "read_only in the service server")
    volumes = server.get("volumes")
    volumes = volumes if isinstance(volumes, list) else []
    for one in volumes:
        if isinstance(one, str) and re.search(r":/workspace/?:(.*,)?ro\b", one):
            raise _key_failure(text, "workspace", one, "/workspace writable")
    targets = [one.get("target") for one in volumes if isinstance(one, dict)]
    if "/tmp" not in [*(one.split(":")[0] for one in _listed(server.get("tmpfs"))), *targets]:
        raise _key_failure(text, "no-tmp", "tmpfs", "a tmpfs for /tmp in the service server")


@suite.check(
    "privileges",
    "The server has no capabilities and can't gain any",
    todo=4,
    after=("compose",),
    read="Limits",
    rule=f"{COMPOSE}: cap_drop, security_opt",
    why="A program with the setuid bit can make any user root, and a container's root has "
    "fourteen capabilities: to change owners, to send raw packets, …",
    hints={
        "capabilities": "Drop all of them: there is one word for that.",
        "given-back": "This server needs none of them: it listens on a port above 1023 and "
        "changes no owners.",
        "new-privileges": "With a security option, no program here can gain privileges that "
        "the program which started it did not have.",
    },
)
def privileges(texts: Texts) -> None:
    server, text = services_of(texts)["server"], texts.text("compose")
    for key in ("privileged", "cap_add"):
        if server.get(key):
            raise _key_failure(text, "given-back", key, f"no {key} in the service server")
    if "ALL" not in map(str.upper, _listed(server.get("cap_drop"))):
        raise _key_failure(text, "capabilities", "cap_drop", "ALL capabilities dropped")
    options = _listed(server.get("security_opt"))
    if not any(re.fullmatch(r"no-new-privileges([:=]true)?", one) for one in options):
        raise _key_failure(
            text, "new-privileges", "security_opt", "no-new-privileges in the service server"
        )


@suite.check(
    "limits",
    "The server's memory, processes and processor time are limited",
    todo=4,
    after=("compose",),
    read="Limits",
    rule=f"{COMPOSE}: mem_limit, pids_limit, cpus",
    why="One command that starts itself over and over takes down the whole machine, and "
    "everything that runs on it.",
    hints={
        "no-limit": "Three limits, three keys of the service: memory, processes, processors.",
        "too-high": "Nothing that the tools do needs more than the TODO allows.",
        "bytes": "Without a unit, it is a number of bytes.",
        "reservation": "A reservation is the least that it gets, a limit the most.",
    },
)
def limits(texts: Texts) -> None:
    server, text = services_of(texts)["server"], texts.text("compose")
    deploy = server.get("deploy")
    resources = deploy.get("resources") if isinstance(deploy, dict) else None
    resources = resources if isinstance(resources, dict) else {}
    if (resources.get("reservations") and not resources.get("limits")) or (
        server.get("mem_reservation") and not server.get("mem_limit")
    ):
        key = "reservations" if resources.get("reservations") else "mem_reservation"
        raise _key_failure(text, "reservation", key, "a limit")
    most = resources.get("limits")
    most = most if isinstance(most, dict) else {}
    for key, other, most_allowed, shown in LIMITS:
        value = server.get(key, most.get(other))
        if value in (None, 0, -1, "0", "-1"):
            raise _key_failure(text, "no-limit", key, f"{key} in the service server")
        amount = _bytes(value) if key == "mem_limit" else _number(value)
        if key == "mem_limit" and amount < SMALLEST:
            raise _key_failure(text, "bytes", key, "256m")
        if amount > most_allowed:
            raise _key_failure(text, "too-high", key, f"{key} {shown} or less")


def _bytes(value: object) -> float:
    """An amount of memory. What can't be read passes here, and the engine refuses it."""
    form = re.fullmatch(r"([\d.]+)\s*([bkmg]?)b?", str(value).strip().lower())
    if form is None:
        return SMALLEST
    return float(form[1]) * {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}[form[2]]


def _number(value: object) -> float:
    """A number, which may be a string. Anything else is left to the engine."""
    try:
        return float(str(value))
    except ValueError:
        return 0
