// The data of the page, unpacked, and the state of the view. Indices: pixel p = y·W + x; sample k; source s, in the
// page's list of images, the most used first; step, in the fill order.

const D = JSON.parse(document.getElementById("data").textContent);
const NUMBERS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

function unpack({ type, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new NUMBERS[type](bytes.buffer);
}

const unpackAll = (parts) => Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, unpack(part)]));

const [H, W, C] = D.shape;
const [SOURCE_H, SOURCE_W] = D.source_shape;
const AREA = H * W;
const COUNT = D.shown;
const HALF = (D.window - 1) / 2;
const order = unpack(D.order);
const STEPS = order.length;
const stepOf = new Int32Array(AREA).fill(-1); // −1 in the seed patch
order.forEach((p, step) => { stepOf[p] = step; });
const trace = unpackAll(D.trace);
const anchor = unpack(D.anchor);
const grown = D.grown ? unpackAll(D.grown) : null; // before the borders between sources were cut anew
const sources = {
  id: unpack(D.sources.id),
  label: D.sources.label && unpack(D.sources.label),
  colour: unpack(D.sources.colour),
  size: D.sources.size && unpack(D.sources.size),
  rect: unpack(D.sheets.rects),
};
const sheets = await Promise.all(D.sheets.uris.map(async (uri) => {
  const sheet = new Image();
  sheet.src = uri;
  await sheet.decode();
  return sheet;
}));

const unpackedPools = new Map();
function poolsOf(k) {
  if (!unpackedPools.has(k)) unpackedPools.set(k, D.pools[k] ? unpackAll(D.pools[k]) : null);
  return unpackedPools.get(k);
}

// The frame of a source image, as a rectangle.
function frameOf(s) {
  const [h, w] = sources.size ? sources.size.subarray(2 * s, 2 * s + 2) : [SOURCE_H, SOURCE_W];
  return { y: 0, x: 0, h, w };
}

const className = (s) => (sources.label ? D.classes[sources.label[s]] : null);
const fullName = (s) => (sources.label ? `${sources.id[s]} · ${className(s)}` : String(sources.id[s]));
const valueIn = (images, k, p) => Array.from(images.subarray((k * AREA + p) * C, (k * AREA + p + 1) * C));
const valueAt = (k, p) => valueIn(trace.image, k, p);
// The value of a pixel while others were drawn.
const grownValueAt = (k, p) => valueIn((grown || trace).image, k, p);

// The source that a pixel was drawn from, if the cuts gave it another one; else null.
function sourceBeforeCuts(k, p) {
  const i = k * AREA + p;
  if (!grown || ["source", "y", "x"].every((name) => grown[name][i] === trace[name][i])) return null;
  return { s: grown.source[i], y: grown.y[i], x: grown.x[i] };
}

// The source of a pixel of a sample: its address, distance, pool size and fill step.
function originOf(k, p) {
  const i = k * AREA + p;
  return {
    s: trace.source[i], y: trace.y[i], x: trace.x[i], distance: trace.distance[i], pool: trace.pool[i], step: stepOf[p],
  };
}

// The stored candidates of a pixel's pool; null if the pools of its sample are not stored.
function candidatesOf(k, p) {
  const pools = poolsOf(k);
  const step = stepOf[p];
  if (!pools || step < 0) return null;
  const list = [];
  for (let i = step ? pools.ends[step - 1] : 0; i < pools.ends[step]; i++) {
    list.push({
      s: pools.source[i], y: pools.y[i], x: pools.x[i], rank: pools.rank[i], distance: pools.distance[i],
      probability: pools.probability[i], drawn: pools.rank[i] === pools.drawn[step],
    });
  }
  return { list, valueProbability: pools.value_probability[step] };
}

// The sources of a sample with the number of pixels from each, the most used first.
function sharesOf(k) {
  const counts = new Map();
  for (let i = k * AREA; i < (k + 1) * AREA; i++) counts.set(trace.source[i], (counts.get(trace.source[i]) || 0) + 1);
  return [...counts].map(([s, pixels]) => ({ s, pixels })).sort((a, b) => b.pixels - a.pixels || a.s - b.s);
}

// Whether pixel p was known when the pixel of a step was drawn; in a sweep all other pixels are known.
const knownBefore = (p, step) => (D.sweeps ? stepOf[p] !== step : stepOf[p] < step);

function presentPart(s) {
  const [y, x, h, w] = sources.rect.subarray(4 * s, 4 * s + 4);
  const frame = frameOf(s);
  return { y, x, h, w, whole: h === frame.h && w === frame.w, absent: h === 0 };
}

// Draw a part of a source image, as far as it is stored, into a rectangle of a canvas.
function drawSource(context, s, part, to) {
  const rect = presentPart(s);
  const y = Math.max(part.y, rect.y), x = Math.max(part.x, rect.x);
  const h = Math.min(part.y + part.h, rect.y + rect.h) - y, w = Math.min(part.x + part.w, rect.x + rect.w) - x;
  if (rect.absent || h <= 0 || w <= 0) return;
  const { columns, cells } = D.sheets;
  const cell = s % cells;
  const down = to.h / part.h, right = to.w / part.w;
  context.imageSmoothingEnabled = false;
  context.drawImage(
    sheets[Math.floor(s / cells)],
    (cell % columns) * SOURCE_W + x, Math.floor(cell / columns) * SOURCE_H + y, w, h,
    to.x + (x - part.x) * right, to.y + (y - part.y) * down, w * right, h * down,
  );
}

// Draw the window around a source pixel, one square of the canvas per pixel. Beyond the frame, edge pixels are repeated.
function drawWindow(context, { s, y, x }, cell) {
  const frame = frameOf(s);
  for (let dy = -HALF; dy <= HALF; dy++) {
    for (let dx = -HALF; dx <= HALF; dx++) {
      const at = { y: Math.min(Math.max(y + dy, 0), frame.h - 1), x: Math.min(Math.max(x + dx, 0), frame.w - 1) };
      const to = { y: (dy + HALF) * cell, x: (dx + HALF) * cell };
      drawSource(context, s, { ...at, h: 1, w: 1 }, { ...to, h: cell, w: cell });
    }
  }
}

// The state of the view. A renderer runs once per animation frame, and only if one of its keys has changed.
const state = {
  k: 0, map: "image", pixel: 0, pinned: false, step: STEPS, playing: false, zoom: null, source: null,
  sourcePinned: false, candidate: null, sort: "", descending: false, theme: "",
};
const renderers = [];
let changed = null;

function on(keys, render) {
  renderers.push({ keys, render });
}

function set(changes) {
  const keys = Object.keys(changes).filter((key) => state[key] !== changes[key]);
  if (!keys.length) return;
  Object.assign(state, changes);
  if (!changed) {
    changed = new Set();
    requestAnimationFrame(() => {
      const now = changed;
      changed = null;
      for (const { keys: watched, render } of renderers) if (watched.some((key) => now.has(key))) render();
    });
  }
  keys.forEach((key) => changed.add(key));
}

const element = (id) => document.getElementById(id);

// Make an element. Children from the data are text, never markup.
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const format = (number, digits = 0) =>
  number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (share) => (share > 0 && share < 0.001 ? "<0.1 %" : `${format(100 * share, share < 0.0995 ? 1 : 0)} %`);
const distanceText = (distance) => (distance > 0 && distance < 10 ? format(distance, 2) : format(distance));
