"""In the terminals of a lesson's console blocks, `uv run FILE` starts a warm program.

A program is as it is in any terminal, which it could not be as a child of a process elsewhere:
in the terminal's session, and in the foreground, where Ctrl-C goes. So each terminal has a
process of its own to fork, which has the libraries and leads the session: its child is the
shell. `uv`, first in the shell's PATH, is tests/warm_uv.py.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ptyprocess import PtyProcess

from tests.warm import Parents

UV = Path(__file__).with_name("warm_uv.py")


@contextmanager
def warm_terminals(parents: Parents, folder: Path) -> Iterator[None]:
    """Meanwhile, terminals are warm for the programs in this folder."""
    # Elsewhere a process can't be forked as safely, or at all: all starts are cold.
    if sys.platform != "linux":
        yield
        return
    numbers = itertools.count()
    # Not a test's own folder: a socket's path can't be long.
    with tempfile.TemporaryDirectory(prefix="warm-") as bin:
        uv = Path(bin) / "uv"
        uv.write_text(f"#!{sys.executable} -IS\n{UV.read_text('utf-8')}", encoding="utf-8")
        uv.chmod(0o755)

        def spawn(
            argv: list[str],
            *,
            cwd: str,
            env: Mapping[str, str],
            echo: bool,
            dimensions: tuple[int, int],
        ) -> PtyProcess:
            """As PtyProcess.spawn."""
            name = f"{bin}/{next(numbers)}"
            path = f"{bin}{os.pathsep}{env['PATH']}"
            request = {
                "terminal": name,
                "arguments": argv,
                "env": {**env, "PATH": path, "WARM_TERMINAL": name},
                "cwd": cwd,
                "sigint_ignored": False,
            }
            ours, theirs = os.openpty()
            process = PtyProcess(0, ours)
            process.setwinsize(*dimensions)
            process.setecho(echo)
            process.pid = parents.start(request, [theirs] * 3, folder)
            os.close(theirs)
            return process

        with mock.patch.object(PtyProcess, "spawn", spawn):
            yield
