// The current sample: its canvas, its maps, the zoom, and the fill steps.

const canvas = element("canvas");
const picture = make("canvas", { width: W, height: H });
let scale = 1;

function fittingScale() {
  const room = element("stage").clientWidth - 2;
  return Math.max(1, Math.floor(Math.min(room / W, Math.max(window.innerHeight * 0.6, 280) / H)));
}

function zoomed(factor) {
  const longest = Math.min(64, Math.floor(4096 / Math.max(W, H)));
  const next = factor > 1 ? Math.ceil(scale * factor) : Math.floor(scale * factor);
  set({ zoom: Math.min(Math.max(next, 1), Math.max(longest, 1)) });
}

// Paint the picture, one canvas pixel per image pixel. Pixels that are drawn later are transparent, or pale in a sweep.
function repaint() {
  const image = paint(state.k, state.map);
  for (let p = 0; p < AREA; p++) {
    if (stepOf[p] >= state.step) image.data[4 * p + 3] *= D.sweeps ? 0.3 : 0;
    else if (state.source !== null && trace.source[state.k * AREA + p] !== state.source) image.data[4 * p + 3] *= 0.22;
  }
  picture.getContext("2d").putImageData(image, 0, 0);
}

function redraw() {
  scale = state.zoom || fittingScale();
  const context = sized(canvas, W * scale, H * scale);
  context.drawImage(picture, 0, 0, W * scale, H * scale);
  if (state.source !== null) outline(context, borderOf(state.source), 1);
  const y = Math.floor(state.pixel / W), x = state.pixel % W;
  if (D.compared && stepOf[state.pixel] >= 0) outline(context, box(...clippedWindow(y, x, H, W), scale), 1);
  outline(context, box(y, x, 1, 1, scale), 2);
  const value = SCALARS[state.map] ? `, ${SCALARS[state.map].name} ${valueText(state.k, state.pixel, state.map)}` : "";
  canvas.setAttribute("aria-label", `Sample ${state.k}, pixel y ${y}, x ${x}${value}`);
  element("stage").classList.toggle("pinned", state.pinned);
}

// A function that draws the border of all pixels that come from a source.
function borderOf(s) {
  const from = (y, x) => y >= 0 && x >= 0 && y < H && x < W && trace.source[state.k * AREA + y * W + x] === s;
  return (context) => {
    const line = (y0, x0, y1, x1) => {
      context.moveTo(x0 * scale, y0 * scale);
      context.lineTo(x1 * scale, y1 * scale);
    };
    for (let y = 0; y < H; y++) {
      for (let x = 0; x < W; x++) {
        if (!from(y, x)) continue;
        if (!from(y - 1, x)) line(y, x, y, x + 1);
        if (!from(y + 1, x)) line(y + 1, x, y + 1, x + 1);
        if (!from(y, x - 1)) line(y, x, y + 1, x);
        if (!from(y, x + 1)) line(y, x + 1, y + 1, x + 1);
      }
    }
  };
}

function pixelUnder(event) {
  const frame = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - frame.left) / frame.width * W);
  const y = Math.floor((event.clientY - frame.top) / frame.height * H);
  return x >= 0 && y >= 0 && x < W && y < H ? y * W + x : null;
}

canvas.addEventListener("pointermove", (event) => {
  const p = pixelUnder(event);
  if (p !== null && !state.pinned && !state.playing) set({ pixel: p });
});

canvas.addEventListener("click", (event) => {
  const p = pixelUnder(event);
  if (p === null) return;
  stop();
  set({ pixel: p, pinned: !(state.pinned && state.pixel === p) });
});

canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const move = moves[event.key];
  if (event.key === "Enter") set({ pinned: !state.pinned });
  else if (move && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const stride = event.shiftKey ? 8 : 1;
    const y = Math.min(Math.max(Math.floor(state.pixel / W) + move[0] * stride, 0), H - 1);
    const x = Math.min(Math.max(state.pixel % W + move[1] * stride, 0), W - 1);
    stop();
    set({ pixel: y * W + x });
    element("live").textContent = pixelSummary();
  } else return;
  event.preventDefault();
});

element("stage").addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoomed(event.deltaY < 0 ? 1.2 : 1 / 1.2);
}, { passive: false });

