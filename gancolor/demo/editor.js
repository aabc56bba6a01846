// The hint editor. Python sets `props.value` to {file, name, system, options, size: [height, width],
// variants}, and gets it back with `hints` after each change. Hints are in the photograph's own pixels, as in the JSON files.

const part = selector => element.querySelector(selector);
const stage = part(".stage"), picture = part("img"), palette = part(".palette"), swatches = part(".swatches");
const any = part(".any input"), said = part(".said"), fileInput = part("input[type=file]");
const HELP = said.textContent;
const TALLEST = 600; // of the picture, in pixels
const STEP = 0.01; // of the picture's side, by an arrow key

let given = {}; // what Python set
let hints = [], past = [], future = [];
let chosen = null; // the number of the chosen hint
let pending = null; // a place that has no colour yet: {x, y}
let running = false, waiting = false, stale = false, dragging = false;
let suggestions = 0; // number of requests for suggestions so far

const tell = (text, error = false) => {
  said.textContent = text;
  said.classList.toggle("error", error);
};
const visible = () => element.offsetParent !== null;

// Call a function on the server. Failures become {error}; an answer for another photograph or system becomes null.
async function ask(name, more = {}) {
  const {file, system, options} = given;
  let answer;
  try {
    answer = await server[name]({file, system, options, hints, ...more});
  } catch {
    answer = {error: "The server does not answer. Reload the page."};
  }
  if (file !== given.file || system !== given.system) return null;
  if (answer.error) tell(answer.error, true);
  return answer;
}

// Changes ------------------------------------------------------------------------------------------------------------

function change(next, {remember = true} = {}) {
  if (remember) {
    past.push(hints);
    future = [];
  }
  hints = next;
  draw();
  publish();
}

function publish() {
  props.value = JSON.stringify({...given, hints});
  trigger("input");
  refresh();
}

function travel(from, to) {
  to.push(hints);
  hints = from.pop();
  choose(null);
  publish();
}

// Pictures: one request at a time, then the newest state, if it has changed meanwhile ------------------------------------

async function refresh() {
  if (!given.file) return;
  if (!visible()) return void (stale = true);
  if (running) return void (waiting = true);
  running = true;
  stale = false;
  stage.classList.add("busy");
  const shown = hints, answer = await ask("colour");
  running = false;
  stage.classList.remove("busy");
  if (waiting) {
    waiting = false;
    return refresh();
  }
  if (!answer || answer.error) return;
  picture.src = answer.picture;
  await picture.decode().catch(() => {});
  element.dataset.shown = JSON.stringify(shown); // for tests
  draw();
}

async function suggest(place) {
  const number = ++suggestions;
  swatches.replaceChildren();
  const answer = await ask("suggest", {x: place.x, y: place.y});
  if (!answer || answer.error || number !== suggestions) return;
  swatches.replaceChildren(...answer.colours.map(color => {
    const button = document.createElement("button");
    button.type = "button";
    button.style.background = button.title = color;
    button.setAttribute("aria-label", color);
    button.addEventListener("click", () => paint(color));
    return button;
  }));
}

async function vary() {
  const place = part(".variants");
  tell("Looking for other colours.");
  const answer = await ask("variants");
  if (!answer || answer.error) return;
  place.replaceChildren(...answer.variants.map((variant, number) => {
    const button = document.createElement("button"), image = new Image();
    button.type = "button";
    button.setAttribute("aria-label", number ? `colours ${number + 1}` : "automatic colours");
    image.src = variant.picture;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => {
      choose(null);
      change(variant.hints);
    });
    return button;
  }));
  place.hidden = false;
  tell(answer.variants.length > 1 ? HELP : "There are no other plausible colours.");
}

// Dots -----------------------------------------------------------------------------------------------------------------

function draw() {
  if (dragging) return; // a new dot would end the drag
  const dots = [...stage.querySelectorAll(".dot")], at = document.activeElement, focused = dots.indexOf(at);
  dots.forEach(dot => dot.remove());
  hints.forEach((hint, number) => stage.append(makeDot(hint, number)));
  if (pending) stage.append(makeDot(pending, null));
  part("[data-do=undo]").disabled = !past.length;
  part("[data-do=redo]").disabled = !future.length;
  part("[data-do=clear]").disabled = part("[data-do=save]").disabled = !hints.length;
  palette.hidden = chosen === null && !pending;
  part("[data-do=remove]").hidden = chosen === null;
  const rest = [...stage.querySelectorAll(".dot")], lost = at.disabled || palette.hidden && palette.contains(at);
  const next = focused >= 0 ? rest[focused] ?? rest.at(-1) ?? stage : element.contains(at) && lost && stage;
  if (next) next.focus({preventScroll: true}); // keys are only heard while the focus is in the editor
}

function makeDot(hint, number) {
  const dot = document.createElement("button");
  const [height, width] = given.size;
  dot.type = "button";
  dot.className = "dot";
  dot.style.left = `${hint.x / width * 100}%`;
  dot.style.top = `${hint.y / height * 100}%`;
  if (number === null) {
    dot.classList.add("pending");
    dot.setAttribute("aria-label", "new hint");
    return dot;
  }
  dot.style.background = hint.color;
  dot.classList.toggle("chosen", number === chosen);
  dot.setAttribute("aria-label", `hint ${number + 1}, ${hint.color}`);
  dot.addEventListener("pointerdown", event => drag(event, dot, number));
  dot.addEventListener("keydown", event => press(event, number));
  return dot;
}

