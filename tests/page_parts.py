"""What every page of the course is held to: no errors, it fits its window, it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page

# The least size of a letter, in pixels, on a phone and on a projector.
LEAST_SIZE = {390: 13, 1280: 16}
# The least contrast of text with its background: WCAG 2.2, level AA.
LEAST_CONTRAST = 4.5

# Each text that is shown: what it says, its size, and its contrast with what is behind it.
MEASURE = """() => {
    const options = { willReadFrequently: true };
    const canvas = document.createElement("canvas").getContext("2d", options);
    // A colour in whatever notation, as [red, green, blue, alpha].
    function rgba(colour) {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    }
    function over(top, below) {
        return [0, 1, 2].map((part) => top[part] * top[3] + below[part] * (1 - top[3]));
    }
    function behind(element) {
        if (element === null) return rgba("Canvas");
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own : over(own, behind(element.parentElement));
    }
    function luminance(colour) {
        const [r, g, b] = colour.map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
    const found = [];
    function measure(element, text) {
        const box = element.getBoundingClientRect();
        // What cannot be used may be pale.
        if (!text.trim() || box.width < 2 || element.closest(":disabled")) return;
        if (!element.checkVisibility()) return;
        const style = getComputedStyle(element);
        const ground = behind(element);
        const colour = rgba(style.color);
        for (let each = element; each; each = each.parentElement) {
            colour[3] *= Number(getComputedStyle(each).opacity);
        }
        const [dark, light] = [luminance(over(colour, ground)), luminance(ground.slice(0, 3))]
            .sort((a, b) => a - b);
        found.push({
            text: text.trim().slice(0, 60),
            size: parseFloat(style.fontSize),
            contrast: (light + 0.05) / (dark + 0.05),
        });
    }
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) measure(texts.currentNode.parentElement, texts.currentNode.data);
    for (const field of document.querySelectorAll("input, textarea, select")) {
        measure(field, field.value);
    }
    return found;
}"""


@contextmanager
def open_page(browser: Browser, *, width: int, height: int) -> Iterator[Page]:
    """A page in a context of its own. At its end, no script may have raised an error."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def complaints(page: Page) -> list[str]:
    """What is wrong with the page as it is now: on a phone and wide, light and dark."""
    found: list[str] = []
    for width, least_size in LEAST_SIZE.items():
        page.set_viewport_size({"width": width, "height": 720})
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"at {width} px it is {wide} px wide")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            texts = page.evaluate(MEASURE)
            assert texts, "the page shows nothing"
            for text in texts:
                where = f"{text['text']!r} at {width} px, {scheme}"
                if text["contrast"] < LEAST_CONTRAST:
                    found.append(f"{where}: contrast {text['contrast']:.2f}")
                if text["size"] < least_size:
                    found.append(f"{where}: {text['size']:.1f} px small")
    return list(dict.fromkeys(found))
