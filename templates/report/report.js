"use strict";
const cases = [...document.querySelectorAll(".case")];
const buttons = [...document.querySelectorAll(".filters button")];
const search = document.querySelector("input[type=search]");
const every = document.querySelector(".every");
const texts = new Map();
const MOST_FOUND = 2000;
let state = "";

// What the search looks in is read out of the page when it is first needed, and so is said only once in the file.
const plain = (text) => text.normalize("NFKC").toLowerCase();
const places = (item) => [...item.querySelectorAll(".id, .question, .text, .tags span")];
function textOf(item) {
  if (!texts.has(item)) texts.set(item, plain(places(item).map((place) => place.textContent).join(" ")));
  return texts.get(item);
}

const shown = () => cases.filter((item) => !item.hidden);

function show() {
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  for (const item of cases) {
    const fits = !state || item.dataset.states.split(" ").includes(state);
    item.hidden = !(fits && words.every((word) => textOf(item).includes(word)));
  }
  const left = shown().length;
  document.querySelector(".none").hidden = left > 0;
  document.querySelector(".count").textContent =
    left === cases.length ? `${left} ${left === 1 ? "case" : "cases"}` : `${left} of ${cases.length} cases`;
  colour(words);
}

// Marks what was found without touching the text (CSS Custom Highlight API); a browser that lacks it still filters.
function colour(words) {
  if (!window.Highlight || !CSS.highlights) return;
  CSS.highlights.delete("found");
  if (!words.length) return;
  const ranges = [];
  for (const item of shown()) {
    for (const place of places(item)) {
      const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue;
        for (const word of words) {
          for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
            const range = new Range();
            range.setStart(node, at);
            range.setEnd(node, at + word.length);
            if (ranges.push(range) >= MOST_FOUND) break;
          }
        }
      }
      if (ranges.length >= MOST_FOUND) break;
    }
    if (ranges.length >= MOST_FOUND) break;
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

function move(step) {
  const there = shown();
  const at = there.findIndex((item) => item.contains(document.activeElement));
  const next = there[at < 0 ? (step > 0 ? 0 : there.length - 1) : at + step];
  if (next) next.querySelector("summary").focus();
}

function openAll(open) {
  for (const item of shown()) item.open = open;
  every.setAttribute("aria-pressed", String(open));
  every.textContent = open ? "Close all" : "Open all";
}

// A box of text that scrolls can be reached by keyboard; one that does not is no stop on the way.
function reachable(root) {
  const long = [...root.querySelectorAll(".text")].filter((box) => box.scrollHeight > box.clientHeight);
  for (const box of long) box.tabIndex = 0;
}

function arrive() {
  const item = document.getElementById(location.hash.slice(1));
  if (!item || !item.matches(".case")) return;
  item.hidden = false;
  item.open = true;
  item.scrollIntoView();
}

if (search) {
  for (const button of buttons) {
    button.addEventListener("click", () => {
      state = button.dataset.state;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  search.addEventListener("input", show);
  every.addEventListener("click", () => openAll(every.getAttribute("aria-pressed") !== "true"));
  document.addEventListener("toggle", (event) => { if (event.target.open) reachable(event.target); }, true);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Escape") { search.value = ""; show(); search.blur(); }
      if (event.key === "Enter") move(1);
      return;
    }
    if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); return; }
    const onCase = event.target.matches(".case > summary");
    const step = { j: 1, k: -1, ...(onCase && { ArrowDown: 1, ArrowUp: -1 }) }[event.key];
    if (step) { event.preventDefault(); move(step); }
  });

  // On paper there is nothing to open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });

  addEventListener("hashchange", arrive);
  document.querySelector(".tools").hidden = false;
  document.querySelector(".above").hidden = false;
  show();
  for (const item of cases) if (item.open) reachable(item);
  arrive();
}
