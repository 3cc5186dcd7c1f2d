// Puts the page together, and again when another experiment is chosen.

const MAX_AXES = 12;
const MAX_CHOSEN = 8;
const MAX_FRONT = 20;
const experiments = JSON.parse(document.getElementById("data").textContent);
let x = null, shown = [], table = null, logarithmic = false;
const chosen = new Set();
const main = document.getElementById("main"), filterBox = document.getElementById("filter"), note = document.getElementById("filter-note");

function section(id, title, ...kids) {
  return el("section", { id, tabIndex: -1 }, el("h2", {}, title), ...kids);
}
const text = (words) => el("p", { className: "note" }, words);
const choice = (id, label, options, value, redraw = repaint) => {
  const box = el("select", { id, onchange: redraw }, ...options.map(([v, t]) => el("option", { value: v }, t)));
  box.value = value;
  return el("label", {}, `${label} `, box);
};

function summary() {
  const tile = (name, value) => el("div", {}, name, el("b", {}, value));
  const best = x.best, of = x.wanted > 0 ? ` of ${x.wanted}` : "";
  const tiles = [tile("trials", `${x.trials.id.length}${of}`), tile("status", x.status)];
  if (best) tiles.push(tile(`best ${x.metric} (${x.mode})`, number(best.value)), tile("in trial", x.trials.id[best.trial]));
  if (x.front.length) tiles.push(tile("on the Pareto front", `${x.front.length} trials`));
  const hours = x.cost.hours;
  tiles.push(tile("node hours held", hours.toFixed(hours < 10 ? 2 : 0)));
  const about = [`${x.counts || "no trials yet"}${x.reason ? `; ${x.reason}` : ""}`, `${x.path}, last change ${new Date(x.updated * 1000).toLocaleString()}`];
  if (x.assumed) about.push(`The experiment has no ${x.metric === null ? "metric" : "mode"}: ${x.metric} is shown, low values as better. Others: hpctune html DIR --metric NAME --mode max`);
  const kids = [el("div", { className: "tiles" }, ...tiles), ...about.map(text)];
  if (best) {
    const rows = best.config.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { className: "long" }, value)));
    kids.push(el("table", { id: "best-table" }, el("caption", { className: "note" }, `The best configuration${x.front.length ? ` by ${x.metric}` : ""}`), el("tbody", {}, ...rows)));
    kids.push(text(`Directory: ${best.directory}${best.checkpoint ? `, checkpoint ${best.checkpoint}` : ""}`));
  } else if (x.metric === null) kids.push(text("No trial has reported a number yet."));
  if (x.front.length) kids.push(frontTable());
  for (const c of x.confirmed) kids.push(...again(c));
  return section("best", "Best", ...kids);
}

