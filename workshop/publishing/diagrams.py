"""Each Mermaid diagram of a text also as an SVG file, for terminals and for print.

`lessons/05_sse_server.md` has its first diagram in `lessons/diagrams/05-1.svg`, with a
link to it below the block. An SVG holds the Mermaid text that it was drawn from, in its
`<desc>`: whether it is up to date can be seen without drawing it again.
"""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from workshop.publishing.difference import Difference, PublishError, unified
from workshop.publishing.markdown import Fence, fences

LINK = re.compile(r"\s*\[[^\]]*\]\((?:lessons/)?diagrams/[^)/]+\.svg\)\s*")
SVG = "{http://www.w3.org/2000/svg}"
FOLDER = "lessons/diagrams"
MERMAID = Path("tests/node/node_modules/mermaid/dist/mermaid.min.js")

SETTINGS = {
    "startOnLoad": False,
    "theme": "neutral",  # readable on paper, too
    "themeVariables": {"noteBkgColor": "#fff5d1", "noteTextColor": "#333"},
    # Where an arrow runs behind its label, a white edge keeps the letters readable.
    "themeCSS": ".edgeLabel text { paint-order: stroke; stroke: #fff; stroke-width: 3px; }",
    "htmlLabels": False,  # HTML within an SVG: only browsers show it
    "flowchart": {"htmlLabels": False},
    # A wide one first: in a narrower font, too, the text fits its box.
    "fontFamily": '"DejaVu Sans", Verdana, sans-serif',
}

# Draw one diagram: white behind it, its source inside it, and no symbol that it doesn't use.
DRAW = r"""async (source) => {
    // A label of a flowchart is Markdown, which would make _decode an emphasis: hide each _.
    const hidden = source.replaceAll("_", "\u02cd");
    const svg = (await mermaid.render("diagram", hidden)).svg.replaceAll("\u02cd", "_");
    const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    const [x, y, width, height] = root.getAttribute("viewBox").split(" ");
    const ground = document.createElementNS(root.namespaceURI, "rect");
    const values = { x, y, width, height, fill: "#fff" };
    for (const [name, value] of Object.entries(values)) ground.setAttribute(name, value);
    const about = document.createElementNS(root.namespaceURI, "desc");
    about.textContent = source;
    root.prepend(about, ground);
    root.setAttribute("width", width);
    root.setAttribute("height", height);
    root.removeAttribute("style");
    for (const symbol of root.querySelectorAll("symbol")) {
        if (!svg.includes(`href="#${symbol.id}"`)) symbol.parentNode.remove();
    }
    return new XMLSerializer().serializeToString(root) + "\n";
}"""


def diagrams(content: str, text: Path) -> dict[str, Fence]:
    """The Mermaid blocks of a text, by the name of their SVG file. Raises PublishError."""
    drawn = [fence for fence in fences(content, text.name) if fence.info == "mermaid"]
    return {f"{short(text)}-{number}.svg": fence for number, fence in enumerate(drawn, 1)}


def short(text: Path) -> str:
    """05 for lessons/05_sse_server.md, README for README.md."""
    return text.stem.partition("_")[0]


def with_links(content: str, text: Path, root: Path) -> str:
    """The content of `text` with a link to its SVG below each diagram. Raises PublishError."""
    lines = content.splitlines(keepends=True)
    folder = (root / FOLDER).relative_to(text.parent).as_posix()
    # From the end, so that the numbers of the lines above stay right.
    for name, fence in reversed(diagrams(content, text).items()):
        rest = lines[fence.end :]
        if len(rest) > 1 and not rest[0].strip() and LINK.fullmatch(rest[1]):
            rest = rest[2:]
        link = f"{fence.indent}[Diagram as SVG]({folder}/{name})\n"
        lines[fence.end :] = ["\n", link, *rest]
    return "".join(lines)


def source_of(svg: str) -> str:
    """The Mermaid text that an SVG was drawn from; empty if it has none."""
    try:
        return ElementTree.fromstring(svg).findtext(f"{SVG}desc", "")
    except ElementTree.ParseError:
        return ""


def publish_diagrams(texts: list[Path], root: Path, *, compare: bool) -> list[Difference]:
    """Draw the diagrams of these texts that have changed; with `compare`, only name them."""
    found: list[Difference] = []
    stale: dict[Path, str] = {}
    for text in texts:
        try:
            wanted = diagrams(text.read_text(encoding="utf-8"), text)
        except PublishError:
            continue  # whoever reads the text's other blocks says so
        for name, fence in wanted.items():
            path = root / FOLDER / name
            drawn_from = source_of(path.read_text(encoding="utf-8")) if path.is_file() else ""
            if drawn_from != fence.body:
                stale[path] = fence.body
                what = f"drawn from line {fence.line} of {text.name}"
                found.append(
                    Difference(f"{FOLDER}/{name}", what, unified(drawn_from, fence.body))
                )
        for path in sorted((root / FOLDER).glob(f"{short(text)}-*.svg")):
            if path.name not in wanted:
                found.append(Difference(f"{FOLDER}/{path.name}", "no such diagram", "removed"))
                if not compare:
                    path.unlink()
    if stale and not compare:
        try:
            drawn = list(draw(list(stale.values()), root))
            for path, svg in zip(stale, drawn, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(svg, encoding="utf-8")
        except PublishError as error:
            names = ", ".join(path.name for path in stale)
            found.append(Difference(FOLDER, f"to draw {names}", str(error), curable=False))
    return found


def draw(sources: list[str], root: Path) -> Iterator[str]:
    """Yields one SVG for each Mermaid text, drawn by Mermaid itself in Chromium.

    Raises PublishError when one of the two is missing, and at a text that is not Mermaid.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise PublishError("Chromium is missing: apt-get install chromium")
    if not (root / MERMAID).is_file():
        raise PublishError("Mermaid is missing: npm ci --prefix tests/node")
    # Imported only here: most runs of `publish` draw nothing.
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page()
            page.add_script_tag(path=root / MERMAID)
            page.evaluate("(settings) => mermaid.initialize(settings)", SETTINGS)
            for source in sources:
                yield page.evaluate(DRAW, source)
        except Error as error:
            raise PublishError(f"Mermaid could not draw it: {error.message}") from None
        finally:
            browser.close()
