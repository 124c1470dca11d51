"""What a page looks like, as numbers: contrast of every text, and whether the page scrolls sideways."""

from __future__ import annotations

from typing import Any

# Contrast as WCAG 2.2 defines it, of each element that has text of its own, against what is really behind it: colours
# with alpha are laid over each other. Elements that nobody sees are left out.
CONTRASTS = """() => {
  const parse = (colour) => {
    const part = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: part.slice(0, 3), alpha: part.length > 3 ? part[3] : 1 };
  };
  const over = (top, alpha, below) => top.map((value, at) => value * alpha + below[at] * (1 - alpha));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer.rgb, layer.alpha, below), [255, 255, 255]);
  };
  const found = [];
  for (const element of document.querySelectorAll("body, body *")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(" ");
    const text = element.matches("input") ? element.placeholder : own.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest("script, style, title, .unseen, .skip:not(:focus)")) continue;
    const style = getComputedStyle(element, element.matches("input") ? "::placeholder" : null);
    const ink = parse(element.closest("svg") ? style.fill : style.color);
    let alpha = ink.alpha;
    for (let at = element; at; at = at.parentElement) alpha *= Number(getComputedStyle(at).opacity);
    const paper = behind(element.closest("svg") ? element.closest("svg") : element);
    const pair = [light(over(ink.rgb, alpha, paper)), light(paper)].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), text.slice(0, 60)]);
  }
  return found;
}"""


def contrasts(opened: Any) -> list[tuple[float, str]]:
    """(ratio, text) of every text that can be seen."""
    found: list[tuple[float, str]] = opened.page.evaluate(CONTRASTS)
    assert len(found) > 20, "the page has texts"
    return found


def sideways(opened: Any) -> bool:
    """Whether the page itself scrolls to the side."""
    return bool(opened.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
