// The current pixel: its source image, the two windows, its numbers, its pool; and the sources of the sample.

const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Set the size of a canvas on the page, at the resolution of the screen, and clear it.
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
  context.imageSmoothingEnabled = false;
  return context;
}

// Stroke a path with a line that is visible on any colour.
function outline(context, drawPath, width = 1.5) {
  context.beginPath();
  drawPath(context);
  context.lineJoin = "round";
  for (const [colour, extra] of [["rgb(255 255 255 / 0.9)", 2], [theme("--mark"), 0]]) {
    context.strokeStyle = colour;
    context.lineWidth = width + extra;
    context.stroke();
  }
}

const box = (y, x, h, w, scale) => (context) => context.rect(x * scale, y * scale, w * scale, h * scale);

function clippedWindow(y, x, height, width) {
  const top = Math.max(0, y - HALF), left = Math.max(0, x - HALF);
  return [top, left, Math.min(height, y + HALF + 1) - top, Math.min(width, x + HALF + 1) - left];
}

// The address that is shown: that of a candidate while the pointer is on it, else that of the pixel's source.
function shownAddress() {
  const origin = originOf(state.k, state.pixel);
  return state.candidate || { s: origin.s, y: origin.y, x: origin.x };
}

function renderSource() {
  const { s, y, x } = shownAddress();
  const side = Math.min(176, element("source").parentElement.clientWidth || 176);
  const frame = frameOf(s), scale = Math.min(side / frame.w, side / frame.h);
  const canvas = element("source");
  const context = sized(canvas, frame.w * scale, frame.h * scale);
  drawSource(context, s, frame, { y: 0, x: 0, h: frame.h * scale, w: frame.w * scale });
  if (D.compared && stepOf[state.pixel] >= 0) {
    outline(context, box(...clippedWindow(y, x, frame.h, frame.w), scale), 1);
  }
  outline(context, box(y, x, 1, 1, scale), 2);
  const part = presentPart(s);
  const missing = part.absent ? ", not in this file" : part.whole ? "" : ", part";
  const kind = state.candidate ? "Candidate" : "Source";
  element("source-caption").textContent = `${kind} ${fullName(s)}${missing}`;
  canvas.setAttribute("aria-label", `${kind} image ${sources.id[s]}${missing}, with pixel y ${y}, x ${x} marked`);
}

// The window of known pixels around the current pixel when it was drawn, and the window of the source beside it.
function renderWindows() {
  const step = stepOf[state.pixel];
  const compared = D.compared && step >= 0;
  document.querySelector(".pair").hidden = !compared;
  if (!compared) return;
  const side = 2 * HALF + 1;
  const cell = Math.max(1, Math.floor(82 / side));
  const here = sized(element("here"), cell * side, cell * side);
  const there = sized(element("there"), cell * side, cell * side);
  drawWindow(there, shownAddress(), cell);
  there.fillStyle = theme("--veil");
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < side; j++) {
      const y = Math.floor(state.pixel / W) + i - HALF, x = state.pixel % W + j - HALF;
      const inside = y >= 0 && x >= 0 && y < H && x < W;
      if (inside && knownBefore(y * W + x, step)) {
        const value = grownValueAt(state.k, y * W + x);
        here.fillStyle = `rgb(${C === 3 ? value : [value, value, value]})`;
        here.fillRect(j * cell, i * cell, cell, cell);
      } else if (i !== HALF || j !== HALF) {
        there.fillRect(j * cell, i * cell, cell, cell);
      }
    }
  }
  for (const context of [here, there]) outline(context, box(HALF, HALF, 1, 1, cell), 1.5);
}

function renderFacts() {
  const { k, pixel } = state;
  const origin = originOf(k, pixel);
  const y = Math.floor(pixel / W), x = pixel % W;
  const seed = origin.step < 0;
  element("pixel-title").textContent = `Pixel ${y}, ${x}`;
  element("fact-value").replaceChildren(swatch(valueAt(k, pixel)), valueAt(k, pixel).join(", "));
  element("fact-step").textContent = seed ? "seed patch" : `${format(origin.step + 1)} of ${format(STEPS)}`;
  element("fact-source").textContent = sources.id[origin.s];
  const shift = [origin.y - y, origin.x - x].map((d) => (d > 0 ? `+${d}` : d < 0 ? `−${-d}` : "0"));
  const shifted = make("span", { className: "dim" }, `shift ${shift.join(", ")}`);
  element("fact-place").replaceChildren(`${origin.y}, ${origin.x} `, shifted);
  if (sources.label) {
    element("fact-class").replaceChildren(swatch(D.class_colours[sources.label[origin.s]]), className(origin.s));
  }
  element("fact-distance").textContent = seed ? "–" : distanceText(origin.distance);
  element("fact-pool").textContent = seed ? "–" : format(origin.pool);
}

// The text for screen readers when the pixel is moved by keys.
function pixelSummary() {
  const { s, y, x, step } = originOf(state.k, state.pixel);
  const kind = step < 0 ? "seed patch" : `step ${step + 1}`;
  const label = sources.label ? `, class ${className(s)}` : "";
  const pixel = `${Math.floor(state.pixel / W)}, ${state.pixel % W}`;
  return `Pixel ${pixel}, ${kind}, from image ${sources.id[s]} at ${y}, ${x}${label}`;
}

