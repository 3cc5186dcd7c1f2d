// The pictures. Their numbers come from the page's data; here they are only drawn.

const NOTHING = "no trial to show has a value yet";
const stateColour = (n) => colour(`--s${x.trials.state[n]}`);
const named = (n) => `${x.trials.id[n]} (${x.states[x.trials.state[n]]})`;
const metricValue = (n) => x.main ? x.main.values[n] : null;
const withValue = (n) => x.main ? `${named(n)}\n${x.metric} = ${number(metricValue(n))}` : named(n);
const shownOf = (trials) => trials.filter((n) => shown[n]);
const every = () => shownOf(x.trials.id.map((_, n) => n));
const better = (a, b) => (x.mode === "min" ? a - b : b - a);
const canLog = (values) => values.length > 0 && values.every((v) => v === null || v > 0);

// 0 is the best of all values, 1 the worst.
function unitOf(value) {
  const { low, high } = x.valueRange, unit = high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0.5;
  return x.mode === "min" ? unit : 1 - unit;
}
function metricAxis(values) {
  const found = rangeOf(values), log = logarithmic && canLog(values);
  return axisOf(x.metric, values, { ...found, log });
}
function paramAxis(p) {
  const known = p.places.filter((v) => v !== null);
  let low = Infinity, high = -Infinity;
  for (const v of known) { if (v < low) low = v; if (v > high) high = v; }
  return axisOf(p.name, known, { categories: p.categories, log: p.log, ...(known.length ? { low, high } : { low: 0, high: 1 }) });
}

function paintHistory(c) {
  const byTime = document.getElementById("by-time")?.checked, points = x.history;
  if (!points.length) return say(c, NOTHING);
  const xs = points.map((p, n) => (byTime ? p[1] : n + 1));
  const across = axisOf(byTime ? "hours since the experiment began" : "trials, in the order in which they ended", xs, { low: Math.min(xs[0], byTime ? 0 : 1), high: xs[xs.length - 1], whole: !byTime });
  const f = frame(c, across, metricAxis(points.flatMap((p) => [p[2], p[3]])));
  points.forEach(([trial, , value], n) => {
    if (!shown[trial]) return;
    c.ctx.fillStyle = c.ctx.strokeStyle = stateColour(trial);
    mark(c.ctx, x.trials.state[trial], f.px(xs[n]), f.py(value), chosen.has(trial) ? 6 : 3);
    c.points.push({ x: f.px(xs[n]), y: f.py(value), trial, text: withValue(trial) });
  });
  c.ctx.strokeStyle = colour("--best");
  c.ctx.lineWidth = 2;
  c.ctx.beginPath();
  points.forEach(([, , , best], n) => {
    if (n) c.ctx.lineTo(f.px(xs[n]), f.py(points[n - 1][3]));
    c.ctx[n ? "lineTo" : "moveTo"](f.px(xs[n]), f.py(best));
  });
  c.ctx.stroke();
}

function paintCurves(c) {
  const curves = x.curves.filter(([trial]) => shown[trial]);
  if (!curves.length) return say(c, NOTHING);
  const steps = ([, ys, xs]) => xs || ys.map((_, n) => n + 1);
  let far = -Infinity, near = Infinity;
  for (const curve of curves) { const s = steps(curve); near = Math.min(near, s[0]); far = Math.max(far, s[s.length - 1]); }
  const f = frame(c, axisOf("training_iteration", [], { low: near, high: far }), metricAxis(curves.flatMap((one) => one[1])));
  const faint = curves.length <= 30 ? 0.85 : curves.length <= 300 ? 0.45 : curves.length <= 2000 ? 0.2 : 0.08;
  const strong = (trial) => chosen.has(trial) || x.best?.trial === trial;
  const line = (curve) => {
    const [trial, ys] = curve, xs = steps(curve), { ctx } = c, best = x.best?.trial === trial;
    ctx.globalAlpha = strong(trial) ? 1 : faint;
    ctx.strokeStyle = ctx.fillStyle = best ? colour("--best") : stateColour(trial);
    ctx.lineWidth = strong(trial) ? 2.6 : 1;
    ctx.beginPath();
    ys.forEach((y, n) => ctx[n ? "lineTo" : "moveTo"](f.px(xs[n]), f.py(y)));
    ctx.stroke();
    ctx.globalAlpha = Math.max(ctx.globalAlpha, 0.5);
    mark(ctx, x.trials.state[trial], f.px(xs[xs.length - 1]), f.py(ys[ys.length - 1]), strong(trial) ? 5 : 3);
    const text = `${named(trial)}${best ? ", the best" : ""}`;
    ys.forEach((y, n) => c.points.push({ x: f.px(xs[n]), y: f.py(y), trial, text: `${text}\niteration ${number(xs[n])}: ${number(y)}` }));
  };
  curves.filter(([t]) => !strong(t)).forEach(line);
  curves.filter(([t]) => strong(t)).forEach(line);
  c.ctx.globalAlpha = 1;
}

