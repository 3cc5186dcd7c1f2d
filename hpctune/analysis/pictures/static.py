"""Pictures drawn with matplotlib. Import it where a picture is drawn: it needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hpctune.analysis.pictures.axes import Axis
from hpctune.analysis.pictures.curves import Curves, History
from hpctune.analysis.pictures.importance import MIN_TRIALS, Importance
from hpctune.analysis.pictures.parameters import Parallel, Slices, Surface
from hpctune.analysis.pictures.pareto import Pareto
from hpctune.analysis.pictures.style import BEST, COLOURS, NOTHING, map_name, of_params, short
from hpctune.analysis.pictures.trials import State

_MARKS = {State.COMPLETED: "o", State.STOPPED: "x", State.FAILED: "s", State.RUNNING: ">", State.WAITING: "."}
_MAX_TICKS = 12
_COLUMNS = 3


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=90)
        return file.getvalue()


def new_figure(width: float = 8.0, height: float = 4.5) -> Picture:
    """An empty figure, which needs no display."""
    figure = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw(picture: object) -> Figure:
    """The figure of any picture's numbers."""
    match picture:
        case History():
            return _history(picture)
        case Curves():
            return _curves(picture)
        case Importance():
            return _importance(picture)
        case Parallel():
            return _parallel(picture)
        case Slices():
            return _slices(picture)
        case Surface():
            return _surface(picture)
        case Pareto():
            return _pareto(picture)
    raise TypeError(f"no picture of {type(picture).__name__}")


def _one(title: str, x: str, y: str, width: float = 8.0, height: float = 4.5) -> tuple[Picture, Axes]:
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.set_title(_plain(title), fontsize=11)
    axes.set_xlabel(_plain(x))
    axes.set_ylabel(_plain(y))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plain(text: str) -> str:
    """``text`` as it is: matplotlib would read dollars as formulas."""
    return text.replace("$", r"\$")


def _say(axes: Axes, text: str = NOTHING) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#555555")


def _history(h: History) -> Figure:
    over = "trials, in the order in which they ended" if h.by == "trials" else "hours since the experiment began"
    figure, axes = _one(f"{h.title}: best {h.metric} so far ({h.mode})", over, h.metric)
    if not h.points:
        _say(axes)
        return figure
    x = [p.x for p in h.points]
    axes.scatter(x, [p.value for p in h.points], s=16, color=COLOURS[State.WAITING], alpha=0.6, label="trial")
    axes.step(x, [p.best for p in h.points], where="post", color=COLOURS[State.COMPLETED], linewidth=2, label="best")
    axes.legend(frameon=False)
    return figure


def _curves(c: Curves) -> Figure:
    figure, axes = _one(f"{c.title}: {c.metric} of each trial", c.step, c.metric)
    if not c.curves:
        _say(axes)
        return figure
    faint = 0.75 if len(c.curves) <= 30 else 0.35 if len(c.curves) <= 300 else 0.12
    states = [s for s in State if any(curve.state is s for curve in c.curves)]
    for state in states:
        of_state = [curve for curve in c.curves if curve.state is state]
        lines = [list(curve.points) for curve in of_state]
        axes.add_collection(LineCollection(lines, colors=COLOURS[state], alpha=faint, linewidths=1.0))
        ends = [line[-1] for line in lines]
        axes.scatter(
            [x for x, _ in ends], [y for _, y in ends],
            marker=_MARKS[state], s=22, color=COLOURS[state], alpha=max(faint, 0.5), zorder=3,
        )  # fmt: skip
    keys = [Line2D([], [], color=COLOURS[s], marker=_MARKS[s], label=f"{s.value} ({_count(c, s)})") for s in states]
    best = next((curve for curve in c.curves if curve.trial == c.best), None)
    if best is not None:
        axes.plot(*zip(*best.points, strict=True), color=BEST, linewidth=2.2, zorder=4)
        keys.append(Line2D([], [], color=BEST, linewidth=2.2, label=f"best ({best.trial})"))
    axes.autoscale_view()
    axes.legend(handles=keys, frameon=False, fontsize=8)
    return figure


def _count(c: Curves, state: State) -> int:
    return sum(curve.state is state for curve in c.curves)


def _importance(i: Importance) -> Figure:
    figure, axes = _one(
        f"{i.title}: what {i.metric} depends on", f"share of the variance explained ({i.trials} trials)", "",
        height=max(2.2, 1.2 + 0.3 * len(i.shares)),
    )  # fmt: skip
    if not i.shares:
        few = i.trials < MIN_TRIALS
        _say(axes, f"needs {MIN_TRIALS} trials with a value; there are {i.trials}" if few else "no parameter varies")
        return figure
    names, shares = [n for n, _ in i.shares], [s for _, s in i.shares]
    bars = axes.barh(range(len(names)), shares, color=COLOURS[State.COMPLETED])
    axes.bar_label(bars, [f"{s:.0%}" for s in shares], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [_plain(short(n, 40)) for n in names])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.08 * max(shares), 0.1))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(visible=False, axis="y")
    return figure


