// Elements, scales, and canvases with axes. All text of users becomes text nodes, never markup.

const el = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...kids.filter((kid) => kid !== null && kid !== undefined));
  return node;
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => document.documentElement.classList.contains("dark");
const number = (v) => {
  if (v === null || v === undefined) return "";
  if (typeof v !== "number") return String(v);
  const size = Math.abs(v);
  return Number.isInteger(v) && size < 1e7 ? String(v) : String(Number(v.toPrecision(5)));
};
const shorten = (text, most) => (text.length <= most ? text : "…" + text.slice(1 - most));
const span = (seconds) => seconds === null ? "" : seconds < 120 ? `${Math.round(seconds)} s`
  : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

// Colours of values: better ones stand out from the background. unit: 0 is the best.
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [225, 218, 45]];
function valueColour(unit) {
  const at = Math.min(Math.max(dark() ? 1 - unit : unit, 0), 1) * (STOPS.length - 1), n = Math.min(Math.floor(at), STOPS.length - 2);
  const mix = STOPS[n].map((c, k) => Math.round(c + (at - n) * (STOPS[n + 1][k] - c)));
  return `rgb(${mix.join(",")})`;
}

// The range of values without the few that lie far beyond the others; beyond: how many those are.
function rangeOf(values) {
  const known = Float64Array.from(values.filter((v) => v !== null)).sort();
  if (!known.length) return { low: 0, high: 1, beyond: 0 };
  let low = known[0], high = known[known.length - 1];
  const least = known[Math.floor(0.05 * (known.length - 1))], most = known[Math.ceil(0.95 * (known.length - 1))];
  const width = most - least;
  if (known.length >= 20 && width > 0) {
    if (high > most + 4 * width) high = most + width;
    if (low < least - 4 * width) low = least - width;
  }
  return { low, high, beyond: known.filter((v) => v < low || v > high).length };
}

// An axis: to(value) is 0 to 1. options: log, categories, whole (numbers only), low, high.
function axisOf(name, values, options = {}) {
  const { categories = null, log = false } = options;
  let { low, high } = options.low === undefined ? rangeOf(values) : options;
  if (categories) { low = 0; high = Math.max(categories.length - 1, 0); }
  if (low === high) { const gap = categories ? 0.5 : Math.abs(low) * 0.05 || 0.5; low -= log ? 0 : gap; high += log ? low : gap; }
  const a = log ? Math.log10(low) : low, b = log ? Math.log10(high) : high;
  const to = (v) => ((log ? Math.log10(v) : v) - a) / (b - a);
  const ticks = (most) => {
    if (categories) {
      const every = Math.max(1, Math.ceil(categories.length / most));
      return categories.map((text, n) => [n, text]).filter((_, n) => n % every === 0);
    }
    if (log && b - a >= 1) {
      const every = Math.max(1, Math.ceil((b - a) / most)), found = [];
      for (let e = Math.ceil(a - 1e-9); e <= b + 1e-9; e += every) found.push([10 ** e, `1e${e}`]);
      if (found.length > 1) return found;
    }
    if (log) return [0, 0.5, 1].map((u) => 10 ** (a + u * (b - a))).map((v) => [v, number(Number(v.toPrecision(2)))]);
    const rough = (b - a) / most, unit = 10 ** Math.floor(Math.log10(rough));
    const fine = [1, 2, 5, 10].find((k) => k * unit >= rough) * unit, step = options.whole ? Math.max(fine, 1) : fine, found = [];
    for (let n = Math.ceil(a / step - 1e-9); n * step <= b + step * 1e-9; n++) found.push([n * step, number(n * step)]);
    return found;
  };
  return { name, low, high, log, categories, beyond: options.beyond ?? 0, to, ticks };
}

const charts = [];
const tip = document.getElementById("tip");

