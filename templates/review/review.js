"use strict";
// What models and suites said is only ever text here: it goes into the page as text nodes, never as HTML.
const token = new URLSearchParams(location.search).get("token") || "";
const at = (id) => document.getElementById(id);
const PLACES = ["A", "B"];
const WORDS = { accept: "accepted", edit: "edited", reject: "rejected" };

let state = { cases: "", done: 0 };
let current = null; // the case that is shown, as the server told it
let mine = null; // what this reader says of it, as it is shown
let active = "A"; // the answer that a, e and r are for
let editing = ""; // the answer whose text is being edited
let moving = false; // between two cases keys are kept for the next one
const waiting = [];

async function call(path, body) {
  const options = { headers: { "X-Ggship-Token": token } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
    options.keepalive = options.body.length < 30000; // what is said while the page closes is kept too
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The page's server does not answer, so this was not kept. Start ggship review again: all that was shown as kept is.");
  }
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

// One thing after the other, so that what was said last is what is kept.
let line = Promise.resolve();
function inTurn(work) {
  line = line.then(work).then(() => { at("alert").hidden = true; }, async (error) => {
    complain(error.message);
    moving = false;
    waiting.length = 0;
    if (current) await again();
  });
  return line;
}

// What could not be kept must not look as if it were.
async function again() {
  try {
    await show(current.number);
  } catch {
    mine = structuredClone(current.mine);
    drawMine();
  }
}

function complain(words) {
  at("alert").textContent = words;
  at("alert").hidden = false;
}

function tell(words) { at("live").textContent = words; }

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function fill(target, shown) {
  target.textContent = "";
  for (const [text, odd] of shown.pieces) {
    target.append(odd ? element("span", "odd", text) : document.createTextNode(text));
  }
  if (!shown.pieces.length) target.append(element("span", "nothing", "nothing"));
  if (shown.left_out) target.append(element("p", "soft", `${shown.left_out} more characters are in the report.`));
}

function places() { return current ? PLACES.slice(0, current.answers.length) : []; }

// What is on the page

function drawState() {
  const total = state.cases.length;
  at("subject").textContent = state.subject;
  at("reviewer").textContent = state.reviewer;
  document.title = `${state.done} of ${total}: review of ${state.subject}`;
  at("count").textContent = `${state.done} of ${total}`;
  at("bar").style.width = `${(100 * state.done) / Math.max(1, total)}%`;
  const bar = document.querySelector(".progress");
  bar.setAttribute("aria-valuemax", total);
  bar.setAttribute("aria-valuenow", state.done);
  at("undo").disabled = !state.can_undo;
  at("open").disabled = state.done === total;
  at("done").hidden = state.done < total;
  at("done-title").textContent = state.revealed ? "What people found" : `All ${total} judged. Thank you.`;
  at("done-words").textContent = state.revealed
    ? "You have seen whose the answers are, so what you said is final."
    : "You can still go back and change your mind. Once you see whose the answers are, what you said is final.";
  at("reveal").hidden = state.revealed;
}

function drawCase() {
  at("case").hidden = false;
  at("place").textContent = `Case ${current.number + 1} of ${state.cases.length}`;
  at("id").textContent = current.id;
  const question = at("question");
  question.textContent = "";
  current.turns.forEach((turn, index) => {
    if (current.turns.length > 1) question.append(element("p", "role", turn.role));
    const words = element("div", index === current.turns.length - 1 ? "turn last" : "turn");
    words.dir = "auto";
    fill(words, turn);
    question.append(words);
  });
  const answers = at("answers");
  answers.textContent = "";
  answers.classList.toggle("one", current.answers.length === 1);
  places().forEach((place, index) => answers.append(answerCard(place, current.answers[index])));
  at("better").hidden = current.answers.length === 1;
  at("comment").value = mine.comment;
  drawMine();
}

function answerCard(place, shown) {
  const card = element("section", "answer");
  card.dataset.place = place;
  card.setAttribute("aria-label", current.answers.length === 1 ? "The answer" : `Answer ${place}`);
  const head = element("h3");
  if (current.answers.length > 1) head.append(element("span", "letter", place));
  if (current.alike) head.append(element("span", "", "Both gave this answer"));
  if (current.whose && !current.alike) head.append(element("span", "", current.whose[PLACES.indexOf(place)]));
  head.append(element("span", "best"));
  const text = element("div", "text");
  text.dir = "auto";
  text.tabIndex = 0;
  fill(text, shown);
  const edited = element("div", "edited");
  edited.dir = "auto";
  const marks = element("div", "marks");
  marks.setAttribute("role", "group");
  marks.setAttribute("aria-label", current.answers.length === 1 ? "This answer" : `Answer ${place}`);
  for (const [mark, key, words] of [["accept", "a", "Accept"], ["edit", "e", "Edit"], ["reject", "r", "Reject"]]) {
    const button = element("button", mark);
    button.type = "button";
    button.append(element("kbd", "", key), document.createTextNode(` ${words}`));
    button.addEventListener("click", () => { choose(place); mark === "edit" ? edit(place) : setMark(place, mark); });
    marks.append(button);
  }
  card.append(head, text, edited, marks);
  card.addEventListener("focusin", () => choose(place));
  text.addEventListener("click", () => choose(place));
  return card;
}

function drawMine() {
  for (const card of document.querySelectorAll(".answer")) {
    const place = card.dataset.place;
    card.classList.toggle("active", place === active && current.answers.length > 1);
    for (const button of card.querySelectorAll(".marks button")) {
      button.setAttribute("aria-pressed", String(mine.marks[place] === button.className));
      button.disabled = current.final;
    }
    const edited = card.querySelector(".edited");
    edited.hidden = mine.marks[place] !== "edit";
    edited.textContent = "";
    if (!edited.hidden) edited.append(element("b", "", "as you would have it"), document.createTextNode(mine.edits[place]));
    card.querySelector(".best").textContent = mine.prefer === place ? "the better one" : "";
  }
  for (const button of at("better").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(mine.prefer === button.dataset.prefer));
    button.disabled = current.final;
  }
  at("comment").disabled = current.final;
  const letter = state.cases[current.number];
  at("state").className = `chip ${letter}`;
  at("state").textContent = current.final ? "final" : { d: "judged", p: "begun" }[letter] || "";
}

