"""The page of ``hpctune html`` in a real Chromium: it draws, filters, sorts, compares, and says nothing in the console.

A script that acts as a user is added to the page; it leaves what it saw in the document, which Chromium prints.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.analysis import ExperimentAnalysis
from hpctune.analysis.page import server
from hpctune.analysis.page.build import page
from hpctune.analysis.page.server import LiveExperiment, PageServer
from tests.support.cli_support import hpctune
from tests.support.output_support import Recorder
from tests.support.picture_support import search, written

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH (apt-get install chromium)")

USER = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const $ = (query) => document.querySelector(query);
const all = (query) => [...document.querySelectorAll(query)];
const column = (name) => {
  const n = all("#trials-table thead th").findIndex((th) => th.textContent === name);
  return all("#trials-table tbody tr").map((tr) => tr.children[n].textContent);
};
const press = (name) => all("#trials-table th button").find((b) => b.textContent === name).click();
const set = (query, value, event) => { $(query).value = value; $(query).dispatchEvent(new Event(event)); };
async function filter(text) { set("#filter", text, "input"); await wait(250); return $("#filter-note").textContent; }
const paintAll = () => window.dispatchEvent(new Event("beforeprint"));  // without a screen there may be no frames
const drawn = (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Uint32Array(data.buffer).some((v) => v);
};
const label = (node) => node.getAttribute("aria-label");
const blank = () => all("canvas").filter((c) => !drawn(c)).map(label);
const heads = () => all("#comparison-table thead th").filter((th) => th.textContent).length;
const errors = [];
window.addEventListener("error", (e) => errors.push(e.message));
window.addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
addEventListener("load", async () => {
  const saw = {};
  try { await act(saw); } catch (error) { errors.push(String(error) + error.stack); }
  const pre = Object.assign(document.createElement("pre"), { id: "saw" });
  pre.textContent = JSON.stringify({ ...saw, errors });
  document.body.append(pre);
});
"""


