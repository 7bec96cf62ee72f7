"""A place to run a lesson's commands in, where nothing of the learner's is changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.running import environment


def sandbox_environment(folder: Path) -> dict[str, str]:
    """The environment for a lesson's commands in a sandbox."""
    env = environment(
        {
            "LANG": "C.UTF-8",
            "WORKSHOP_WORK": str(folder / "work"),
            # The environment is there; `uv run` need not look at it each time.
            "UV_NO_SYNC": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    # A lesson shows what happens without a key, and `uv` finds the environment itself.
    for name in (
        *("OPENAI_API_KEY", "OPENAI_BASE_URL", "VIRTUAL_ENV"),
        *("PYTHONUNBUFFERED", "FORCE_COLOR"),
    ):
        env.pop(name, None)
    return env


@contextmanager
def sandbox(root: Path) -> Iterator[Path]:
    """A folder that looks like the repository, with its own `work/` folder."""
    with tempfile.TemporaryDirectory(prefix="workshop-") as name:
        folder = Path(name).resolve() / "course"
        folder.mkdir()
        for path in root.iterdir():
            if path.name not in ("work", ".git", ".env"):
                (folder / path.name).symlink_to(path)
        yield folder