function renderPool() {
  if (state.playing) return; // it would change too fast to be read
  const found = candidatesOf(state.k, state.pixel);
  element("pool-note").replaceChildren(...poolNote(found));
  element("pool").replaceChildren(...(found ? found.list.map(candidateRow) : []));
}

function poolNote(found) {
  const { k, pixel } = state;
  const total = originOf(k, pixel).pool;
  if (stepOf[pixel] < 0) return [`The seed patch was not drawn: it is a patch of image ${sources.id[anchor[k]]}.`];
  const before = sourceBeforeCuts(k, pixel);
  const cut = before ? `Drawn from image ${sources.id[before.s]} at ${before.y}, ${before.x}; the cuts changed it. ` : "";
  if (found) {
    const shown = found.list.length < total ? `${found.list.length} of ${format(total)}` : format(total);
    const noun = total === 1 ? "candidate" : "candidates";
    return [`${cut}${shown} ${noun}; the drawn value had probability ${percent(found.valueProbability)}.`];
  }
  const stored = Object.keys(D.pools);
  const command = make("code", {}, `npgen explain RUN ${k} ${Math.floor(pixel / W)} ${pixel % W}`);
  const note = stored.length ? `Pools are stored for samples ${stored.join(", ")}. ` : "No pools are stored here. ";
  return [cut + note, command, " shows this one."];
}

// Call `begin` when the pointer or the focus enters a row, and `end` when it leaves.
function whilePointedAt(row, begin, end) {
  for (const event of ["pointerenter", "focus"]) row.addEventListener(event, begin);
  for (const event of ["pointerleave", "blur"]) row.addEventListener(event, end);
}

function candidateRow(one) {
  const thumb = make("canvas", { "aria-hidden": "true" });
  const cell = 30 / (2 * HALF + 1);
  const context = sized(thumb, 30, 30);
  drawWindow(context, one, cell);
  outline(context, box(HALF, HALF, 1, 1, cell), 1);
  const place = make("span", { className: "dim place" }, `at ${one.y}, ${one.x}`);
  const row = make("button", { type: "button", className: one.drawn ? "row drawn" : "row" }, thumb,
    make("span", { className: "name" }, fullName(one.s), place),
    make("span", { className: "number" }, distanceText(one.distance)),
    make("span", { className: "number" }, percent(one.probability)),
    make("span", { className: "tag" }, one.drawn ? "drawn" : ""));
  row.dataset.source = sources.id[one.s];
  whilePointedAt(row, () => set({ candidate: one }), () => set({ candidate: null }));
  return make("li", { value: one.rank + 1 }, row);
}

let allSources = false;
// Number of sources in the short list.
const FEW = 24;

function renderSources() {
  const shares = sharesOf(state.k);
  element("sources-facts").textContent = `${format(shares.length)} images`;
  const shown = allSources ? shares : shares.slice(0, FEW);
  const most = shares[0].pixels;
  element("sources").replaceChildren(...shown.map(({ s, pixels }) => make("li", {}, sourceRow(s, pixels, most))));
  element("more").hidden = shares.length <= FEW;
  element("more").textContent = allSources ? "Show fewer" : `Show all ${format(shares.length)}`;
}

function sourceRow(s, pixels, most) {
  const thumb = make("canvas", { "aria-hidden": "true" });
  const frame = frameOf(s), scale = Math.min(30 / frame.h, 30 / frame.w);
  const to = { y: 0, x: 0, h: frame.h * scale, w: frame.w * scale };
  drawSource(sized(thumb, to.w, to.h), s, frame, to);
  const bar = make("span", { className: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", pixels / most);
  const row = make("button", { type: "button", className: "row" }, thumb,
    make("span", { className: "name" }, fullName(s), bar),
    make("span", { className: "number", title: `${format(pixels)} pixels` }, percent(pixels / AREA)));
  Object.assign(row.dataset, { place: s, source: sources.id[s] });
  const light = (source) => () => { if (!state.sourcePinned) set({ source }); };
  whilePointedAt(row, light(s), light(null));
  row.addEventListener("click", () => {
    const again = state.sourcePinned && state.source === s;
    set({ source: again ? null : s, sourcePinned: !again });
  });
  return row;
}

function markSource() {
  const current = originOf(state.k, state.pixel).s;
  for (const row of element("sources").querySelectorAll("button")) {
    const s = Number(row.dataset.place);
    row.setAttribute("aria-pressed", String(state.sourcePinned && state.source === s));
    row.classList.toggle("current", s === current);
  }
}

element("more").addEventListener("click", () => {
  allSources = !allSources;
  renderSources();
  markSource();
});

on(["k", "pixel"], () => { state.candidate = null; }); // the candidate's row is replaced
on(["k", "pixel", "candidate", "theme"], renderSource);
on(["k", "pixel", "candidate", "theme"], renderWindows);
on(["k", "pixel"], renderFacts);
on(["k", "pixel", "playing"], renderPool);
on(["k"], renderSources);
on(["k", "pixel", "source", "sourcePinned"], markSource);
