"use strict";
const cases = [...document.querySelectorAll(".case")];
const buttons = [...document.querySelectorAll(".filters button")];
const search = document.querySelector("input[type=search]");
const none = document.querySelector(".none");
let state = "";

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of cases) {
    const fits = !state || item.dataset.states.split(" ").includes(state);
    item.hidden = !(fits && words.every((word) => item.dataset.found.includes(word)));
    shown += !item.hidden;
  }
  none.hidden = shown > 0;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    state = button.dataset.state;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
}
search.addEventListener("input", show);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === search) {
    if (event.key === "Escape") { search.value = ""; show(); search.blur(); }
    return;
  }
  if (event.key === "/") { event.preventDefault(); search.focus(); return; }
  const step = { j: 1, k: -1 }[event.key];
  if (!step) return;
  const there = cases.filter((item) => !item.hidden);
  const at = there.findIndex((item) => item.contains(document.activeElement));
  const next = there[at < 0 ? (step > 0 ? 0 : there.length - 1) : at + step];
  if (next) next.querySelector("summary").focus();
});

document.querySelector(".tools").hidden = false;
document.querySelector(".keys").hidden = false;
