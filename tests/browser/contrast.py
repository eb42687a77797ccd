"""Whether every word of the gallery can be read: `from contrast import check_colours`."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Words and the colours that they stand on: every layer is painted onto one pixel, which is then read.
RATIOS = """(root) => {
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (layers) => {
    pixel.clearRect(0, 0, 1, 1);
    for (const layer of layers) { pixel.fillStyle = layer; pixel.fillRect(0, 0, 1, 1); }
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement ?? at.getRootNode().host)
      layers.unshift(getComputedStyle(at).backgroundColor);
    return paint(layers);
  };
  const idle = 'svg, [aria-disabled="true"], .spoken';
  const words = [];
  for (const element of root.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(idle) || !element.checkVisibility({ visibilityProperty: true })) continue;
    const ground = behind(element);
    const ink = paint([`rgb(${ground})`, getComputedStyle(element).color]);
    words.push([ratio(ink, ground), `${element.className}: ${element.textContent.slice(0, 30)}`]);
  }
  const current = root.querySelector(".card.current");
  const grid = root.querySelector(".grid");
  return { words, mark: ratio(paint([getComputedStyle(current).borderTopColor]), behind(grid)) };
}"""


def check_colours(page: Page) -> None:
    """Every word has a contrast of 4.5 to 1 and the mark of the image in focus 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11), and
    axe-core finds nothing wrong in the gallery."""
    page.wait_for_timeout(250)  # colours change smoothly
    found = page.locator("section.gallery").evaluate(RATIOS)
    assert len(found["words"]) > 60
    assert [word for word in found["words"] if word[0] < 4.5] == []
    assert found["mark"] >= 3
    result = Axe().run(page, context=".st-key-live_review", options={"resultTypes": ["violations"]})
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in result.response["violations"]] == []