function choose(place) {
  if (active === place) return;
  active = place;
  drawMine();
}

// What the reader says

function whole() {
  const marked = places().every((place) => mine.marks[place]);
  return marked && (places().length === 1 || mine.prefer !== null);
}

let unkept = 0;
function say(words) {
  const number = current.number;
  const said = { prefer: mine.prefer, marks: { ...mine.marks }, edits: { ...mine.edits }, comment: mine.comment };
  const leave = state.cases[number] !== "d" && whole();
  if (leave) moving = true;
  unkept += 1;
  drawMine();
  tell(words);
  inTurn(async () => {
    let kept;
    try {
      kept = await call(`/api/case/${number}`, said);
    } finally {
      unkept -= 1;
    }
    state = { ...state, ...kept.state };
    drawState();
    if (current.number === number) {
      current = kept.case;
      if (!unkept) mine = structuredClone(current.mine);
      drawMine();
    }
    if (leave) await onwards(number);
  });
}

async function onwards(number) {
  await new Promise((done) => setTimeout(done, 220)); // so that one sees what one said
  const open = nextOpen(number);
  if (open >= 0) await show(open);
  else { moving = false; window.scrollTo(0, 0); tell(`All ${state.cases.length} cases are judged.`); drawMine(); replay(); }
}

function nextOpen(from) {
  const total = state.cases.length;
  for (let step = 1; step <= total; step += 1) {
    const number = (from + step) % total;
    if (state.cases[number] !== "d") return number;
  }
  return -1;
}

function setMark(place, mark) {
  if (current.final) return;
  mine.marks = { ...mine.marks, [place]: mark };
  mine.edits = { ...mine.edits };
  delete mine.edits[place];
  const open = places().find((other) => !mine.marks[other]);
  if (open) active = open;
  say(places().length === 1 ? WORDS[mark] : `${place} ${WORDS[mark]}`);
}

function prefer(place) {
  if (current.final || places().length === 1) return;
  mine.prefer = place;
  say(place === "tie" ? "alike" : `${place} is better`);
}