def _parallel(p: Parallel) -> Figure:
    figure, axes = _one(f"{p.title}: {of_params(p)} and {p.axes[-1].name}", "", "", width=max(8.0, 1.5 * len(p.axes)))
    axes.grid(visible=False)
    if not p.values:
        _say(axes)
        return figure
    norm, colours = Normalize(min(p.values), max(p.values)), map_name(p.mode)
    worst_first = sorted(range(len(p.values)), key=lambda n: p.values[n], reverse=p.mode != "max")
    lines, ranks = [], []
    for n in worst_first:
        at = [(float(x), a.unit(place)) for x, a in enumerate(p.axes) if (place := a.places[n]) is not None]
        if len(at) > 1:
            lines.append(at)
            ranks.append(p.values[n])
    faint = 0.8 if len(lines) <= 100 else 0.35 if len(lines) <= 1000 else 0.12
    axes.add_collection(LineCollection(lines, array=ranks, cmap=colours, norm=norm, alpha=faint, linewidths=1.2))
    axes.set_xlim(-0.2, len(p.axes) - 0.8)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks(range(len(p.axes)), [_plain(short(a.name)) for a in p.axes])
    for x, a in enumerate(p.axes):
        axes.axvline(x, color="#333333", linewidth=0.8)
        for unit, text in _axis_ticks(a):
            axes.text(x + 0.03, unit, _plain(text), fontsize=7, va="center", clip_on=True, bbox=_HALO)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=_plain(p.axes[-1].name), pad=0.01)
    return figure


_HALO = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6}


def _axis_ticks(a: Axis) -> list[tuple[float, str]]:
    if a.categories is not None:
        every = max(1, len(a.categories) // _MAX_TICKS)
        return [(a.unit(float(n)), short(text, 16)) for n, text in list(enumerate(a.categories))[::every]]
    units = (0.0, 0.25, 0.5, 0.75, 1.0) if a.low < a.high else (0.5,)
    return [(unit, f"{a.place(unit):.3g}") for unit in units]


def _slices(s: Slices) -> Figure:
    columns = max(1, min(_COLUMNS, len(s.axes)))
    rows = max(1, -(-len(s.axes) // columns))
    figure = new_figure(3.2 * columns + 1.0, 2.9 * rows + 0.5)
    figure.suptitle(_plain(f"{s.title}: {s.metric} against {of_params(s)}"), fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    every = [axes for row in grid for axes in row]
    if not s.axes:
        _say(every[0], "no parameter varies" if s.values else NOTHING)
    for axes, a in zip(every, s.axes, strict=False):
        for state in State:
            at = [n for n, p in enumerate(a.places) if p is not None and s.states[n] is state]
            axes.scatter(
                [a.places[n] or 0.0 for n in at], [s.values[n] for n in at],
                marker=_MARKS[state], s=16, alpha=0.7, color=COLOURS[state],
            )  # fmt: skip
        _scale(axes, a, "x")
        axes.set_xlabel(_plain(short(a.name)))
        axes.grid(alpha=0.25)
    for row in grid:
        row[0].set_ylabel(_plain(s.metric))
    for axes in every[len(s.axes) or 1 :]:
        axes.set_visible(False)
    present = [state for state in State if state in s.states]
    keys = [Line2D([], [], ls="", color=COLOURS[st], marker=_MARKS[st], label=st.value) for st in present]
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return figure


def _scale(axes: Any, a: Axis, which: str) -> None:
    if a.log:
        getattr(axes, f"set_{which}scale")("log")
    if a.categories is not None:
        ticks = list(range(0, len(a.categories), max(1, len(a.categories) // _MAX_TICKS)))
        texts = [_plain(short(a.categories[n], 16)) for n in ticks]
        long = which == "x" and sum(map(len, texts)) > 24
        getattr(axes, f"set_{which}ticks")(ticks, texts, **({"rotation": 30, "ha": "right"} if long else {}))


def _surface(s: Surface) -> Figure:
    figure, axes = _one(f"{s.title}: {s.metric} over two parameters", s.x.name, s.y.name, 7.0, 5.0)
    if not s.grid:
        _say(axes)
        return figure
    xs, ys = _places(s.x, len(s.grid[0])), _places(s.y, len(s.grid))
    _scale(axes, s.x, "x")
    _scale(axes, s.y, "y")
    if _rise(xs) and _rise(ys):
        filled = axes.contourf(xs, ys, s.grid, levels=14, cmap="viridis")
        figure.colorbar(filled, ax=axes, label=_plain(s.metric))
    axes.scatter(
        [p or 0.0 for p in s.x.places], [p or 0.0 for p in s.y.places],
        s=14, color="white", edgecolors="black", linewidths=0.7,
    )  # fmt: skip
    return figure


def _places(a: Axis, size: int) -> list[float]:
    return [a.place(n / (size - 1)) for n in range(size)]


def _rise(places: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(places))


def _pareto(p: Pareto) -> Figure:
    first, second = (f"{m} ({d})" for m, d in zip(p.metrics, p.modes, strict=True))
    figure, axes = _one(f"{p.title}: {p.metrics[0]} and {p.metrics[1]}", first, second)
    if not p.points:
        _say(axes)
        return figure
    x, y = [a for a, _ in p.points], [b for _, b in p.points]
    axes.scatter(x, y, s=18, color=COLOURS[State.WAITING], alpha=0.6, label="trial")
    axes.plot(
        [x[n] for n in p.front], [y[n] for n in p.front], color=COLOURS[State.COMPLETED], marker="o", linewidth=1.4,
        label=f"Pareto front ({len(p.front)} of {len(x)})",
    )  # fmt: skip
    axes.legend(frameon=False)
    return figure
