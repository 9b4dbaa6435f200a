// All samples: as thumbnails, sorted by a statistic, and as a table.

const gallery = element("gallery");
const columnOf = (key) => D.columns.find((column) => column.key === key);

function valueOf(column, k) {
  const value = column.values[k];
  if (column.key === "seed_class") return D.classes[value];
  return column.key === "distance" ? distanceText(value) : format(value, column.digits);
}

// The samples in the chosen order; samples of equal values stay in the order of their indices.
function sorted() {
  const column = columnOf(state.sort);
  const ks = Array.from({ length: COUNT }, (_, k) => k);
  const by = column ? (k) => column.values[k] : (k) => k;
  const sign = state.descending ? -1 : 1;
  return ks.sort((a, b) => sign * (by(a) - by(b)) || a - b);
}

const thumbs = Array.from({ length: COUNT }, (_, k) => {
  const image = make("canvas", { width: W, height: H, "aria-hidden": "true" });
  const caption = make("span", {});
  const option = make("div", { className: "thumb", role: "option", tabIndex: -1 }, image, caption);
  option.dataset.sample = k;
  option.addEventListener("click", () => choose(k));
  return { option, image, caption };
});

const rows = Array.from({ length: COUNT }, (_, k) => {
  const button = make("button", { type: "button", "aria-label": `Look at sample ${k}` }, String(k));
  const numbers = D.columns.map((column) => make("td", {}, valueOf(column, k)));
  const row = make("tr", {}, make("th", { scope: "row" }, button), ...numbers);
  row.dataset.sample = k;
  row.addEventListener("click", () => choose(k));
  return row;
});

function choose(k) {
  stop();
  set({ k, source: null, sourcePinned: false, candidate: null });
}

function neighbour(offset) {
  const ks = sorted();
  return ks[Math.min(Math.max(ks.indexOf(state.k) + offset, 0), COUNT - 1)];
}

gallery.addEventListener("keydown", (event) => {
  const across = getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
  const offsets = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -COUNT, End: COUNT };
  const offset = offsets[event.key];
  if (offset === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const k = neighbour(offset);
  choose(k);
  thumbs[k].option.focus();
});

function arrange() {
  const ks = sorted();
  const column = columnOf(state.sort);
  gallery.replaceChildren(...ks.map((k) => thumbs[k].option));
  element("table").tBodies[0].replaceChildren(...ks.map((k) => rows[k]));
  for (const k of ks) {
    thumbs[k].caption.textContent = column ? valueOf(column, k) : k;
    const fact = column ? `, ${column.name} ${valueOf(column, k)} ${column.unit}` : "";
    thumbs[k].option.setAttribute("aria-label", `Sample ${k}${fact}`);
  }
  element("sort").value = state.sort;
  const direction = element("direction");
  direction.textContent = state.descending ? "↓" : "↑";
  const [now, then] = state.descending ? ["Descending", "ascending"] : ["Ascending", "descending"];
  direction.setAttribute("aria-label", `${now}; switch to ${then}`);
  for (const head of element("table").tHead.querySelectorAll("th")) {
    const own = head.dataset.key === state.sort;
    head.setAttribute("aria-sort", own ? (state.descending ? "descending" : "ascending") : "none");
  }
}

function markSample() {
  for (let k = 0; k < COUNT; k++) {
    thumbs[k].option.setAttribute("aria-selected", String(k === state.k));
    thumbs[k].option.tabIndex = k === state.k ? 0 : -1;
    rows[k].classList.toggle("current", k === state.k);
  }
}

element("sort").addEventListener("change", () => {
  const sort = element("sort").value;
  set({ sort, descending: sort !== "" });
});
element("direction").addEventListener("click", () => set({ descending: !state.descending }));
for (const head of element("table").tHead.querySelectorAll("th")) {
  head.querySelector("button").addEventListener("click", () => {
    const own = head.dataset.key === state.sort;
    set({ sort: head.dataset.key, descending: own ? !state.descending : head.dataset.key !== "" });
  });
}

const means = D.columns.map(({ key, values, digits }) => {
  const mean = values.reduce((a, b) => a + b, 0) / COUNT;
  return make("td", {}, key === "seed_class" ? "" : format(mean, digits));
});
element("table").tFoot.append(make("tr", {}, make("th", { scope: "row" }, "mean"), ...means));

// Each statistic of the current sample, on a strip with one tick per sample.
function renderStrips() {
  const parts = D.columns.filter((column) => column.key !== "seed_class").map((column) => {
    const strip = make("canvas", { "aria-hidden": "true" });
    const low = Math.min(...column.values), high = Math.max(...column.values);
    const context = sized(strip, 150, 12);
    const place = (value) => 2 + (high > low ? (value - low) / (high - low) : 0.5) * 146;
    context.fillStyle = theme("--strong");
    context.globalAlpha = 0.6;
    for (const value of column.values) context.fillRect(place(value) - 0.5, 3, 1, 7);
    context.globalAlpha = 1;
    context.fillStyle = theme("--mark");
    context.fillRect(place(column.values[state.k]) - 1.25, 0, 2.5, 12);
    const value = [valueOf(column, state.k), make("span", {}, ` ${column.unit}`)];
    return make("div", {}, make("dt", {}, column.name), make("dd", {}, ...value, strip));
  });
  element("strips").replaceChildren(...parts);
}

on(["k", "theme"], renderStrips);
on(["map"], () => thumbs.forEach(({ image }, k) => image.getContext("2d").putImageData(paint(k, state.map), 0, 0)));
on(["sort", "descending"], arrange);
on(["k", "sort", "descending"], markSample);
