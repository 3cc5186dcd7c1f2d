"""Pictures of what hpctune draws on a terminal, as SVG: the live table and ``hpctune top``, on a light and on a dark
background, with 80 and with 160 columns. They are drawn from a search of half a minute on this machine.

    python scripts/terminal_pictures.py [DIRECTORY]

The default directory is docs/pictures. The pictures are named live-80-dark.svg, top-160-light.svg and so on.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from hpctune.cli.top.app import TopApp
from hpctune.cli.top.experiment import ExperimentScreen
from hpctune.core.state import ExperimentState
from hpctune.driver import status_file
from hpctune.model.trial import Phase
from hpctune.output.display.curves import ShownCurves
from hpctune.output.display.live import live_block
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment

NAME, HOST, RESULTS = "descent", "login1", "/home/you/hpctune_results/descent"
WIDTHS = (80, 160)
HEIGHT = 32
_NORMAL = [
    *((0, 0, 0), (194, 54, 33), (37, 140, 36), (150, 110, 0), (40, 80, 200), (150, 40, 160), (0, 130, 140)),
    (203, 204, 205),
]
THEMES = {
    "dark": TerminalTheme((24, 26, 31), (222, 224, 228), _NORMAL),
    "light": TerminalTheme((255, 255, 255), (31, 35, 40), _NORMAL),
}
SEARCH = """\
import math
import time

import hpctune as tune


def train(config):
    x, speed = 5.0, 0.0
    for _ in range(20):
        time.sleep(0.2)
        speed = config["momentum"] * speed - config["lr"] * 2 * x
        x += speed
        print(f"x = {x:.4g}, speed = {speed:.4g}")
        if abs(x) > 1e3:
            raise FloatingPointError("the descent diverges: choose a smaller lr")
        tune.report({"loss": x * x})


tuner = tune.Tuner(
    train,
    param_space={"lr": tune.loguniform(1e-2, 8), "momentum": tune.uniform(0, 0.9)},
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        num_samples=24,
        max_concurrent_trials=4,
        search_alg=tune.search.BasicVariantGenerator(random_state=4),
        scheduler=tune.schedulers.ASHAScheduler(max_t=20, grace_period=5),
    ),
)
"""


def main() -> None:
    """Draw all pictures."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "pictures")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        driver = _start(work)
        try:
            root = work / "results" / NAME
            state, curves = _wait(root, driver)
            found = status_file.read(ExperimentPaths(root))
            queue = found.queue if found is not None else ""
            for width in WIDTHS:
                for theme in THEMES:
                    (target / f"live-{width}-{theme}.svg").write_text(live(state, queue, curves, width, theme))
                    (target / f"top-{width}-{theme}.svg").write_text(top(root, width, theme))
        finally:
            _hpctune(work, "stop", str(work / "results" / NAME)).wait()
            driver.wait()
    print(f"{4 * len(WIDTHS)} pictures in {target}")


def _start(work: Path) -> subprocess.Popen[bytes]:
    """The search, on a machine that is called HOST."""
    (work / "sitecustomize.py").write_text(f"import socket\nsocket.gethostname = lambda: {HOST!r}\n")
    (work / "search.py").write_text(SEARCH)
    where = ("--storage-path", str(work / "results"), "--cluster", "local")
    return _hpctune(work, "run", "search.py", "--name", NAME, *where, "-v", "0")


def _hpctune(work: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(work)}
    return subprocess.Popen([sys.executable, "-m", "hpctune", *words], cwd=work, env=environment)


def _wait(root: Path, driver: subprocess.Popen[bytes]) -> tuple[ExperimentState, ShownCurves]:
    """The search when half of it is done, and the curves that were seen on the way."""
    curves = ShownCurves()
    for state in _looks(root, driver):
        for trial in state.trials.values():
            curves.text(trial, state.spec.metric)
        ended = state.phases[Phase.TERMINATED] + state.phases[Phase.ERROR]
        if ended >= 10 and state.phases[Phase.ERROR] >= 2 and state.phases[Phase.RUNNING] >= 2:
            return state, curves
    raise SystemExit("the search ended before it could be drawn")


def _looks(root: Path, driver: subprocess.Popen[bytes]) -> Iterator[ExperimentState]:
    while driver.poll() is None:
        if (root / "experiment.json").exists():
            yield read_experiment(root).state
        time.sleep(0.1)


def live(state: ExperimentState, queue: str, curves: ShownCurves, width: int, theme: str) -> str:
    """The live table as SVG. ``queue``: how long jobs have waited."""
    console = Console(record=True, width=width, height=HEIGHT, file=io.StringIO(), force_terminal=True,
                      color_system="256", highlight=False)  # fmt: skip
    more = {"where": RESULTS, "curves": curves, "facts": [("Queue", queue)] if queue else []}
    console.print(live_block(state, state.last_at, height=HEIGHT, **more))
    return _alone(console.export_svg(title=f"hpctune run, {width} columns", theme=THEMES[theme]))


def top(root: Path, width: int, theme: str) -> str:
    """The screen of ``hpctune top`` as SVG."""

    async def draw() -> str:
        app = TopApp(root.parent, ExperimentPaths(root))
        app.theme = f"textual-{theme}"
        async with app.run_test(size=(width, HEIGHT)) as pilot:
            while not isinstance(app.screen, ExperimentScreen) or app.screen.details is None:
                await pilot.pause(0.1)
            while app.screen.sort != "loss":
                await pilot.press("s")
            await pilot.press("ctrl+home")
            while app.screen.details is None or app.screen.details.trial_id != app.screen._chosen():
                await pilot.pause(0.1)
            await pilot.pause(0.5)
            return app.export_screenshot(title=f"hpctune top, {width} columns")

    svg = _alone(asyncio.run(draw()))
    return svg if theme == "dark" else svg.replace('fill="#292929"', 'fill="#ffffff"').replace("#c5c8c6", "#1f2328")


def _alone(svg: str) -> str:
    """The picture without what it would fetch from elsewhere."""
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main()
