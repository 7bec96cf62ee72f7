"""Load a Python file by its path: a learner's, or one of the course's own programs."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def load(path: Path, name: str = "") -> ModuleType:
    """The file as a module, without putting its folder on sys.path. It runs only once.

    `name` is what the module is called. Raises ImportError when it is not a Python file,
    and whatever the file raises.
    """
    name = name or f"workshop_loaded_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while the file is running.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
