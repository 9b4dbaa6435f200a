// Keys, light and dark themes, the current pixel in the page's address, and the first rendering.

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  renderTheme();
}

function renderTheme() {
  element("theme").setAttribute("aria-pressed", String(isDark()));
  set({ theme: isDark() ? "dark" : "light" });
}

element("theme").addEventListener("click", switchTheme);
dark.addEventListener("change", renderTheme);

const keys = element("keys");
element("help").addEventListener("click", () => keys.showModal());
element("keys-close").addEventListener("click", () => keys.close());

const mapInputs = [...element("maps").querySelectorAll("input")];
const SHORTCUTS = {
  "[": () => choose(neighbour(-1)),
  "]": () => choose(neighbour(1)),
  p: toggle,
  ",": () => { stop(); goTo(state.step - 1); },
  ".": () => { stop(); goTo(state.step + 1); },
  "+": () => zoomed(1.5),
  "-": () => zoomed(1 / 1.5),
  "0": () => set({ zoom: null }),
  d: switchTheme,
  "?": () => keys.showModal(),
};
mapInputs.forEach((input, i) => { SHORTCUTS[i + 1] = () => set({ map: input.value }); });

document.addEventListener("keydown", (event) => {
  if (keys.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    stop();
    set({ pinned: false, source: null, sourcePinned: false });
    return;
  }
  // Letters typed into a list select its entries.
  if (event.target.matches("select") || !element("single").checked) return;
  const act = SHORTCUTS[event.key] || SHORTCUTS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

// The address #sample=3&y=12&x=17&map=class names a pixel: written when a pixel is pinned, read when the page is opened.
function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const whole = (name, limit) => {
    const text = fields.get(name);
    return /^\d{1,9}$/.test(text ?? "") && Number(text) < limit ? Number(text) : null;
  };
  const found = {};
  const k = whole("sample", COUNT), y = whole("y", H), x = whole("x", W);
  if (k !== null) found.k = k;
  if (y !== null && x !== null) Object.assign(found, { pixel: y * W + x, pinned: true });
  if (mapInputs.some((input) => input.value === fields.get("map"))) found.map = fields.get("map");
  return found;
}

function writeAddress() {
  const fields = new URLSearchParams({ sample: state.k, map: state.map });
  if (state.pinned) {
    fields.set("y", Math.floor(state.pixel / W));
    fields.set("x", state.pixel % W);
  }
  try {
    history.replaceState(null, "", `#${fields}`);
  } catch { /* some browsers forbid it for files, or limit how often it is called */ }
}

// The pixel shown first, unless the address names one: of the first sample, with a large pool and a large distance.
function firstPixel() {
  let best = 0, highest = -1;
  for (let p = 0; p < AREA; p++) {
    const score = trace.distance[p] * (1 - 1 / Math.max(trace.pool[p], 1));
    if (score > highest) [best, highest] = [p, score];
  }
  return best;
}

Object.assign(state, { pixel: firstPixel() }, readAddress());
element("motion").hidden = !reduced.matches;
reduced.addEventListener("change", () => { element("motion").hidden = !reduced.matches; });
renderTheme();
for (const { render } of renderers) render();
on(["k", "map", "pinned", "pixel"], () => { if (state.pinned || !state.playing) writeAddressSoon(); });
let pending = 0;
function writeAddressSoon() {
  clearTimeout(pending);
  pending = setTimeout(writeAddress, 400);
}
document.documentElement.dataset.ready = "true";