function frontTable() {
  const goals = x.metrics.filter((m) => m.name in x.modes), most = x.front.slice(0, MAX_FRONT);
  const names = ["trial", ...goals.map((m) => `${m.name} (${x.modes[m.name]})`)];
  const rows = most.map((n) => el("tr", {}, el("td", {}, x.trials.id[n]), ...goals.map((m) => el("td", {}, number(m.values[n])))));
  const more = x.front.length > MAX_FRONT ? `; the first ${MAX_FRONT} by ${goals[0].name}` : "";
  return el("table", { id: "front-table" }, el("caption", { className: "note" }, `The Pareto front: no other trial is better in every metric${more}`),
    el("thead", {}, el("tr", {}, ...names.map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, ...rows));
}

function again(c) {
  const head = el("tr", {}, ...c.head.map((t) => el("th", { scope: "col" }, t)));
  const rows = c.rows.map((row) => el("tr", {}, ...row.map((t) => el("td", {}, t))));
  return [el("table", { className: "again" }, el("caption", { className: "note" }, "Run again with fresh seeds"), el("thead", {}, head), el("tbody", {}, ...rows)), el("p", {}, c.verdict)];
}

const KEYS = ["●", "✕", "■", "▶", "○"];
function stateKey() {
  return el("div", { className: "row", "aria-hidden": "true" }, ...x.states.map((name, n) => {
    const dot = el("span", {}, KEYS[n]);
    dot.style.color = `var(--s${n})`;
    return el("span", { className: "key" }, dot, name);
  }));
}

function pictures() {
  const pair = (...kids) => el("div", { className: "pair" }, ...kids);
  const time = el("input", { type: "checkbox", id: "by-time", onchange: repaint });
  const log = el("input", { type: "checkbox", id: "log", checked: logarithmic, onchange: () => { logarithmic = log.checked; repaint(); } });
  const main = x.metric ?? "value";
  const metrics = x.metrics.map((m, n) => [n, m.name]), modes = [["min", "min"], ["max", "max"]];
  const made = [
    section("history", "Best so far", el("div", { className: "row" }, el("label", {}, time, " by time"), el("label", {}, log, " logarithmic metric, in all pictures")),
      chart(`Best ${main} so far over ${x.history.length} trials`, 280, paintHistory).canvas),
    section("importance", "Importance of parameters", chart(`Importance: ${x.importance.map(([n, s]) => `${n} ${(100 * s).toFixed(0)}%`).join(", ") || "not known yet"}`, () => Math.max(60, 12 + 24 * x.importance.length), paintImportance).canvas,
      text("The share of the metric's variance, by ranks, that a parameter explains alone.")),
  ];
  const hidden = x.ordered.length > MAX_AXES ? ` The ${MAX_AXES} most important of ${x.ordered.length} are shown.` : "";
  const slices = x.ordered.slice(0, MAX_AXES);
  return [
    pair(...made),
    section("curves", "Learning curves", stateKey(), chart(`Learning curves of ${x.curves.length} trials`, 360, paintCurves).canvas),
    section("parallel", "Parallel coordinates", text(`A line for each trial; better ones stand out.${hidden}`), chart(`Parallel coordinates of ${x.params.length} parameters`, 340, paintParallel).canvas),
    section("slices", "Slices", stateKey(), slices.length ? el("div", { className: "grid" }, ...slices.map((p) => chart(`${main} against ${p.name}`, 210, paintSlice(p)).canvas)) : text("No parameter varies."),
      text(x.constants.length ? `The same in all trials: ${x.constants.map(([n, v]) => `${n} = ${v}`).join(", ")}` : "")),
    pair(
      section("contour", "Two parameters", x.surfaces.length ? choice("surface", "Over", x.surfaces.map((s, n) => [n, `${s.x} and ${s.y}`]), 0) : "",
        chart("The metric over two parameters", 340, paintContour).canvas),
      section("pareto", "Pareto front", x.metrics.length > 1 ? el("div", { className: "row" },
        choice("front-x", "Across", metrics.slice(0, 5), 0), choice("front-x-mode", "better", modes, x.metrics[0].name === x.metric ? x.mode : x.modes[x.metrics[0].name] || "min"),
        choice("front-y", "up", metrics.slice(0, 5), 1), choice("front-y-mode", "better", modes, x.modes[x.metrics[1].name] || "min")) : "",
      chart("The trials by two metrics", 340, paintFront).canvas),
    ),
  ];
}

function failed() {
  const groups = x.failures.map((g) => el("details", {}, el("summary", {}, `${g.trials.length} ${g.trials.length === 1 ? "trial" : "trials"}: ${g.brief}`),
    el("p", { className: "note" }, g.trials.slice(0, 50).map((n) => x.trials.id[n]).join(", ") + (g.trials.length > 50 ? ", ..." : "")), el("pre", { tabIndex: 0 }, g.text)));
  return section("failures", "Failures", ...(groups.length ? groups : [text("No trial has failed.")]));
}

function allocations() {
  const rows = x.lanes.rows.length, key = [["trials (by turns)", "--s0"], ["waiting in the queue", "--line"], ["start-up", "--s1"], ["idle", "--s2"]].map(([name, c]) => {
    const box = el("i");
    box.style.background = `var(${c})`;
    return el("span", { className: "key" }, box, name);
  });
  const many = x.lanes.allocations > rows ? " Allocations that did not overlap share a line; waiting is left out." : "";
  return section("timeline", "Allocations", el("div", { className: "row" }, ...key), chart(`${x.lanes.allocations} allocations over time`, () => Math.min(420, 70 + 12 * Math.max(rows, 2)), paintTimeline).canvas, text(`${x.lanes.allocations} allocations.${many}`));
}

function costs() {
  const tables = x.cost.tables.map((t, n) => {
    const heads = t.header.map((name) => el("th", { scope: "col" }, name));
    const lines = t.rows.map((cells) => el("tr", {}, el("th", { scope: "row" }, cells[0]), ...cells.slice(1).map((v) => el("td", { className: "number" }, v))));
    return el("div", { className: "scroll" }, el("table", { id: n ? `cost-${t.by}` : "cost-table" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines)));
  });
  const about = [...x.cost.notes, `From ${x.cost.source}. Asked: what was requested; held: what was allocated; both times the time for which it was held. Used: CPU time of all processes. A dash: not known.`];
  return section("cost", "Cost", ...(tables.length ? tables : [text("No job has begun yet.")]), ...about.map(text));
}

function renewComparison() { document.getElementById("comparison").replaceChildren(...comparison()); }
function renew() { table.fill(); renewComparison(); repaint(); }
function choose(n) {
  if (n < 0) return;
  if (!chosen.delete(n)) {
    if (chosen.size >= MAX_CHOSEN) chosen.delete(chosen.values().next().value);
    chosen.add(n);
  }
  renew();
}

function applyFilter() {
  let accepts;
  try {
    accepts = parseFilter(filterBox.value, x.columns);
  } catch (error) {
    note.textContent = error.message;
    note.className = "wrong";
    filterBox.setAttribute("aria-invalid", "true");
    return;
  }
  const states = [...document.querySelectorAll("#states input")].map((box) => box.checked);
  shown = x.trials.id.map((_, n) => states[x.trials.state[n]] && accepts(n));
  note.className = "";
  filterBox.removeAttribute("aria-invalid");
  const count = shown.filter(Boolean).length;
  note.textContent = count === shown.length ? `all ${count} trials` : `${count} of ${shown.length} trials`;
  table?.arrange();
  repaint();
}

function show(which) {
  chosen.clear();
  display(experiments[which]);
}

// sorting: how the table was sorted before, if it is to stay so.
function display(one, sorting) {
  x = one;
  charts.length = 0;
  visible.disconnect();
  table = null;
  shown = x.trials.id.map(() => true);
  x.columns ??= columnsOf(x);
  x.main = x.metrics.find((m) => m.name === x.metric) ?? null;
  x.valueRange = rangeOf(x.main?.values ?? []);
  const rank = new Map(x.importance.map(([name], n) => [name, n]));
  x.ordered = [...x.params].sort((p, q) => (rank.get(p.name) ?? 1e9) - (rank.get(q.name) ?? 1e9));
  document.getElementById("title").textContent = x.name;
  const counts = x.states.map((_, k) => x.trials.state.filter((s) => s === k).length);
  document.getElementById("states").replaceChildren(el("legend", { className: "hidden" }, "States"), ...x.states.map((name, k) => {
    const box = el("input", { type: "checkbox", checked: true, onchange: applyFilter });
    return el("label", { hidden: counts[k] === 0 }, box, ` ${name} (${counts[k]})`);
  }));
  applyFilter();
  table = trialTable(sorting);
  const trials = section("trials", "Trials", table.place), compared = section("compared", "Comparison", el("div", { id: "comparison" }));
  main.replaceChildren(summary(), ...pictures(), trials, compared, failed(), allocations(), costs());
  document.getElementById("nav").replaceChildren(...[...main.querySelectorAll("section")].map((s) => el("a", { href: `#${s.id}` }, s.querySelector("h2").textContent)));
  renewComparison();
}

const themeButton = document.getElementById("theme");
function setTheme(isDark) {
  document.documentElement.classList.toggle("dark", isDark);
  themeButton.textContent = isDark ? "Light" : "Dark";
  repaint();
}
themeButton.addEventListener("click", () => setTheme(!dark()));
setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);

let waiting = 0;
filterBox.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(applyFilter, 150); });
document.getElementById("filter-form").addEventListener("submit", (e) => { e.preventDefault(); clearTimeout(waiting); applyFilter(); });
function begin(choose) {
  if (experiments.length > 1) {
    const which = document.getElementById("which");
    which.append(...experiments.map((one, n) => el("option", { value: n }, one.name)));
    which.addEventListener("change", () => choose(Number(which.value)));
    document.getElementById("which-label").hidden = false;
  }
  if (experiments.length) choose(0);
}
