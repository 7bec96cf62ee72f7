"""An agent, its tools and their servers, with and without cures.

The programs in here are started by their path, and import each other by their bare names. This
line makes the same names work when the package is imported.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
