"use strict";
// Texts are set as text, never as HTML: they are the user's and the model's.
const data = JSON.parse(document.getElementById("data").textContent);
const at = { path: 0, place: 0 };

function element(tag, name = "", ...inner) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...inner);
  return made;
}

// A token by its text; one that is the rest of a character has none.
function label(number) {
  const [id, text] = data.tokens[number];
  return text || `#${id}`;
}

function token(number) {
  const [id] = data.tokens[number];
  const made = element("span", "token", label(number));
  made.dir = "auto";
  made.title = `token ${id}`;
  return made;
}

function hue(wording) {
  return Math.round(210 + 137.508 * wording) % 360;
}

function stepNumber() {
  return data.paths[at.path].steps[at.place];
}

function go(path, place) {
  at.path = path;
  at.place = Math.max(0, Math.min(place, data.paths[path].steps.length - 1));
  draw();
}

function drawLines() {
  const lines = document.getElementById("lines");
  const rows = data.paths.map((path, p) => {
    const tokens = element("span", "tokens");
    path.steps.forEach((number, place) => {
      const button = element("button", "", label(path.tokens[place]));
      button.dir = "auto";
      button.classList.toggle("part", !data.steps[number].agree);
      button.dataset.step = number;
      button.addEventListener("click", () => go(p, place));
      tokens.append(button);
    });
    return element("div", "path", element("span", "name", path.names.join(", ")), tokens);
  });
  lines.replaceChildren(...rows);
}

function markLines() {
  const number = stepNumber();
  document.querySelectorAll("#lines .path").forEach((row, p) => {
    row.querySelectorAll("button").forEach((button, place) => {
      const isHere = p === at.path && place === at.place;
      if (isHere) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
      button.classList.toggle("same", !isHere && Number(button.dataset.step) === number);
    });
  });
}

function candidate([number, prob], taken) {
  const made = element("span", "candidate", token(number), element("span", "prob", prob.toFixed(3)));
  made.style.setProperty("--p", prob);
  made.classList.toggle("taken", data.tokens[number][0] === data.tokens[taken][0]);
  return made;
}

function row(said, taken, here) {
  const made = element("tr", said.is_method ? "method" : "");
  const name = element("td");
  if (said.wording !== undefined) {
    const swatch = element("span", "swatch");
    swatch.style.setProperty("--hue", hue(said.wording));
    name.append(swatch);
  }
  name.append(said.name);
  const likeliest = element("div", "likeliest", ...said.top.map((one) => candidate(one, taken)));
  if (!said.top.length) likeliest.append(element("span", "error", "not finite"));
  const numbers = ["entropy", "margin"].map((label) => {
    const cell = element("td", "number", said[label]);
    cell.dataset.label = label;
    return cell;
  });
  const ahead = element("td", "ahead");
  ahead.dataset.label = "goes on";
  if (said.ahead) {
    const text = element("span", "token", said.ahead.map((number) => data.tokens[number][1]).join(""));
    text.dir = "auto";
    ahead.append(text);
  }
  if (said.why && !here.has(said.name)) ahead.append(element("span", "faint small", said.why));
  made.append(name, element("td", "", likeliest), ...numbers, ahead);
  return made;
}

function drawStep() {
  const path = data.paths[at.path], step = data.steps[stepNumber()];
  const taken = path.tokens[at.place], here = new Set(step.taken.map(([method]) => method));
  const back = element("button", "", "back"), on = element("button", "", "on");
  back.id = "back";
  on.id = "on";
  back.disabled = at.place === 0;
  on.disabled = at.place === path.steps.length - 1;
  back.addEventListener("click", () => go(at.path, at.place - 1));
  on.addEventListener("click", () => go(at.path, at.place + 1));
  const behind = element("span", "token", step.behind);
  behind.dir = "auto";
  const heading = element("h3", "", `Step ${at.place + 1} of ${path.steps.length}, behind `, behind);
  const reasons = step.taken.map(([method, number, prob, why]) => element(
    "li", "", element("strong", "", method), " took ", token(number), ` (${prob.toFixed(3)}): ${why}`,
  ));
  const agreement = element("p", step.agree ? "faint" : "", step.agreement);
  agreement.id = "agreement";
  const names = ["", "likeliest tokens", "entropy", "margin", `goes on alone (up to ${data.ahead} tokens)`];
  const header = element("tr", "", ...names.map((name, n) => element("th", n === 2 || n === 3 ? "number" : "", name)));
  const table = element(
    "table", "said", element("thead", "", header),
    element("tbody", "", ...step.rows.map((said) => row(said, taken, here))),
  );
  const focused = document.activeElement?.id;
  document.getElementById("step").replaceChildren(
    element("div", "move", heading, element("span", "", back, on)),
    element("ul", "", ...reasons), agreement, table,
  );
  // The buttons are new ones: whoever pressed one by a key shall not lose the place.
  const again = [back, on].find((button) => button.id === focused);
  if (again) (again.disabled ? document.querySelector("#lines [aria-current]") : again).focus();
}

function draw() {
  markLines();
  drawStep();
}

function drawParts() {
  const withIds = document.getElementById("ids").getAttribute("aria-pressed") === "true";
  document.querySelectorAll("#parts details[open]").forEach((details) => {
    const part = data.parts[Number(details.dataset.part)];
    const tokens = element("div", "tokens-of-part", ...part.tokens.map((number) => {
      const made = token(number), [id, , isSpecial] = data.tokens[number];
      made.classList.toggle("special", isSpecial === 1);
      if (withIds) made.append(element("small", "", String(id)));
      return made;
    }));
    details.querySelector(".tokens-of-part")?.remove();
    details.append(tokens);
  });
}

function listParts() {
  const parts = data.parts.map((part, number) => {
    const summary = element("summary", "", `${part.name}: ${part.tokens.length} tokens`);
    const details = element("details", "", summary);
    details.dataset.part = number;
    details.addEventListener("toggle", drawParts);
    return details;
  });
  document.getElementById("parts").replaceChildren(...parts);
  document.getElementById("ids").addEventListener("click", (event) => {
    const pressed = event.target.getAttribute("aria-pressed") !== "true";
    event.target.setAttribute("aria-pressed", String(pressed));
    drawParts();
  });
}

listParts();
if (data.paths.length) {
  drawLines();
  draw();
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowRight") go(at.path, at.place + 1);
    if (event.key === "ArrowLeft") go(at.path, at.place - 1);
  });
}
