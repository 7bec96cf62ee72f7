"""How long the checks wait. Read as `waits.SHORT`: a test gives a slow server more time."""

from __future__ import annotations

from workshop.patience import stretched

# How long, in seconds, a check waits for a reply. A dozen children start within that time,
# on whatever machine this is. A server that says nothing at all is found out sooner.
PATIENCE = stretched(2.0)
SHORT = stretched(0.5)
