"""The attacks: one short program each. `attack.py` runs them.

The programs in `agent/` are started by their path, and import each other by their bare names.
This line makes the same names work when an attack imports them.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "agent"))
