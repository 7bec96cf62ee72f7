"""What the program is told, how the hub sends, and how long the checks wait."""

from __future__ import annotations

from workshop.patience import stretched

# What the program is told, in seconds.
HEARTBEAT = stretched(0.4)
RETRY = 0.02
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.15

# The scripted hub beats this often; on the quiet stream the first beat is late.
BEAT = stretched(0.2)
LATE_BEAT = 1.5 * HEARTBEAT
QUIET_BEATS = 6
TICK = 0.03
CROWDS = {"failing": 24, "recovering": 12}
FAILURES = 6  # of each in the first crowd
PATIENCE = stretched(2.5)
SLOW = stretched(3.0)
