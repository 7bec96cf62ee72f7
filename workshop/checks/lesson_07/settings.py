"""What the clients are told, and how long the servers and the checks wait."""

from __future__ import annotations

from workshop.patience import stretched

# How long, in seconds, a check waits for something that should come at once.
PATIENCE = stretched(1.5)

# What the clients are told, in seconds.
SETTINGS = {
    "answer": 20.0,
    "retry": 0.02,
    "first_backoff": 0.02,
    "longest_backoff": 0.1,
    "most_failures": 100,
}
SHORT_ANSWER = stretched(0.3)
FEW_FAILURES = 4
ASKED_RETRY = 300  # milliseconds
AWAY = stretched(0.2)  # how long nothing listens while a server restarts

# The same for the waits, which are asked for without a wire.
PACE = {
    "settings": {
        **SETTINGS,
        "retry": 1.0,
        "first_backoff": 2.0,
        "longest_backoff": 16.0,
    },
    "of": 60,
    "waits": 8,
    "asked": 40_000,  # milliseconds, and longer than `longest_backoff`
}
