// Loads the data of the experiment that is shown, and again when it has changed. What the user has set stays.

const EVERY_MS = 3000;
const key = new URLSearchParams(location.search).get("token") ?? "";
const versions = new Map(), line = document.getElementById("live");
let current = 0, loading = null;

function told(words, wrong = false) {
  line.hidden = false;
  line.textContent = words;
  line.className = wrong ? "wrong" : "note";
}

// The data of an experiment, or null if it has not changed.
async function fetched(which) {
  const headers = { Authorization: `Bearer ${key}` };
  if (versions.has(which)) headers["If-None-Match"] = versions.get(which);
  const answer = await fetch(`experiment/${which}`, { headers, cache: "no-store" });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error((await answer.text()) || `status ${answer.status}`);
  const data = await answer.json();
  versions.set(which, answer.headers.get("ETag"));
  return data;
}

const controls = () => [...main.querySelectorAll("select, input[id]")];
const focusable = () => [...main.querySelectorAll("a, button, input, select, summary, canvas, [tabindex]")];
const scrolled = () => [...main.querySelectorAll(".scroll, pre")];

// What the user has set on the page, as a function that sets it again.
function settings() {
  const one = x, ids = [...chosen].map((n) => x.trials.id[n]), sorting = table.state(), y = window.scrollY;
  const set = new Map(controls().map((c) => [c.id, c.type === "checkbox" ? c.checked : c.selectedOptions[0]?.textContent]));
  const states = [...document.querySelectorAll("#states input")].map((box) => box.checked);
  const open = new Set([...main.querySelectorAll("details[open] summary")].map((s) => s.textContent));
  const places = scrolled().map((s) => [s.scrollLeft, s.scrollTop]);
  const all = focusable(), at = all.indexOf(document.activeElement);
  return () => {
    const number = new Map(x.trials.id.map((id, n) => [id, n]));
    chosen.clear();
    ids.filter((id) => number.has(id)).forEach((id) => chosen.add(number.get(id)));
    display(x, sorting);
    document.querySelectorAll("#states input").forEach((box, k) => { box.checked = states[k] ?? true; });
    for (const c of controls()) {
      const value = set.get(c.id);
      if (c.type === "checkbox") c.checked = value ?? c.checked;
      else c.value = [...c.options].find((o) => o.textContent === value)?.value ?? c.value;
    }
    main.querySelectorAll("details").forEach((d) => { d.open = open.has(d.querySelector("summary").textContent); });
    applyFilter();
    table.go(sorting.row);
    renewComparison();
    scrolled().forEach((s, k) => { [s.scrollLeft, s.scrollTop] = places[k] ?? [0, 0]; });
    if (at >= 0 && focusable().length === all.length) focusable()[at].focus({ preventScroll: true });
    window.scrollTo(0, one.path === x.path ? y : 0);
  };
}

async function load(which) {
  const data = await fetched(which);
  if (which !== current) return;
  if (data !== null) {
    const same = x !== null && x.path === data.path, restore = same ? settings() : null;
    experiments[which] = data;
    if (same) { x = data; restore(); } else show(which);
  } else if (x !== experiments[which]) show(which);
  told(`live, as of ${new Date().toLocaleTimeString()}`);
}

async function update() {
  if (document.hidden || loading) return;
  loading = load(current).catch((error) => told(`hpctune serve does not answer (${error.message}); trying again`, true));
  await loading;
  loading = null;
}

function chooseLive(which) {
  current = which;
  told("loading ...");
  loading = null;
  update();
}

setInterval(update, EVERY_MS);
document.addEventListener("visibilitychange", update);