async function edit(place) {
  if (current.final || editing) return;
  const number = current.number;
  editing = place;
  let words = mine.edits[place];
  try {
    if (words === undefined) words = (await call(`/api/answer/${number}/${place}`)).text;
  } catch (error) { editing = ""; complain(error.message); return; }
  if (current.number !== number) { editing = ""; return; }
  const card = document.querySelector(`.answer[data-place="${place}"]`);
  const box = element("div", "editing");
  const area = element("textarea");
  area.rows = Math.min(16, Math.max(4, Math.ceil(words.length / 50) + words.split("\n").length));
  area.maxLength = 200000;
  area.value = words;
  area.setAttribute("aria-label", "The answer as you would have it");
  const row = element("div");
  const save = element("button", "strong", "Save");
  const cancel = element("button", "", "Cancel");
  save.type = cancel.type = "button";
  const close = () => { box.remove(); card.querySelector(".text").hidden = false; editing = ""; };
  const keep = () => {
    const text = area.value;
    close();
    mine.marks = { ...mine.marks, [place]: "edit" };
    mine.edits = { ...mine.edits, [place]: text };
    const open = places().find((other) => !mine.marks[other]);
    if (open) active = open;
    say(places().length === 1 ? "edited" : `${place} edited`);
  };
  save.addEventListener("click", keep);
  cancel.addEventListener("click", close);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); close(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); keep(); }
  });
  row.append(save, cancel);
  box.append(area, row);
  card.querySelector(".text").hidden = true;
  card.querySelector(".text").after(box);
  area.focus();
}

let typed = 0;
function commented() {
  clearTimeout(typed);
  if (!current || current.final || at("comment").value.trim() === mine.comment.trim()) return;
  mine.comment = at("comment").value;
  say("comment kept");
}
at("comment").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(commented, 600); });
at("comment").addEventListener("change", commented);

// From case to case

async function show(number) {
  current = await call(`/api/case/${number}`);
  mine = structuredClone(current.mine);
  editing = "";
  active = places().find((place) => !mine.marks[place]) || "A";
  moving = false;
  drawState();
  drawCase();
  tell(`Case ${number + 1} of ${state.cases.length}`);
  replay();
}

function replay() {
  while (waiting.length && !moving) act(waiting.shift());
}

function go(step) {
  if (!current || editing) return;
  commented();
  const number = current.number + step;
  if (number < 0 || number >= state.cases.length) { tell(step > 0 ? "This is the last case." : "This is the first case."); return; }
  jump(number);
}

function jump(number) {
  moving = true;
  inTurn(() => show(number)).then(() => window.scrollTo(0, 0));
}

function undo() {
  if (!state.can_undo || editing) return;
  moving = true;
  inTurn(async () => {
    const back = await call("/api/undo", {});
    state = { ...state, ...back.state };
    await show(back.case.number);
    tell(`Taken back. Case ${back.case.number + 1}.`);
  });
}

at("previous").addEventListener("click", () => go(-1));
at("next").addEventListener("click", () => go(1));
at("open").addEventListener("click", openNext);
at("undo").addEventListener("click", undo);
function openNext() {
  const number = nextOpen(current.number);
  if (number >= 0 && !editing) { commented(); jump(number); }
}
for (const button of at("better").querySelectorAll("button")) {
  button.addEventListener("click", () => prefer(button.dataset.prefer));
}

function drawRows(rows) {
  at("rows").textContent = "";
  for (const [name, value] of rows) {
    const row = element("div");
    row.append(element("dt", "", name), element("dd", "", value));
    at("rows").append(row);
  }
  at("rows").hidden = false;
}

at("reveal").addEventListener("click", () => {
  inTurn(async () => {
    const told = await call("/api/reveal", {});
    state = { ...state, ...told.state };
    drawRows(told.rows);
    await show(current.number);
    await aboutChat();
    tell("Now you see whose the answers are.");
  });
});

// Keys

