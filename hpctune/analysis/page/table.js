// The filter, the table of trials, and the comparison of those that were chosen.

const PAGE = 50;
const cellOf = (p, n) => p.odd[n] ?? (p.places[n] === null ? "" : p.categories ? p.categories[p.places[n]] : p.places[n]);

// All columns of an experiment: name, values by trial, how they are shown.
function columnsOf(one) {
  const t = one.trials, taken = new Set(["trial", "state", "iteration", "seconds", "reason", ...one.metrics.map((m) => m.name)]);
  return [
    { name: "trial", of: (n) => t.id[n] },
    { name: "state", of: (n) => one.states[t.state[n]] },
    { name: "iteration", of: (n) => t.iteration[n] ?? "" },
    { name: "seconds", of: (n) => t.seconds[n] ?? "", text: (v) => (v === "" ? "" : span(v)) },
    ...one.metrics.map((m) => ({ name: m.name, of: (n) => m.values[n] ?? "" })),
    ...one.params.map((p) => ({ name: taken.has(p.name) ? `config/${p.name}` : p.name, of: (n) => cellOf(p, n) })),
    { name: "reason", of: (n) => t.reason[n], long: true },
  ];
}

// Terms such as loss<0.3 or state=completed or a plain word, all of which must hold. Throws an Error with what is wrong.
function parseFilter(text, columns) {
  const joined = text.replace(/"[^"]*"|\s*(<=|>=|!=|==|=|<|>|~)\s*/g, (found, op) => op ?? found), terms = joined.match(/(?:"[^"]*"|[^\s"])+/g) ?? [];
  const tests = terms.filter((term) => !/^and$/i.test(term)).map((term) => {
    const found = /^(.*?)(<=|>=|!=|==|=|<|>|~)(.*)$/.exec(term);
    if (!found) {
      const word = term.replaceAll('"', "").toLowerCase();
      return (n) => [0, 1, columns.length - 1].some((k) => String(columns[k].of(n)).toLowerCase().includes(word));
    }
    const [name, op, wanted] = [found[1].replaceAll('"', ""), found[2], found[3].replaceAll('"', "")];
    const column = columns.find((c) => c.name === name) ?? columns.find((c) => c.name.split("/").pop() === name);
    if (!column) throw new Error(`There is no ${name || "name before " + op}. There are: ${columns.map((c) => c.name).join(", ")}.`);
    if (wanted === "") throw new Error(`What should ${name} be? Write a value after ${op}`);
    const goal = Number(wanted), numeric = !Number.isNaN(goal);
    if (/^[<>]/.test(op) && !numeric) throw new Error(`${name}${op}${wanted}: ${wanted} is not a number.`);
    return (n) => {
      const v = column.of(n);
      if (op === "~") return String(v).toLowerCase().includes(wanted.toLowerCase());
      const equal = numeric && typeof v === "number" ? v === goal || number(v) === wanted : String(v) === wanted;
      if (op === "=" || op === "==") return equal;
      if (op === "!=") return !equal;
      if (typeof v !== "number" && (v === "" || Number.isNaN(Number(v)))) return false;
      return { "<": v < goal, "<=": v <= goal, ">": v > goal, ">=": v >= goal }[op];
    };
  });
  return (n) => tests.every((test) => test(n));
}

function compareCells(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// The table: sorted by a column, a page at a time. before: the name of a column, and whether down.
function trialTable(before) {
  const columns = x.columns, place = el("div"), sortedBy = { column: null, down: false };
  let at = 0;
  const head = columns.map((c) => {
    const button = el("button", { type: "button", onclick: () => sort(c) }, c.name);
    return el("th", { scope: "col" }, button);
  });
  const body = el("tbody"), note = el("span", { role: "status" });
  const back = el("button", { type: "button", onclick: () => { at -= PAGE; fill(); } }, "Back");
  const on = el("button", { type: "button", onclick: () => { at += PAGE; fill(); } }, "On");
  const table = el("table", {}, el("caption", { className: "hidden" }, "Trials"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "compare"), ...head)), body);
  table.id = "trials-table";
  const row = (n) => {
    const box = el("input", { type: "checkbox", checked: chosen.has(n), onchange: () => choose(n) });
    box.setAttribute("aria-label", `Compare ${x.trials.id[n]}`);
    const cells = columns.map((c) => {
      const v = c.of(n);
      return el("td", { className: c.long ? "long" : typeof v === "number" ? "number" : "" }, c.text ? c.text(v) : number(v));
    });
    return el("tr", { className: (x.front.length ? x.front.includes(n) : x.best?.trial === n) ? "best" : "" }, el("td", {}, box), ...cells);
  };
  let order = [];
  function arrange() {
    order = every();
    const { column, down } = sortedBy;
    if (column) {
      const cells = new Map(order.map((n) => [n, column.of(n)]));
      order.sort((m, n) => {
        const a = cells.get(m), b = cells.get(n), way = compareCells(a, b);
        return (a === "" || b === "" ? way : down ? -way : way) || m - n;
      });
    }
    at = 0;
    fill();
  }
  function fill() {
    body.replaceChildren(...order.slice(at, at + PAGE).map(row));
    back.disabled = at === 0;
    on.disabled = at + PAGE >= order.length;
    note.textContent = order.length ? `${at + 1} to ${Math.min(at + PAGE, order.length)} of ${order.length} trials` : "No trial.";
  }
  function sort(column, down = sortedBy.column === column ? !sortedBy.down : column.name === x.metric && x.mode === "max") {
    sortedBy.down = down;
    sortedBy.column = column;
    head.forEach((th, k) => th.setAttribute("aria-sort", columns[k] !== column ? "none" : sortedBy.down ? "descending" : "ascending"));
    arrange();
  }
  place.append(el("div", { className: "row" }, back, on, note), el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of trials" }, table));
  const main = columns.find((c) => c.name === (before?.name ?? x.metric));
  if (main) sort(main, before?.down); else arrange();
  const go = (row) => { at = row < order.length ? row : 0; fill(); };
  return { place, arrange, fill, go, state: () => ({ name: sortedBy.column?.name, down: sortedBy.down, row: at }) };
}

// The chosen trials side by side; what differs is marked.
function comparison() {
  const trials = [...chosen];
  if (!trials.length) return [el("p", { className: "note" }, "Choose trials in the table or in a picture, with a click or with Enter.")];
  const only = document.getElementById("only-differences")?.checked ?? false;
  const rows = [...x.columns.slice(1), ...x.constants.map(([name, value]) => ({ name, of: () => value }))].map((c) => {
    const cells = trials.map((n) => (c.text ? c.text(c.of(n)) : number(c.of(n)))), differs = new Set(cells).size > 1;
    if (only && !differs) return null;
    return el("tr", { className: differs ? "differs" : "" }, el("th", { scope: "row" }, c.name), ...cells.map((v) => el("td", {}, v)), el("td", {}, differs ? "differs" : ""));
  });
  const box = el("input", { type: "checkbox", id: "only-differences", checked: only, onchange: renewComparison });
  const heads = trials.map((n) => el("th", { scope: "col" }, x.trials.id[n]));
  return [
    el("div", { className: "row" }, el("label", {}, box, " only what differs"), el("button", { type: "button", onclick: () => { chosen.clear(); renew(); } }, "Choose none")),
    el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Comparison" }, el("table", { id: "comparison-table" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, ""), ...heads, el("th", { scope: "col" }, ""))), el("tbody", {}, ...rows.filter(Boolean)))),
  ];
}
