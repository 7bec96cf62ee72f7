"""Who may come in: this machine's own names, on any port, and what the environment adds.

    ALLOWED_HOSTS=tea.example ALLOWED_ORIGINS=https://tea.example \\
        uv run scripts/06_sdk_server/calculator.py --host 0.0.0.0
"""

import os

from mcp.server.transport_security import TransportSecuritySettings

# `:*` matches any port, but not a missing one: clients leave out port 80.
OWN_NAMES = [
    f"{name}{port}" for name in ("127.0.0.1", "localhost", "[::1]") for port in (":*", "")
]


def allowed() -> TransportSecuritySettings:
    return TransportSecuritySettings(
        allowed_hosts=[*OWN_NAMES, *listed("ALLOWED_HOSTS")],
        allowed_origins=[*(f"http://{name}" for name in OWN_NAMES), *listed("ALLOWED_ORIGINS")],
    )


def listed(variable: str) -> list[str]:
    """What an environment variable lists, separated by commas."""
    entries = os.environ.get(variable, "").split(",")
    return [entry.strip() for entry in entries if entry.strip()]