// A canvas that draws itself again when its size, the theme or the filter changes. paint(chart) fills chart.points with
// {x, y, trial, text}: for the mouse, and for the arrow keys.
function chart(label, height, paint) {
  const canvas = el("canvas", { tabIndex: 0, role: "img" });
  canvas.setAttribute("aria-label", `${label}. Arrow keys go through the points, Enter chooses a trial.`);
  const c = { canvas, height, points: [], at: -1, dirty: true };
  c.paint = () => {
    const width = canvas.clientWidth || canvas.parentElement?.clientWidth || 600, scale = window.devicePixelRatio || 1;
    const tall = typeof height === "function" ? height() : height;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(tall * scale);
    canvas.style.height = `${tall}px`;
    c.ctx = canvas.getContext("2d");
    c.ctx.scale(scale, scale);
    c.ctx.font = "12px system-ui, sans-serif";
    Object.assign(c, { width, tall, points: [], at: -1, dirty: false });
    paint(c);
  };
  const show = (n, x, y) => {
    c.at = n;
    tip.hidden = n < 0;
    if (n < 0) return;
    tip.textContent = c.points[n].text;
    const box = canvas.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min((x ?? box.left + c.points[n].x) + 14, window.innerWidth - 350))}px`;
    tip.style.top = `${(y ?? box.top + c.points[n].y) + 14}px`;
  };
  const near = (event) => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let found = -1, least = 196;
    c.points.forEach((p, n) => {
      const inside = p.w !== undefined && x >= p.x && x <= p.x + p.w && y >= p.y && y <= p.y + p.h;
      const d = inside ? 0 : p.w !== undefined ? Infinity : (p.x - x) ** 2 + (p.y - y) ** 2;
      if (d < least) { least = d; found = n; }
    });
    return found;
  };
  canvas.addEventListener("mousemove", (e) => show(near(e), e.clientX, e.clientY));
  canvas.addEventListener("mouseleave", () => show(-1));
  canvas.addEventListener("blur", () => show(-1));
  canvas.addEventListener("click", (e) => { const n = near(e); if (n >= 0) choose(c.points[n].trial); });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (step && c.points.length) { e.preventDefault(); show((c.at + step + c.points.length) % c.points.length); }
    else if (e.key === "Enter" && c.at >= 0) choose(c.points[c.at].trial);
    else if (e.key === "Escape") show(-1);
  });
  charts.push(c);
  visible.observe(canvas);
  return c;
}

// Only what is on the screen is drawn at once; the rest when it comes there.
const visible = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const c = charts.find((one) => one.canvas === entry.target);
    if (!c) continue;
    c.shown = entry.isIntersecting;
    if (c.shown && c.dirty) c.paint();
  }
}, { rootMargin: "300px" });
function repaint() {
  for (const c of charts) { c.dirty = true; if (c.shown) c.paint(); }
}
window.addEventListener("resize", () => requestAnimationFrame(repaint));
window.addEventListener("beforeprint", () => charts.forEach((c) => c.paint()));

// The axes of a plot, and the functions from values to pixels.
function frame(c, x, y, options = {}) {
  const { ctx } = c, left = options.left ?? 62, right = 12, top = 8, bottom = 38;
  const w = c.width - left - right, h = c.tall - top - bottom;
  const gap = (axis) => options.gap ?? (axis.categories ? 0.1 : 0.03), inside = (axis, v) => Math.min(Math.max(axis.to(v), 0), 1) * (1 - 2 * gap(axis)) + gap(axis);
  const px = (v) => left + inside(x, v) * w, py = (v) => top + h - inside(y, v) * h;
  ctx.lineWidth = 1;
  ctx.strokeStyle = colour("--grid");
  ctx.fillStyle = colour("--faint");
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  for (const [v, text] of y.ticks(5)) { rule(ctx, left, py(v), left + w, py(v)); ctx.fillText(shorten(text, 9), left - 5, py(v)); }
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  const xs = x.ticks(Math.max(2, Math.floor(w / 70))), most = Math.max(4, Math.floor(w / Math.max(xs.length, 1) / 7));
  for (const [v, text] of xs) { rule(ctx, px(v), top, px(v), top + h); ctx.fillText(shorten(text, most), px(v), top + h + 5); }
  ctx.fillStyle = colour("--text");
  ctx.fillText(shorten(x.name, Math.floor(w / 7)), left + w / 2, top + h + 21);
  if (y.name) {
    ctx.save();
    ctx.translate(2, top + h / 2);
    ctx.rotate(-Math.PI / 2);
    ctx.fillText(shorten(y.name, Math.floor(h / 7)), 0, 0);
    ctx.restore();
  }
  if (y.beyond) {
    ctx.textAlign = "right";
    ctx.fillText(`${y.beyond} ${y.beyond === 1 ? "value lies" : "values lie"} beyond the edge`, left + w, top);
  }
  return { px, py, left, top, w, h };
}
function rule(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
// A mark for each state: a circle, a cross, a square, a triangle, a ring.
function mark(ctx, state, x, y, r = 3.5) {
  ctx.beginPath();
  if (state === 1) { ctx.moveTo(x - r, y - r); ctx.lineTo(x + r, y + r); ctx.moveTo(x + r, y - r); ctx.lineTo(x - r, y + r); ctx.lineWidth = 1.6; ctx.stroke(); return; }
  if (state === 2) ctx.rect(x - r, y - r, 2 * r, 2 * r);
  else if (state === 3) { ctx.moveTo(x - r, y - r); ctx.lineTo(x + r, y); ctx.lineTo(x - r, y + r); }
  else ctx.arc(x, y, r, 0, 7);
  if (state === 4) ctx.stroke(); else ctx.fill();
}
function say(c, text) {
  c.ctx.fillStyle = colour("--faint");
  c.ctx.textAlign = "center";
  c.ctx.fillText(text, c.width / 2, c.tall / 2);
}
