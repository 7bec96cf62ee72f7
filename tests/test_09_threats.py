"""The threat model of lesson 09: each attack is in it, and whatever it names is there."""

from __future__ import annotations

import ast
import re

import pytest

from workshop.course import ROOT

FOLDER = ROOT / "scripts" / "09_security"
THREATS = (FOLDER / "THREATS.md").read_text(encoding="utf-8")
ROWS = [line for line in THREATS.splitlines() if "](attacks/" in line]


def names_in(path: str) -> set[str]:
    """The functions, classes and methods of a file, as THREATS.md writes them."""
    names = set[str]()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {
                f"{node.name}.{inner.name}"
                for inner in getattr(node, "body", [])
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_each_attack_has_one_row() -> None:
    tree = ast.parse((FOLDER / "attack.py").read_text(encoding="utf-8"))
    attacks = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ATTACKS"
    )
    assert [re.findall(r"\[(\w+)\]\(attacks/\1\.py\)", row)[0] for row in ROWS] == attacks


def test_each_attack_that_is_there_is_tried() -> None:
    programs = {
        path.stem
        for path in (FOLDER / "attacks").glob("*.py")
        if "async def attack(" in path.read_text(encoding="utf-8")
    }
    assert programs == {row.partition("](attacks/")[2].partition(".py)")[0] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.partition("[")[2].partition("]")[0])
def test_a_row_names_code_and_a_test_that_are_there(row: str) -> None:
    *_, stops, test, _ = row.split("|")
    (code,) = re.findall(r"`([\w/]+\.py)(?:::([\w.]+))?`", stops)
    assert not code[1] or code[1] in names_in(f"scripts/09_security/{code[0]}")
    file, _, name = test.strip(" `*").partition("[")[0].partition("::")
    found = names_in(f"tests/{file}")
    assert name in {one.rpartition(".")[2] for one in found}


def test_the_tests_that_take_cures_out_are_there() -> None:
    for file, name in re.findall(r"^- `(\w+\.py)::(\w+)`", THREATS, re.MULTILINE):
        assert name in {one.rpartition(".")[2] for one in names_in(f"tests/{file}")}


def test_the_lesson_lists_each_attack_with_its_published_case() -> None:
    """What each row says of success is proved by the tests that THREATS.md names."""
    text = (ROOT / "lessons/09_security.md").read_text(encoding="utf-8")
    table = text.partition("```text\nattack ")[2].partition("```")[0].splitlines()[1:]
    expected = []
    for row in ROWS:
        name = row.partition("](attacks/")[2].partition(".py)")[0]
        program = (FOLDER / "attacks" / f"{name}.py").read_text(encoding="utf-8")
        case = re.search(r'^CASE = "(.*)"$', program, re.MULTILINE)
        assert case, name
        words = ("succeeds", "fails")
        if "CLAIMED = False" in program:
            words = ("not measured", "not measured")
        expected.append(f"{name:22}{words[0]:14}{words[1]:14}{case[1]}".rstrip())
    assert table == expected