function paintImportance(c) {
  if (!x.importance.length) return say(c, `needs ${x.importance_needs ?? 6} trials with a value, and a parameter that varies`);
  const left = Math.min(190, c.width * 0.4), most = Math.max(...x.importance.map(([, s]) => s), 0.05), { ctx } = c;
  ctx.textBaseline = "middle";
  x.importance.forEach(([name, share], n) => {
    const y = 6 + 24 * n, w = (c.width - left - 60) * (share / most);
    ctx.fillStyle = colour("--text");
    ctx.textAlign = "right";
    ctx.fillText(shorten(name, Math.floor(left / 7)), left - 8, y + 9);
    ctx.fillStyle = colour("--s0");
    ctx.fillRect(left, y, Math.max(w, 1), 18);
    ctx.fillStyle = colour("--text");
    ctx.textAlign = "left";
    ctx.fillText(`${(100 * share).toFixed(0)}%`, left + w + 6, y + 9);
    c.points.push({ x: left, y, w: Math.max(w, 8), h: 18, trial: -1, text: `${name}: ${(100 * share).toFixed(1)}% of the variance` });
  });
}

function paintParallel(c) {
  const params = x.ordered.slice(0, MAX_AXES), trials = every().filter((n) => metricValue(n) !== null), { ctx } = c;
  if (!trials.length) return say(c, NOTHING);
  const axes = [...params.map((p) => ({ axis: paramAxis(p), places: p.places })), { axis: metricAxis(x.main.values), places: x.main.values }];
  const top = 12, h = c.tall - 58, px = (k) => 20 + (k * (c.width - 90)) / Math.max(axes.length - 1, 1);
  const py = (k, v) => top + h - Math.min(Math.max(axes[k].axis.to(v), 0), 1) * h;
  const faint = trials.length <= 100 ? 0.8 : trials.length <= 1000 ? 0.35 : 0.12;
  const order = [...trials].sort((a, b) => chosen.has(a) - chosen.has(b) || better(metricValue(b), metricValue(a)));
  for (const n of order) {
    ctx.globalAlpha = chosen.has(n) ? 1 : chosen.size ? faint / 2 : faint;
    ctx.strokeStyle = valueColour(unitOf(metricValue(n)));
    ctx.lineWidth = chosen.has(n) ? 3 : 1.2;
    ctx.beginPath();
    let pen = false;
    axes.forEach(({ places }, k) => {
      if (places[n] === null) { pen = false; return; }
      ctx[pen ? "lineTo" : "moveTo"](px(k), py(k, places[n]));
      pen = true;
    });
    ctx.stroke();
    const last = axes.length - 1;
    c.points.push({ x: px(last), y: py(last, metricValue(n)), trial: n, text: withValue(n) });
  }
  ctx.globalAlpha = 1;
  ctx.textBaseline = "middle";
  axes.forEach(({ axis }, k) => {
    ctx.strokeStyle = colour("--text");
    ctx.lineWidth = 1;
    rule(ctx, px(k), top, px(k), top + h);
    ctx.textAlign = "left";
    for (const [v, text] of axis.ticks(6)) {
      const at = py(k, v), label = shorten(text, 12);
      ctx.fillStyle = colour("--card");
      ctx.globalAlpha = 0.8;
      ctx.fillRect(px(k) + 3, at - 7, ctx.measureText(label).width + 2, 14);
      ctx.globalAlpha = 1;
      ctx.fillStyle = colour("--text");
      ctx.fillText(label, px(k) + 4, at);
    }
    ctx.textAlign = k ? "center" : "left";
    const most = Math.max(6, Math.floor((c.width - 90) / axes.length / 6.5));
    ctx.fillText(shorten(axis.name, most), k ? px(k) : 4, top + h + (k % 2 ? 34 : 18));
  });
}

function paintSlice(p) {
  return (c) => {
    const trials = every().filter((n) => metricValue(n) !== null && p.places[n] !== null);
    if (!trials.length) return say(c, NOTHING);
    const f = frame(c, paramAxis(p), metricAxis(x.main.values), { left: 48 });
    c.ctx.globalAlpha = trials.length > 1000 ? 0.35 : 0.8;
    for (const n of trials) {
      c.ctx.fillStyle = c.ctx.strokeStyle = stateColour(n);
      const at = { x: f.px(p.places[n]), y: f.py(metricValue(n)) };
      mark(c.ctx, x.trials.state[n], at.x, at.y, chosen.has(n) ? 6 : 2.8);
      c.points.push({ ...at, trial: n, text: `${withValue(n)}\n${p.name} = ${cellOf(p, n)}` });
    }
    c.ctx.globalAlpha = 1;
  };
}