const KEYS = {
  1: () => prefer("A"), ArrowLeft: () => prefer("A"), 2: () => prefer("B"), ArrowRight: () => prefer("B"),
  0: () => prefer("tie"),
  a: () => setMark(active, "accept"), r: () => setMark(active, "reject"), e: () => edit(active),
  s: () => choose(places().find((place) => place !== active) || "A"),
  c: () => at("comment").focus(), u: undo, n: () => go(1), p: () => go(-1), o: openNext,
  t: () => toggleChat(at("chat").hidden), "?": () => at("help").showModal(),
};

function act(key) { KEYS[key](); }

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("help").open) return;
  const typing = event.target.closest("textarea, input");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!Object.hasOwn(KEYS, key) || event.repeat || !current) return;
  if (key.startsWith("Arrow") && event.target.closest(".log, .tools")) return;
  event.preventDefault();
  if (moving) waiting.push(key);
  else act(key);
});
at("comment").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { commented(); at("comment").blur(); }
});
at("help-open").addEventListener("click", () => at("help").showModal());
window.addEventListener("beforeunload", (event) => {
  if (editing) event.preventDefault();
  else commented();
});

// The chat: each conversation draws anew which model is the first one

let talk = null;
let asking = null;

function fresh() {
  if (asking) asking.abort();
  talk = { conversation: crypto.randomUUID(), turns: { A: [], B: [] } };
  at("log").textContent = "";
}

async function aboutChat() {
  const chat = (await call("/api/state")).chat;
  at("chat-note").textContent = !chat.can ? chat.why
    : chat.blind ? "Which one is whose is drawn anew for each conversation, as long as you judge blind."
    : "Both models, live.";
  at("words").disabled = at("send").disabled = !chat.can;
}

function toggleChat(open) {
  at("chat").hidden = !open;
  at("chat-open").setAttribute("aria-expanded", String(open));
  if (open && !talk) { fresh(); aboutChat().catch((error) => complain(error.message)); }
  if (open) at("words").focus();
  else at("chat-open").focus();
}

async function stream(place, into, signal) {
  const reply = await fetch("/api/chat", {
    method: "POST", signal,
    headers: { "X-Ggship-Token": token, "Content-Type": "application/json" },
    body: JSON.stringify({ conversation: talk.conversation, place, turns: talk.turns[place] }),
  });
  if (!reply.ok) throw new Error((await reply.json()).error);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let text = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const part of lines.map((each) => JSON.parse(each))) {
      if (part.error) throw new Error(part.error);
      if (part.done) ended = true;
      text += part.text || "";
    }
    into.textContent = text;
    at("log").scrollTop = at("log").scrollHeight;
  }
  if (!ended) throw new Error("The answer broke off.");
  return text;
}

async function ask(words) {
  const here = talk;
  asking = new AbortController();
  at("send").disabled = true;
  at("log").append(element("p", "said", words));
  const cards = {};
  for (const place of PLACES) {
    cards[place] = element("div", "reply open");
    cards[place].append(element("b", "", place === "A" ? "First" : "Second"), element("p"));
    cards[place].lastChild.dir = "auto";
    at("log").append(cards[place]);
  }
  at("log").scrollTop = at("log").scrollHeight;
  for (const place of PLACES) {
    talk.turns[place].push({ role: "user", content: words });
    try {
      const text = await stream(place, cards[place].lastChild, asking.signal);
      here.turns[place].push({ role: "assistant", content: text });
    } catch (error) {
      here.turns[place].pop();
      if (asking.signal.aborted) break;
      cards[place].classList.add("failed");
      cards[place].lastChild.textContent = error.message;
    }
    cards[place].classList.remove("open");
  }
  asking = null;
  at("send").disabled = false;
  tell("Both have answered.");
}

at("chat-open").addEventListener("click", () => toggleChat(at("chat").hidden));
at("chat-close").addEventListener("click", () => toggleChat(false));
at("chat-new").addEventListener("click", () => { fresh(); at("words").focus(); });
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = at("words").value.trim();
  if (!words || asking) return;
  at("words").value = "";
  ask(words);
});
at("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); at("ask").requestSubmit(); }
});

inTurn(async () => {
  state = await call("/api/state");
  const open = state.cases.search(/[^d]/);
  await show(Math.max(0, open));
  if (state.revealed) drawRows((await call("/api/rows")).rows);
});