function choose(number) {
  chosen = number;
  pending = null;
  draw();
  if (number === null) return;
  any.value = hints[number].color;
  suggest(hints[number]);
}

function paint(color) {
  if (pending) {
    const place = pending;
    pending = null;
    chosen = hints.length;
    change([...hints, {...place, color}]);
  } else if (chosen !== null) {
    change(hints.map((hint, number) => number === chosen ? {...hint, color} : hint));
  }
  any.value = color;
  tell(HELP);
}

function remove(number) {
  chosen = null;
  change(hints.filter((_, other) => other !== number));
}

function moved(number, x, y) {
  const [height, width] = given.size, inside = (value, size) => Math.min(Math.max(Math.round(value), 0), size - 1);
  return hints.map((hint, other) => other === number ? {...hint, x: inside(x, width), y: inside(y, height)} : hint);
}

function drag(event, dot, number) {
  event.preventDefault();
  event.stopPropagation();
  dot.focus(); // which preventDefault has prevented
  const before = hints;
  let far = false;
  dragging = true;
  const follow = move => {
    if (!far && Math.hypot(move.clientX - event.clientX, move.clientY - event.clientY) < 4) return;
    far = true;
    const place = placeOf(move);
    hints = moved(number, place.x, place.y);
    dot.style.left = `${hints[number].x / given.size[1] * 100}%`;
    dot.style.top = `${hints[number].y / given.size[0] * 100}%`;
  };
  const end = () => {
    dot.removeEventListener("pointermove", follow);
    dragging = false;
    const after = hints;
    hints = before;
    if (far) change(after);
    choose(number);
  };
  dot.setPointerCapture(event.pointerId);
  dot.addEventListener("pointermove", follow);
  dot.addEventListener("pointerup", end, {once: true});
  dot.addEventListener("pointercancel", end, {once: true});
}

function press(event, number) {
  const [height, width] = given.size;
  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  if (event.key === "Enter" || event.key === " ") choose(number);
  else if (event.key === "Delete" || event.key === "Backspace") remove(number);
  else if (steps[event.key]) {
    const [across, down] = steps[event.key], hint = hints[number];
    change(moved(number, hint.x + across * STEP * width, hint.y + down * STEP * height));
  } else return;
  event.preventDefault();
}

function placeOf(event) {
  const box = picture.getBoundingClientRect(), [height, width] = given.size;
  const share = (value, start, size) => Math.min(Math.max((value - start) / size, 0), 1);
  return {
    x: Math.min(Math.floor(share(event.clientX, box.left, box.width) * width), width - 1),
    y: Math.min(Math.floor(share(event.clientY, box.top, box.height) * height), height - 1),
  };
}

picture.addEventListener("click", event => {
  if (!given.file) return;
  chosen = null;
  pending = placeOf(event);
  draw();
  suggest(pending);
});
any.addEventListener("change", () => paint(any.value));

// Files ----------------------------------------------------------------------------------------------------------------

function save() {
  const [height, width] = given.size;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify({width, height, hints}, null, 1)], {type: "application/json"}));
  link.download = `${given.name}.hints.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function load(file) {
  const answer = await ask("check", {text: await file.text()});
  if (!answer || answer.error) return;
  chosen = pending = null;
  change(answer.hints);
  tell(HELP);
}

fileInput.addEventListener("change", () => {
  if (fileInput.files.length && given.file) load(fileInput.files[0]);
  fileInput.value = "";
});

const actions = {
  undo: () => travel(past, future),
  redo: () => travel(future, past),
  clear: () => { chosen = null; change([]); },
  save,
  load: () => fileInput.click(),
  variants: vary,
  remove: () => remove(chosen),
};
element.querySelectorAll("[data-do]").forEach(button =>
  button.addEventListener("click", () => actions[button.dataset.do]()));
element.addEventListener("keydown", event => {
  if (event.key === "Escape" && (pending || chosen !== null)) choose(null);
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  const [from, to] = event.shiftKey ? [future, past] : [past, future];
  if (from.length) travel(from, to);
  event.preventDefault();
});

// Python ---------------------------------------------------------------------------------------------------------------

function receive() {
  const next = props.value ? JSON.parse(props.value) : {};
  if (next.file !== given.file || next.system !== given.system) part(".variants").hidden = true;
  if (next.file !== given.file) {
    hints = [];
    past = [];
    future = [];
    chosen = pending = null;
    picture.removeAttribute("src");
    tell(HELP);
  }
  given = {...next, hints: undefined};
  part("[data-do=variants]").hidden = !given.variants;
  if (given.file) {
    stage.style.maxWidth = `${TALLEST * given.size[1] / given.size[0]}px`;
    props.value = JSON.stringify({...given, hints}); // Python's value has no hints
    refresh();
  }
  draw();
}

watch("value", receive);
new IntersectionObserver(() => stale && refresh()).observe(element);
receive();