def with_actions(text: str, actions: str) -> str:
    """The page with a user who does ``actions``."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    script = f"<script>{USER}\nasync function act(saw) {{ {actions} }}</script>"
    return text.replace("</body>", f"{script}</body>")


def browse(tmp_path: Path, text: str, actions: str = "", size: str = "1280,6000") -> tuple[dict[str, Any], str]:
    """What the actions left in ``saw``, and what Chromium logged. Without actions the page is as it is."""
    file = tmp_path / "page.html"
    file.write_text(with_actions(text, actions) if actions else text)
    return visit(tmp_path, file.as_uri(), size, "--host-resolver-rules=MAP * ~NOTFOUND")


def visit(tmp_path: Path, address: str, size: str = "1280,6000", *options: str) -> tuple[dict[str, Any], str]:
    """What the actions in the page at ``address`` left in ``saw``, and what Chromium logged."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={size}",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", *options, address,
        ],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    found = re.search(r'<pre id="saw">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found or "async function act" not in done.stdout, done.stderr[-3000:]
    saw = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if found else "{}"
    return json.loads(saw), "\n".join(
        line for line in done.stderr.splitlines() if "CONSOLE" in line and "willReadFrequently" not in line
    )


def test_a_user_looks_filters_sorts_and_compares(tmp_path: Path) -> None:
    text = page([search(tmp_path / "exp", trials=70)])
    saw, console = browse(
        tmp_path,
        text,
        """
        paintAll();
        saw.title = document.title;
        saw.blank = blank();
        saw.canvases = all("canvas").length;
        saw.rows = column("trial").length;
        const numbers = (name) => column(name).filter((t) => t !== "").map(Number);
        const rising = (v) => v.every((x, n) => !n || v[n - 1] <= x);
        saw.sorted = rising(numbers("loss"));
        press("lr"); saw.up = rising(numbers("lr"));
        press("lr"); saw.down = rising(numbers("lr").reverse());
        saw.aria = all("th[aria-sort=descending]").map((th) => th.textContent);
        all("button").find((b) => b.textContent === "On").click();
        saw.second = column("trial").length;
        saw.few = await filter("loss < 0.4  act=relu");
        saw.fits = column("loss").every((t) => Number(t) < 0.4) && column("net/act").every((t) => t === "relu");
        saw.wrong = await filter("los < 3");
        saw.kept = column("trial").length;
        saw.word = await filter("cutoff");
        saw.all = await filter("");
        all("#states input")[1].click();
        saw.without = $("#filter-note").textContent;
        all("#states input")[1].click();
        all("#trials-table tbody input")[0].click();
        all("#trials-table tbody input")[1].click();
        saw.compared = heads();
        saw.differs = all("#comparison-table tr.differs th").map((th) => th.textContent);
        const curves = $("#curves canvas"); curves.focus();
        curves.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        saw.tip = $("#tip").textContent;
        curves.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
        saw.more = heads();
        $("#log").click(); $("#by-time").click(); set("#front-y-mode", "max", "change");
        $("#theme").click(); saw.dark = document.documentElement.className;
        paintAll();
        saw.still = blank().length;
        const named = (n) => n.labels?.length || n.textContent || label(n);
        saw.names = all("input, select, button, canvas").filter((n) => !named(n)).length;
        """,
    )
    assert saw["errors"] == []
    assert console == ""
    assert (saw["title"], saw["blank"], saw["canvases"]) == ("exp", [], 12)
    assert (saw["rows"], saw["second"]) == (50, 20)
    assert saw["sorted"]
    assert saw["up"]
    assert saw["down"]
    assert saw["aria"] == ["lr"]
    assert re.fullmatch(r"\d+ of 70 trials", saw["few"])
    assert saw["fits"]
    assert saw["wrong"].startswith("There is no los. There are: trial, state,")
    assert saw["kept"] > 0, "a wrong filter changes nothing"
    assert re.fullmatch(r"\d+ of 70 trials", saw["word"])
    assert saw["all"] == "all 70 trials"
    assert re.fullmatch(r"\d+ of 70 trials", saw["without"])
    assert saw["compared"] == 2
    assert "loss" in saw["differs"]
    assert "data" not in saw["differs"]
    assert "iteration 1: " in saw["tip"]
    assert saw["more"] in (2, 3), "the first curve's trial may have been chosen already, and is then taken back"
    assert (saw["dark"], saw["still"], saw["names"]) == ("dark", 0, 0)


HARD = "</script><img src=x onerror=document.body.append('MARKUP')>"


def test_pages_of_hard_experiments_have_no_errors(tmp_path: Path) -> None:
    values = (math.nan, math.inf, 3, HARD, [1, [2]], None, True, 10**400)
    odd = [
        ({"x": v, HARD: n, "same": 1, "loss": n, "deep": {"a": {"b": n % 2}}}, {"loss": 1e30 if n == 2 else n}, HARD)
        for n, v in enumerate(values)
    ]
    roots = [
        written(tmp_path / "odd", *odd),
        Recorder(tmp_path / "empty").paths.root,
        written(tmp_path / "none", ({"x": 1}, None, ""), ({"x": 2}, {"words": "only"}, ""), metric=None),
        written(tmp_path / "failed", *(({"x": n}, None, f"broken {n}") for n in range(3))),
        written(tmp_path / "constant", *(({"x": 1}, {"loss": 5.0}, "") for _ in range(3))),
        search(tmp_path / "usual", trials=12),
    ]
    saw, console = browse(
        tmp_path,
        page(roots),
        """
        saw.names = []; saw.blank = [];
        for (let n = 0; n < $("#which").options.length; n++) {
          await filter(n ? "" : 'deep/a/b=1 config/loss<5 reason~"onerror=document"');
          if (!n) saw.found = column("trial").length;
          set("#which", n, "change");
          paintAll();
          saw.names.push($("#title").textContent);
          saw.blank.push(...blank());
        }
        saw.images = all("img").length;
        saw.markup = document.body.textContent.split("MARKUP").length;
        """,
    )
    assert saw["errors"] == []
    assert console == ""
    assert saw["found"] == 2, "names that a parameter shares with a metric, and quoted words"
    assert saw["names"] == ["odd", "empty", "none", "failed", "constant", "usual"]
    assert saw["blank"] == []
    assert saw["images"] == 0


@pytest.mark.nightly
def test_the_page_obeys_its_own_policy(tmp_path: Path) -> None:
    _, console = browse(tmp_path, page([search(tmp_path / "exp", trials=12)]))
    assert console == ""
    _, console = browse(tmp_path, page([search(tmp_path / "two", trials=12)]).replace("begin(show);", "begin( show);"))
    assert "CONSOLE" in console, "a script that was changed is refused, and this test would see it"


@pytest.mark.nightly
def test_ten_thousand_trials_are_quick(tmp_path: Path) -> None:
    text = page([search(tmp_path / "exp", trials=10_000, reports=20)])
    assert len(text) < 8_000_000
    saw, console = browse(
        tmp_path,
        text,
        """
        const steps = {
          paint: paintAll, filter: () => filter("loss<0.5"), again: paintAll, sort: () => press("lr"),
          theme: () => $("#theme").click(),
        };
        for (const [name, how] of Object.entries(steps)) {
          const begun = Date.now(); await how(); saw[name] = Date.now() - begun;
        }
        saw.blank = blank().length;
        """,
    )
    assert (saw["errors"], console, saw["blank"]) == ([], "", 0)
    slowest = max(saw[name] for name in ("filter", "sort", "theme"))
    assert slowest < 3 * saw["paint"] + 3000, saw  # a machine with a load is slow at everything


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Path], str], PageServer]]:
    """Starts a server of the page with a user in it."""
    servers: list[tuple[PageServer, threading.Thread]] = []

    def start(roots: list[Path], actions: str) -> PageServer:
        real = server.live_page
        if actions:
            monkeypatch.setattr(server, "live_page", lambda known: with_actions(real(known), actions))
        pages = PageServer([LiveExperiment(root) for root in roots])
        thread = threading.Thread(target=pages.serve)
        thread.start()
        servers.append((pages, thread))
        return pages

    yield start
    for pages, thread in servers:
        pages.close()
        thread.join()