const ringColour = () => (dark() ? "#000" : "#fff");
function paintContour(c) {
  const s = x.surfaces[Number(document.getElementById("surface")?.value ?? 0)], { ctx } = c;
  if (!s) return say(c, "needs two parameters that vary, and trials with a value");
  const [p, q] = [s.x, s.y].map((name) => x.params.find((one) => one.name === name));
  const ends = (one, [low, high]) => axisOf(one.name, [], { categories: one.categories, log: one.log, low, high });
  const f = frame(c, ends(p, s.ends[0]), ends(q, s.ends[1]), { gap: 0 });
  const w = f.w / s.size, h = f.h / s.size;
  s.grid.forEach((value, n) => {
    ctx.fillStyle = valueColour(unitOf(value));
    ctx.fillRect(f.left + (n % s.size) * w, f.top + f.h - (Math.floor(n / s.size) + 1) * h, w + 0.6, h + 0.6);
  });
  const trials = every().filter((t) => metricValue(t) !== null && p.places[t] !== null && q.places[t] !== null);
  const many = trials.length > 500;
  for (const n of trials) {
    const at = { x: f.px(p.places[n]), y: f.py(q.places[n]) };
    ctx.beginPath();
    ctx.arc(at.x, at.y, chosen.has(n) ? 6 : many ? 1 : 3.2, 0, 7);
    const dot = many && !chosen.has(n);
    ctx.fillStyle = dot ? ringColour() : valueColour(unitOf(metricValue(n)));
    ctx.fill();
    ctx.lineWidth = 1.2;
    ctx.strokeStyle = ringColour();
    if (!dot) ctx.stroke();
    c.points.push({ ...at, trial: n, text: `${withValue(n)}\n${p.name} = ${cellOf(p, n)}\n${q.name} = ${cellOf(q, n)}` });
  }
}

function paintFront(c) {
  const pick = (id) => document.getElementById(id)?.value;
  let [a, b] = [Number(pick("front-x")), Number(pick("front-y"))], [how, other] = [pick("front-x-mode"), pick("front-y-mode")];
  const [first, second] = [x.metrics[a], x.metrics[b]], flipped = a > b;
  const front = x.fronts[flipped ? `${b} ${other} ${a} ${how}` : `${a} ${how} ${b} ${other}`];
  if (!front) return say(c, a === b ? "choose two different metrics" : "needs two metrics");
  const trials = every().filter((n) => first.values[n] !== null && second.values[n] !== null), on = new Set(front);
  if (!trials.length) return say(c, NOTHING);
  const f = frame(c, axisOf(`${first.name} (${how})`, first.values), axisOf(`${second.name} (${other})`, second.values));
  const at = (n) => [f.px(first.values[n]), f.py(second.values[n])];
  for (const n of trials) {
    c.ctx.globalAlpha = on.has(n) ? 1 : 0.55;
    c.ctx.fillStyle = c.ctx.strokeStyle = on.has(n) ? colour("--best") : stateColour(n);
    mark(c.ctx, x.trials.state[n], ...at(n), chosen.has(n) ? 6 : on.has(n) ? 4.5 : 3);
    const text = `${named(n)}${on.has(n) ? ", on the front" : ""}\n${first.name} = ${number(first.values[n])}\n${second.name} = ${number(second.values[n])}`;
    c.points.push({ x: at(n)[0], y: at(n)[1], trial: n, text });
  }
  c.ctx.globalAlpha = 1;
  c.ctx.strokeStyle = colour("--best");
  c.ctx.lineWidth = 1.4;
  c.ctx.beginPath();
  front.filter((n) => shown[n]).sort((m, n) => first.values[m] - first.values[n]).forEach((n, k) => c.ctx[k ? "lineTo" : "moveTo"](...at(n)));
  c.ctx.stroke();
}

function paintTimeline(c) {
  const { rows, uses } = x.lanes, { ctx } = c;
  if (!rows.length) return say(c, "no job has begun yet");
  let end = 1;
  for (const row of rows) for (const s of row.spans) end = Math.max(end, s[2]);
  const unit = end > 7200 ? 3600 : end > 300 ? 60 : 1, across = axisOf({ 3600: "hours", 60: "minutes", 1: "seconds" }[unit] + " since the first submission", [], { low: 0, high: end / unit });
  const up = axisOf("", [], { categories: rows.map((r) => r.name), low: 0, high: 1 });
  up.to = () => 0;
  up.ticks = () => [];
  const f = frame(c, across, up, { left: 8, gap: 0 }), tall = f.h / rows.length;
  const colours = { queue: colour("--line"), "start-up": colour("--s1"), idle: colour("--s2") };
  rows.forEach((row, k) => row.spans.forEach(([use, begin, until, trial]) => {
    const at = f.px(begin / unit), w = Math.max(f.px(until / unit) - at, 0.6), y = f.top + k * tall + tall * 0.1;
    ctx.globalAlpha = trial >= 0 && !shown[trial] ? 0.15 : trial >= 0 && trial % 2 ? 0.7 : 1;
    ctx.fillStyle = colours[uses[use]] ?? colour("--s0");
    ctx.fillRect(at, y, w, Math.max(tall * 0.8, 0.8));
    const what = trial >= 0 ? named(trial) : uses[use];
    c.points.push({ x: at, y, w, h: tall * 0.8, trial, text: `${row.name ? row.name + ": " : ""}${what}\n${span(begin)} to ${span(until)}` });
  }));
  ctx.globalAlpha = 1;
}