element("zoom-in").addEventListener("click", () => zoomed(1.5));
element("zoom-out").addEventListener("click", () => zoomed(1 / 1.5));
element("zoom-fit").addEventListener("click", () => set({ zoom: null }));
element("pin").addEventListener("click", () => set({ pinned: !state.pinned }));
element("maps").addEventListener("change", (event) => set({ map: event.target.value }));

// The fill steps.
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const scrub = element("scrub");
scrub.max = STEPS;
let timer = 0;

// Show a step; the pixel that was drawn last becomes the current one, unless a pixel is pinned.
function goTo(step) {
  const at = Math.min(Math.max(step, 0), STEPS);
  const follow = at > 0 && at <= STEPS && !state.pinned ? { pixel: order[at - 1] } : {};
  set({ step: at, ...follow });
}

function stop() {
  cancelAnimationFrame(timer);
  clearTimeout(timer);
  set({ playing: false });
}

function play() {
  if (!STEPS) return;
  const first = state.step >= STEPS ? 0 : state.step;
  set({ playing: true, source: null, sourcePinned: false });
  goTo(first);
  if (reduced.matches) {
    const next = () => {
      goTo(D.stages.find((end) => end > state.step) ?? STEPS);
      if (state.step < STEPS) timer = setTimeout(next, 1000);
      else set({ playing: false });
    };
    timer = setTimeout(next, 1000);
    return;
  }
  let before = performance.now(), at = first;
  const tick = (now) => {
    at += Math.max(0, now - before) / 1000 * Number(element("speed").value);
    before = now;
    goTo(Math.floor(at));
    if (at < STEPS) timer = requestAnimationFrame(tick);
    else set({ playing: false });
  };
  timer = requestAnimationFrame(tick);
}

const toggle = () => (state.playing ? stop() : play());
element("play").addEventListener("click", toggle);
element("back").addEventListener("click", () => { stop(); goTo(state.step - 1); });
element("forward").addEventListener("click", () => { stop(); goTo(state.step + 1); });
scrub.addEventListener("input", () => { stop(); goTo(Number(scrub.value)); });

function renderTimeline() {
  scrub.value = state.step;
  element("play").textContent = state.playing ? "Pause" : "Play";
  const ring = D.stages.findIndex((end) => end >= state.step);
  element("step-text").textContent = `${format(state.step)} of ${format(STEPS)}`;
  scrub.setAttribute("aria-valuetext", `step ${state.step} of ${STEPS}, ${D.sweeps ? "last sweep" : `ring ${ring}`}`);
}

on(["k", "map", "step", "source", "theme"], repaint);
on(["k", "map", "step", "source", "theme", "pixel", "pinned", "zoom"], redraw);
on(["step", "playing"], renderTimeline);
on(["k", "map"], () => {
  element("legend").replaceChildren(...legendOf(state.k, state.map));
  for (const input of element("maps").querySelectorAll("input")) input.checked = input.value === state.map;
});
on(["pinned"], () => {
  element("pin").setAttribute("aria-pressed", String(state.pinned));
  element("pin").textContent = state.pinned ? "Pinned" : "Pin";
});
// The coarser levels of a sample: canvas, image-ID map, and which images they come from.
const levels = (D.levels ?? []).map(({ shape, image, colour, facts }) => ({ shape, facts, image: unpack(image), colour: unpack(colour) }));

function picture([h, w], values, channels, k, label) {
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const pixels = new ImageData(w, h);
  for (let p = 0; p < h * w; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = values[(k * h * w + p) * channels + (channels === 1 ? 0 : c)];
    pixels.data[4 * p + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function levelFigure({ shape, image, colour, facts }, k) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const [h, w, channels] = shape;
  caption.textContent = `${h}×${w}: ${facts[k]}`;
  figure.append(picture(shape, image, channels, k, `canvas of ${h}×${w} pixels`));
  figure.append(picture(shape, colour, 3, k, `image-ID map of ${h}×${w} pixels`), caption);
  return figure;
}

on(["k"], () => {
  element("levels").replaceChildren(...levels.map((level) => levelFigure(level, state.k)));
  element("sample-name").textContent = state.k;
  element("sample-facts").textContent = `seed patch of image ${fullName(anchor[state.k])}`;
});
new ResizeObserver(() => { if (!state.zoom && fittingScale() !== scale) redraw(); }).observe(element("stage"));
