"""Every Mermaid diagram of the texts is also an SVG file, drawn from what it says now."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.mini_course import MANIFEST
from tests.parts import missing, require
from workshop.course import ROOT, Course
from workshop.publishing import diagrams
from workshop.publishing.diagrams import (
    FOLDER,
    MERMAID,
    SVG,
    draw,
    publish_diagrams,
    source_of,
    with_links,
)
from workshop.publishing.difference import PublishError

COURSE = Course.load()
TEXTS = [*(lesson.text for lesson in COURSE.lessons), ROOT / "README.md"]

TEXT = """# A greeting

```mermaid
flowchart LR
    a[say _hello] --> b[hear & < it]
```

More text.

```text
no diagram
```

```mermaid
sequenceDiagram
    A->>B: hello
```
"""


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_the_diagrams_of_a_text_are_drawn_and_linked(text: Path) -> None:
    content = text.read_text(encoding="utf-8")
    found = publish_diagrams([text], ROOT, compare=True)
    assert found == [], f"`uv run workshop publish` draws: {[one.path for one in found]}"
    assert with_links(content, text, ROOT) == content, "`uv run workshop publish` writes it"


@pytest.mark.parametrize("path", sorted((ROOT / FOLDER).iterdir()), ids=lambda path: path.stem)
def test_a_drawing_is_small_and_can_be_read_everywhere(path: Path) -> None:
    assert path.stat().st_size < 40_000
    root = ElementTree.parse(path).getroot()
    about, ground = list(root)[:2]
    assert (about.tag, ground.tag) == (f"{SVG}desc", f"{SVG}rect")
    # White over the whole drawing, whatever is behind it.
    box = [ground.get(name) for name in ("x", "y", "width", "height")]
    assert box == (root.get("viewBox") or "").split()
    assert ground.get("fill") == "#fff"
    assert root.find(f".//{SVG}foreignObject") is None, "only browsers show HTML in it"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course with one text that has two diagrams."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons/lessons.toml").write_text(MANIFEST, encoding="utf-8")
    (tmp_path / "lessons/01_greeting.md").write_text(TEXT, encoding="utf-8")
    return tmp_path


def fake_draw(drawn: list[str], root: Path) -> list[str]:
    made = []
    for source in drawn:
        svg = ElementTree.Element("svg", xmlns=SVG[1:-1])
        ElementTree.SubElement(svg, "desc").text = source
        made.append(ElementTree.tostring(svg, "unicode"))
    return made


def test_only_what_has_changed_is_drawn_again(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def noted(drawn: list[str], root: Path) -> list[str]:
        asked.append(drawn)
        return fake_draw(drawn, root)

    monkeypatch.setattr(diagrams, "draw", noted)
    text = course / "lessons/01_greeting.md"
    first, second = course / FOLDER / "01-1.svg", course / FOLDER / "01-2.svg"
    assert len(publish_diagrams([text], course, compare=True)) == 2
    assert not first.exists() and asked == []
    assert len(publish_diagrams([text], course, compare=False)) == 2
    assert source_of(second.read_text()) == "sequenceDiagram\n    A->>B: hello\n"
    assert publish_diagrams([text], course, compare=False) == []
    text.write_text(TEXT.replace("B: hello", "B: good day"), encoding="utf-8")
    (found,) = publish_diagrams([text], course, compare=False)
    assert found.path == f"{FOLDER}/01-2.svg" and "+    A->>B: good day" in found.diff
    assert asked[1:] == [["sequenceDiagram\n    A->>B: good day\n"]]
    # A diagram that has gone takes its drawing with it.
    text.write_text(TEXT.partition("More text.")[0], encoding="utf-8")
    (found,) = publish_diagrams([text], course, compare=True)
    assert found.path == f"{FOLDER}/01-2.svg" and second.exists()
    publish_diagrams([text], course, compare=False)
    assert first.exists() and not second.exists()


def test_each_diagram_gets_one_link(course: Path) -> None:
    text = course / "lessons/01_greeting.md"
    linked = with_links(TEXT, text, course)
    assert "```\n\n[Diagram as SVG](diagrams/01-1.svg)\n\nMore text." in linked
    assert linked.endswith("```\n\n[Diagram as SVG](diagrams/01-2.svg)\n")
    assert with_links(linked, text, course) == linked
    # If the first one goes, the second becomes the first.
    fewer = linked.replace("```mermaid\nflowchart", "```text\nflowchart")
    fewer = fewer.replace("[Diagram as SVG](diagrams/01-1.svg)\n\n", "")
    assert with_links(fewer, text, course).endswith("(diagrams/01-1.svg)\n")
    readme = course / "README.md"
    assert "](lessons/diagrams/README-1.svg)" in with_links(TEXT, readme, course)


def test_a_missing_tool_is_named(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = course / "lessons/01_greeting.md"
    monkeypatch.setattr(diagrams.shutil, "which", lambda program: "/usr/bin/true")
    *_, told = publish_diagrams([text], course, compare=False)
    assert "npm ci --prefix tests/node" in told.diff and not told.curable
    monkeypatch.setattr(diagrams.shutil, "which", lambda program: None)
    *_, told = publish_diagrams([text], course, compare=False)
    assert "apt-get install chromium" in told.diff and not told.curable


def test_mermaid_draws_in_chromium() -> None:
    require("chromium")
    if not (ROOT / MERMAID).is_file():
        missing("Mermaid", "npm ci --prefix tests/node")
    source = 'flowchart LR\n    a["_say <br>hello_you"] --> b[hear & see]\n'
    drawn = draw([source, "flowchart LR\n    a[["], ROOT)
    svg = next(drawn)
    assert source_of(svg) == source
    words = " ".join(ElementTree.fromstring(svg).itertext())
    assert "_say" in words and "hello_you" in words and "hear" in words
    with pytest.raises(PublishError, match="could not draw"):
        next(drawn)
