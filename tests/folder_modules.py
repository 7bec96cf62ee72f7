"""A lesson's programs as modules: their names are those of other lessons' programs, too."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


def modules_in(folder: Path, names: Sequence[str]) -> dict[str, ModuleType]:
    """Import these from the folder, each other's imports too. Nothing of it stays behind."""
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


Edit = tuple[str, str, str]  # a file, what is in it once, what replaces that


def edited_copy(folder: Path, edits: Sequence[Edit], where: Path) -> Path:
    """A copy of the folder, in `where`, in which these lines are others."""
    copy = where / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in edits:
        file = copy / name
        source = file.read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{name} has no longer one {old!r}"
        file.write_text(source.replace(old, new), encoding="utf-8")
    return copy
