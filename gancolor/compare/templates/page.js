"use strict";

const each = (root, selector, act) => root.querySelectorAll(selector).forEach(act);
document.documentElement.classList.add("scripted");

// Tables: a click on a heading sorts, another one turns the order round. What has no value stays last.

each(document, "table.sortable", (table) => {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.querySelector("tbody.ranked");
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        if (head.dataset.kind === "text") return cell.textContent.trim();
        return cell.dataset.value === undefined ? NaN : Number(cell.dataset.value);
      };
      body.append(...sorted([...body.rows], key, sign));
    });
  });
});

function sorted(items, key, sign) {
  const order = (one, other) => {
    if (typeof one === "string") return sign * one.localeCompare(other, undefined, { numeric: true });
    if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
    return sign * (one - other);
  };
  return items.map((item) => [item, key(item)]).sort((a, b) => order(a[1], b[1])).map(([item]) => item);
}

// Charts: a system that is pointed at, or chosen in the key, stands out in all of them; its figures are shown below.

each(document, ".comparison", (section) => {
  const charts = section.querySelector(".charts");
  if (!charts) return;
  let chosen = null;

  const show = (system) => {
    charts.classList.toggle("focused", system !== null);
    each(charts, "[data-system]", (mark) => mark.classList.toggle("on", mark.dataset.system === system));
  };
  const of = (event) => event.target.closest("[data-system]")?.dataset.system ?? null;

  const key = section.querySelector(".key");
  for (const type of ["pointerover", "focusin"]) key.addEventListener(type, (event) => show(of(event) ?? chosen));
  for (const type of ["pointerleave", "focusout"]) key.addEventListener(type, () => show(chosen));
  key.addEventListener("click", (event) => {
    const system = of(event);
    if (system === null) return;
    chosen = system === chosen ? null : system;
    each(key, "button", (button) => button.setAttribute("aria-pressed", button.dataset.system === chosen));
    show(chosen);
  });
  for (const type of ["pointerover", "click"]) {
    charts.addEventListener(type, (event) => {
      show(of(event) ?? chosen);
      const title = event.target.parentNode.querySelector?.(":scope > title") ?? event.target.querySelector("title");
      const readout = event.target.closest("figure")?.querySelector(".readout");
      if (readout) readout.textContent = of(event) && title ? title.textContent.replaceAll("\n", " · ") : "";
    });
  }
  charts.addEventListener("pointerleave", () => show(chosen));
});

// Pictures: figures, order, and any two of them with a divider.

each(document, ".gallery", (gallery) => {
  const { metrics, scores } = JSON.parse(gallery.querySelector(".scores").textContent);
  const list = gallery.querySelector(".photographs");
  const listed = [...list.children];
  const [metric, order, system] = ["metric", "order", "system"].map((name) => gallery.querySelector(`select.${name}`));
  gallery.querySelector(".controls").hidden = false;

  const index = () => metrics.findIndex((kind) => kind.name === metric.value);
  const value = (item, number) => scores[item.dataset.photograph][number][index()] ?? NaN;
  const figure = (item, number) => {
    const found = value(item, number);
    return Number.isNaN(found) ? "–" : found.toFixed(metrics[index()].digits).replace("-", "−");
  };

  function arrange() {
    const { better } = metrics[index()];
    order.options[1].textContent = better === "neither" ? "least first" : "worst first";
    order.options[2].textContent = better === "neither" ? "most first" : "best first";
    system.disabled = order.value === "listed";
    const up = (order.value === "worst") === (better !== "less");
    const items = order.value === "listed"
      ? listed : sorted(listed, (item) => value(item, Number(system.value)), up ? 1 : -1);
    list.append(...items);
    each(list, "figure", (tile) => {
      tile.querySelector(".figure").textContent = figure(tile.closest("li"), Number(tile.dataset.system));
    });
  }
  for (const select of [metric, order, system]) select.addEventListener("change", arrange);
  arrange(); // a browser may have kept the choices over a reload

  list.addEventListener("click", (event) => {
    const tile = event.target.closest("figure");
    if (tile) openViewer(tile, (item, number) => {
      return Number.isNaN(value(item, number)) ? "" : `${metrics[index()].heading} ${figure(item, number)}`;
    });
  });
});

function openViewer(tile, figure) {
  const viewer = document.getElementById("viewer");
  const stage = viewer.querySelector(".stage");
  const range = stage.querySelector("input");
  const part = (side, kind) => viewer.querySelector(`${kind}.${side}`);
  const tiles = () => [...item.querySelectorAll("figure")];
  let item = tile.closest("li");

  const numbers = tiles().map((each) => each.dataset.system);
  const truth = numbers.at(-1);
  const left = tile.dataset.system === truth ? numbers.at(1) ?? truth : tile.dataset.system;
  for (const [side, number] of [["left", left], ["right", truth]]) {
    const options = tiles().map((each) => new Option(each.querySelector(".name").textContent, each.dataset.system));
    part(side, "select").replaceChildren(...options);
    part(side, "select").value = number;
    part(side, "select").onchange = draw;
  }

  function draw() {
    viewer.querySelector("h2").textContent = item.dataset.photograph;
    for (const side of ["left", "right"]) {
      const number = part(side, "select").value;
      const shown = tiles().find((each) => each.dataset.system === number);
      part(side, "img").src = shown.querySelector("img").src;
      part(side, "img").alt = `${item.dataset.photograph}: ${shown.querySelector(".name").textContent}`;
      part(side, "output").textContent = figure(item, Number(number));
    }
    viewer.querySelector(".previous").disabled = !item.previousElementSibling;
    viewer.querySelector(".next").disabled = !item.nextElementSibling;
  }
  const divide = () => stage.style.setProperty("--at", `${range.value}%`);
  const drag = (event) => {
    if (!event.buttons) return;
    const box = stage.getBoundingClientRect();
    range.value = 100 * (event.clientX - box.left) / box.width;
    divide();
  };
  const go = (other) => {
    if (other) item = other;
    draw();
  };

  range.value = 50;
  range.oninput = divide;
  stage.onpointermove = drag;
  stage.onpointerdown = (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  };
  viewer.querySelector(".previous").onclick = () => go(item.previousElementSibling);
  viewer.querySelector(".next").onclick = () => go(item.nextElementSibling);
  viewer.querySelector(".close").onclick = () => viewer.close();
  viewer.onclick = (event) => event.target === viewer && viewer.close(); // the backdrop
  draw();
  divide();
  viewer.showModal();
  range.focus();
}