def test_a_served_page_follows_the_experiment_and_keeps_what_was_set(
    tmp_path: Path, served: Callable[[list[Path], str], PageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path / "exp", num_samples=200)
    for n in range(60):
        recorder.start(recorder.add(lr=float(n)))
        recorder.report(f"1f3a9_{n:05d}", [{"loss": 1.0 + n}])
    pages = served(
        [recorder.paths.root, search(tmp_path / "other", trials=9)],
        """
        // The browser's clock runs ahead while nothing is asked for, so a question to the server is part of each wait.
        const until = async (test) => {
          for (let n = 0; n < 150 && !test(); n++) { await fetch("pause"); await wait(50); }
          return test();
        };
        await until(() => $("#trials-table"));
        saw.before = $("#best-table").textContent;
        await filter("lr < 55");
        press("lr"); press("lr");
        all("button").find((b) => b.textContent === "On").click();
        all("#trials-table tbody input")[1].click();
        $("#log").click();
        saw.kept = [column("trial"), heads(), $("#filter-note").textContent];
        await fetch("more");
        saw.changed = await until(() => $("#best-table").textContent !== saw.before);
        saw.after = $("#best-table").textContent;
        saw.still = [column("trial"), heads(), $("#filter-note").textContent];
        saw.log = $("#log").checked;
        saw.sorted = all("th[aria-sort=descending]").map((th) => th.textContent);
        saw.line = $("#live").textContent;
        set("#which", "1", "change");
        await until(() => $("#title").textContent === "other");
        saw.title = $("#title").textContent;
        await fetch("end");
        await until(() => $("#live").className === "wrong");
        saw.lost = $("#live").textContent;
        """,
    )
    real = server._Handler.do_GET

    def answer(self: Any) -> None:
        if self.path.startswith("/more"):
            recorder.report("1f3a9_00007", [{"loss": 0.25}])
            recorder.start(recorder.add(lr=60.0))
        if self.path.startswith("/pause"):
            time.sleep(0.1)
        if self.path.startswith("/end"):
            monkeypatch.setattr(server._Handler, "_data", lambda *_: self.connection.close())
        real(self)

    monkeypatch.setattr(server._Handler, "do_GET", answer)
    saw, console = visit(tmp_path, pages.address, "1280,6000")
    assert saw["errors"] == []
    assert saw["changed"], console
    assert saw["before"] == "The best configurationlr0.0"
    assert saw["after"] == "The best configurationlr7.0"
    assert saw["still"][:2] == saw["kept"][:2]
    assert (len(saw["kept"][0]), saw["kept"][1:]) == (5, [1, "55 of 60 trials"])
    assert saw["still"][2] == "55 of 61 trials"
    assert (saw["log"], saw["sorted"], saw["title"]) == (True, ["lr"], "other")
    assert saw["line"].startswith("live, as of ")
    assert saw["lost"].startswith("hpctune serve does not answer")


def test_a_served_page_obeys_its_own_policy(tmp_path: Path, served: Callable[[list[Path], str], PageServer]) -> None:
    pages = served([search(tmp_path / "exp", trials=12)], "")
    _, console = visit(tmp_path, pages.address)
    assert console == ""


def test_a_click_on_a_heading_sorts_a_table_in_a_notebook(tmp_path: Path) -> None:
    analysis = ExperimentAnalysis(search(tmp_path / "exp", trials=15))
    saw, console = browse(
        tmp_path,
        f"<!DOCTYPE html><html><body>{analysis._repr_html_()}</body></html>",
        """
        const heading = (name) => [...document.querySelectorAll("th")].find((th) => th.textContent === name);
        const cells = (n) => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[n].textContent.trim());
        heading("lr").click(); saw.up = cells(heading("lr").cellIndex);
        heading("lr").click(); saw.down = cells(heading("lr").cellIndex);
        heading("loss").click(); saw.loss = cells(2);
        heading("trial").click(); saw.trials = cells(0);
        """,
    )
    assert console == ""
    up = [float(text) for text in saw["up"]]
    assert up == sorted(up)
    assert saw["down"] == saw["up"][::-1]
    values = [float(text) for text in saw["loss"] if text != "-"]
    assert values == sorted(values)
    assert "-" not in saw["loss"][: len(values)], "what has no value comes last"
    assert saw["trials"] == sorted(saw["trials"])


def test_the_page_says_what_runs_with_fresh_seeds_say(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"] + (config["seed"] % 100) / 1000})

    tune.run(
        train, config={"x": tune.grid_search([1, 2]), "seed": 7}, metric="loss", mode="min", name="e",
        storage_path=tmp_path, verbose=0, cluster="debug",
    )  # fmt: skip
    assert hpctune("confirm", tmp_path / "e", "--top", "2", "--seeds", "3").returncode == 0
    assert hpctune("resume", tmp_path / "e", "-v0").returncode == 0
    saw, console = browse(
        tmp_path,
        page([tmp_path / "e"]),
        """saw.cells = all(".again td").map((cell) => cell.textContent);
        saw.verdict = document.querySelector(".again + p").textContent;""",
    )
    assert console == ""
    assert saw["cells"].count("3 of 3") == 2
    assert "is the best" in saw["verdict"]


def test_several_metrics_show_the_front_first(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", more_objectives=(("size", "max"),))
    for n in range(30):
        trial = made.add(lr=n)
        made.start(trial)
        made.report(trial, [{"loss": float(n), "size": 1.0 + n if n < 25 else 0.5}])
        made.finish(trial)
    saw, console = browse(
        tmp_path,
        page([made.paths.root]),
        """const front = document.getElementById("front-table");
        saw.tiles = document.querySelector("#best .tiles").textContent;
        saw.caption = front.caption.textContent;
        saw.head = [...front.querySelectorAll("th")].map((th) => th.textContent);
        saw.first = [...front.querySelectorAll("tbody tr")[1].cells].map((cell) => cell.textContent);
        saw.bold = all("tr.best").length;""",
    )
    assert console == ""
    assert "on the Pareto front25 trials" in saw["tiles"]
    assert "the first 20 by loss" in saw["caption"]
    assert saw["head"] == ["trial", "loss (min)", "size (max)"]
    assert saw["first"] == ["1f3a9_00001", "1", "2"]
    assert saw["bold"] == 25
