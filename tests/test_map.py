"""`workshop/README.md` names every module, and nothing else."""

from __future__ import annotations

import re

from workshop.course import ROOT

PACKAGE = ROOT / "workshop"
TEXT = (PACKAGE / "README.md").read_text(encoding="utf-8")


def test_every_name_in_the_map_exists() -> None:
    # Those of the tables, and of the picture.
    names = re.findall(r"(?<![\w/…])((?:\w+/)*\w+(?:\.py|/))(?=[\s,:`|])", TEXT)
    assert len(names) > 40
    outside = {"workshop/", "scripts/", "solutions/", "tests/", "template/"}
    missing = [
        name
        for name in {*names} - outside
        if not (PACKAGE / name.replace("lesson_NN", "lesson_01")).exists()
        and not (PACKAGE / name.replace("lesson_NN.py", "lesson_01")).is_dir()
    ]
    assert missing == []


def test_every_module_is_in_the_map() -> None:
    modules = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if "template" not in path.parts and not re.search(r"lesson_\d\d", str(path))
    ]
    wanted = {
        f"{path.parent}/" if path.name == "__init__.py" else path.as_posix() for path in modules
    }
    named = {*re.findall(r"`([\w/]+(?:\.py|/))`", TEXT)}
    # A package is in the map by its modules, too.
    known = named | {name.rpartition("/")[0] + "/" for name in named}
    assert wanted - known - {"./"} == set()
