// Maps of a sample: one colour per pixel, transparent if it has no value.

// From dark blue to pale yellow, with increasing lightness: readable in grey and by colour-blind people.
const RAMP = [[24, 26, 66], [36, 62, 112], [36, 104, 128], [78, 146, 122], [164, 184, 106], [252, 228, 148]];

function rampColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[low].map((part, i) => part + (place - low) * (RAMP[low + 1][i] - part));
}

// Entropy of the labels in the window around each pixel, in nats; NaN if the window is not inside the frame, as in
// npgen.entropy_map.
function entropyMap(labels) {
  const side = D.entropy_window, before = side >> 1;
  const values = new Float32Array(AREA).fill(NaN);
  for (let y = 0; y + side <= H; y++) {
    for (let x = 0; x + side <= W; x++) {
      const counts = new Map();
      for (let dy = 0; dy < side; dy++) {
        for (let dx = 0; dx < side; dx++) {
          const label = labels[(y + dy) * W + x + dx];
          counts.set(label, (counts.get(label) || 0) + 1);
        }
      }
      let entropy = 0;
      for (const count of counts.values()) entropy -= (count / side ** 2) * Math.log(count / side ** 2);
      values[(y + before) * W + x + before] = entropy;
    }
  }
  return values;
}

// The end of the distance scale: the 99th percentile over all samples, so that single outliers don't stretch it.
function highDistance() {
  const sorted = trace.distance.filter((_, i) => trace.pool[i] > 0).sort();
  return sorted.length ? sorted[Math.floor(0.99 * (sorted.length - 1))] || 1 : 1;
}

const sampleIds = (k) => trace.source.subarray(k * AREA, (k + 1) * AREA);
const sampleLabels = (k) => Array.from(sampleIds(k), (s) => sources.label[s]);
const drawnOnly = (array) => (k) =>
  Float32Array.from({ length: AREA }, (_, p) => (stepOf[p] < 0 ? NaN : array[k * AREA + p]));
const mostEntropy = (kinds) => Math.log(Math.min(D.entropy_window ** 2, kinds));

// Maps of numbers: `values` of a sample, and `share`, the position of a value on the scale from `low` to `high`, 0 to 1.
const SCALARS = {
  "id-entropy": {
    values: (k) => entropyMap(sampleIds(k)), low: 0, high: mostEntropy(Infinity), share: (v, high) => v / high,
    text: (v) => format(v, 1), name: "entropy of image IDs, nats",
  },
  "class-entropy": {
    values: (k) => entropyMap(sampleLabels(k)), low: 0, high: mostEntropy(Math.max(D.classes?.length ?? 2, 2)),
    share: (v, high) => v / high, text: (v) => format(v, 1), name: "entropy of classes, nats",
  },
  distance: {
    values: drawnOnly(trace.distance), low: 0, high: highDistance(), share: (v, high) => Math.sqrt(v / high),
    middle: (high) => high / 4, text: distanceText, name: `distance, ${D.distance_unit}`, open: true,
  },
  pool: {
    values: drawnOnly(trace.pool), low: 1, high: Math.max(2, trace.pool.reduce((a, b) => Math.max(a, b), 0)),
    share: (v, high) => Math.log(v) / Math.log(high), middle: Math.sqrt, text: (v) => format(v), name: "pool size",
  },
  step: {
    values: () => Float32Array.from(stepOf, (step) => (step < 0 ? NaN : step)), low: 0, high: Math.max(STEPS - 1, 1),
    share: (v, high) => v / high, text: (v) => format(v + 1), name: D.sweeps ? "step of the last sweep" : "fill step",
  },
};

// The value of a pixel on a map of numbers, as text.
function valueText(k, p, map) {
  const value = SCALARS[map].values(k)[p];
  return Number.isNaN(value) ? "none" : SCALARS[map].text(value);
}

function paint(k, map) {
  const image = new ImageData(W, H);
  const put = (p, red, green, blue) => image.data.set([red, green, blue, 255], 4 * p);
  const scalar = SCALARS[map];
  if (scalar) {
    scalar.values(k).forEach((value, p) => {
      if (!Number.isNaN(value)) put(p, ...rampColour(scalar.share(value, scalar.high)));
    });
    return image;
  }
  for (let p = 0; p < AREA; p++) {
    const i = k * AREA + p, s = trace.source[i];
    if (map === "id") put(p, ...sources.colour.subarray(3 * s, 3 * s + 3));
    else if (map === "class") put(p, ...D.class_colours[sources.label[s]]);
    else put(p, ...[0, 1, 2].map((c) => trace.image[i * C + (C === 3 ? c : 0)]));
  }
  return image;
}

function legendOf(k, map) {
  if (map === "image") return [make("span", { className: "dim" }, "the sample itself")];
  if (map === "id") {
    return [make("span", { className: "dim" }, `one colour per image, ${format(sharesOf(k).length)} source images`)];
  }
  if (map === "class") return classLegend(k);
  const scale = SCALARS[map];
  const bar = make("canvas", { width: 128, height: 1, className: "ramp", "aria-hidden": "true" });
  const context = bar.getContext("2d");
  for (let i = 0; i < 128; i++) {
    context.fillStyle = `rgb(${rampColour(i / 127).map(Math.round)})`;
    context.fillRect(i, 0, 1, 1);
  }
  const middle = scale.middle ? scale.middle(scale.high) : (scale.low + scale.high) / 2;
  const ticks = [scale.text(scale.low), scale.text(middle), (scale.open ? "≥ " : "") + scale.text(scale.high)];
  const marks = make("span", { className: "ticks" }, ...ticks.map((text) => make("span", {}, text)));
  return [make("span", { className: "scale" }, bar, marks), make("span", { className: "dim" }, scale.name)];
}

// Most classes that a legend names.
const NAMED = 24;

function classLegend(k) {
  const counts = new Map();
  for (const label of sampleLabels(k)) counts.set(label, (counts.get(label) || 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const entries = sorted.slice(0, NAMED).map(([label, count]) =>
    make("span", { className: "entry" }, swatch(D.class_colours[label]), D.classes[label],
      make("span", { className: "dim" }, percent(count / AREA))));
  const more = sorted.length - entries.length;
  return more > 0 ? [...entries, make("span", { className: "dim" }, `${more} more`)] : entries;
}

function swatch(colour) {
  const dot = make("canvas", { width: 1, height: 1, className: "swatch", "aria-hidden": "true" });
  const context = dot.getContext("2d");
  const [red, green, blue] = colour.length === 3 ? colour : [colour[0], colour[0], colour[0]];
  context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
  context.fillRect(0, 0, 1, 1);
  return dot;
}
