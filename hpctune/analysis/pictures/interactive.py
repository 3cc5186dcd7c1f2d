"""Pictures drawn with plotly. Import it where a picture is drawn: it needs plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpctune.analysis.pictures.axes import Axis
from hpctune.analysis.pictures.curves import Curve, Curves, History
from hpctune.analysis.pictures.importance import MIN_TRIALS, Importance
from hpctune.analysis.pictures.parameters import Parallel, Slices, Surface
from hpctune.analysis.pictures.pareto import Pareto
from hpctune.analysis.pictures.style import BEST, COLOURS, NOTHING, of_params, short
from hpctune.analysis.pictures.trials import State

_SYMBOLS = {
    State.COMPLETED: "circle",
    State.STOPPED: "x",
    State.FAILED: "square",
    State.RUNNING: "triangle-right",
    State.WAITING: "circle-open",
}
_COLUMNS = 3
_GREY = COLOURS[State.WAITING]


def draw(picture: object) -> Any:
    """The plotly figure of any picture's numbers."""
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


def _plain(text: str) -> str:
    """``text`` as it is: plotly reads some tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _new(title: str, x: str = "", y: str = "", empty: str = "") -> Any:
    figure = go.Figure()
    figure.update_layout(template="plotly_white", title=_plain(title), xaxis_title=_plain(x), yaxis_title=_plain(y))
    if empty:
        figure.add_annotation(text=empty, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def _history(h: History) -> Any:
    over = "trials, in the order in which they ended" if h.by == "trials" else "hours since the experiment began"
    figure = _new(f"{h.title}: best {h.metric} so far ({h.mode})", over, h.metric, "" if h.points else NOTHING)
    x, names = [p.x for p in h.points], [_plain(p.trial) for p in h.points]
    values, best = [p.value for p in h.points], [p.best for p in h.points]
    figure.add_scattergl(x=x, y=values, mode="markers", name="trial", text=names, marker={"color": _GREY})
    line = {"shape": "hv", "color": COLOURS[State.COMPLETED]}
    figure.add_scatter(x=x, y=best, mode="lines", name="best", line=line)
    return figure


def _curves(c: Curves) -> Any:
    figure = _new(f"{c.title}: {c.metric} of each trial", c.step, c.metric, "" if c.curves else NOTHING)
    for state in State:
        _add_curves(
            figure, [k for k in c.curves if k.state is state and k.trial != c.best], COLOURS[state], state.value
        )
    _add_curves(figure, [k for k in c.curves if k.trial == c.best], BEST, "best", width=3)
    return figure


def _add_curves(figure: Any, curves: Sequence[Curve], colour: str, name: str, width: int = 1) -> None:
    """Add curves as one line with gaps: thousands of lines would be slow. The end of each has a mark."""
    if not curves:
        return
    figure.add_scattergl(
        x=[x for curve in curves for x in (*(x for x, _ in curve.points), None)],
        y=[y for curve in curves for y in (*(y for _, y in curve.points), None)],
        text=[_plain(curve.trial) for curve in curves for _ in range(len(curve.points) + 1)],
        mode="lines+markers",
        name=f"{name} ({len(curves)})" if name != "best" else f"best ({_plain(curves[0].trial)})",
        line={"color": colour, "width": width},
        marker={
            "symbol": _SYMBOLS[curves[0].state],
            "line": {"width": 0},
            "size": [size for curve in curves for size in (*[0] * (len(curve.points) - 1), 8, 0)],
        },
    )


def _importance(i: Importance) -> Any:
    few = f"needs {MIN_TRIALS} trials with a value; there are {i.trials}" if i.trials < MIN_TRIALS else ""
    empty = "" if i.shares else few or "no parameter varies"
    over = f"share of the variance explained ({i.trials} trials)"
    figure = _new(f"{i.title}: what {i.metric} depends on", over, "", empty)
    names, shares = [_plain(n) for n, _ in i.shares], [s for _, s in i.shares]
    figure.add_bar(x=shares, y=names, orientation="h", marker={"color": COLOURS[State.COMPLETED]})
    figure.update_layout(yaxis={"autorange": "reversed", "automargin": True}, xaxis_tickformat=".0%")
    return figure


def _parallel(p: Parallel) -> Any:
    figure = _new(f"{p.title}: {of_params(p)} and {p.axes[-1].name}", empty="" if p.values else NOTHING)
    if p.values:
        line = {
            "color": list(p.values),
            "colorscale": "Viridis",
            "reversescale": p.mode == "max",
            "showscale": True,
            "colorbar": {"title": _plain(p.axes[-1].name)},
        }
        figure.add_parcoords(line=line, dimensions=[_dimension(a) for a in p.axes])
    return figure


def _dimension(a: Axis) -> dict[str, Any]:
    """An axis in plotly's form. It has no place for what a trial does not have: such a line goes below the others."""
    gap = -0.08 if None in a.places else 0.0
    units = [gap if place is None else a.unit(place) for place in a.places]
    if a.categories is not None:
        ticks = [(a.unit(float(n)), text) for n, text in enumerate(a.categories)]
    else:
        steps = (0.0, 0.25, 0.5, 0.75, 1.0) if a.low < a.high else (0.5,)
        ticks = [(unit, f"{a.place(unit):.3g}") for unit in steps]
    ticks += [(gap, "none")] if gap else []
    return {
        "label": _plain(short(a.name)),
        "values": units,
        "range": [gap, 1],
        "tickvals": [unit for unit, _ in ticks],
        "ticktext": [_plain(text) for _, text in ticks],
    }


def _slices(s: Slices) -> Any:
    if not s.axes:
        return _new(f"{s.title}: {s.metric}", empty="no parameter varies" if s.values else NOTHING)
    rows = -(-len(s.axes) // _COLUMNS)
    names = [_plain(short(a.name)) for a in s.axes]
    figure = make_subplots(rows, min(_COLUMNS, len(s.axes)), shared_yaxes=True, subplot_titles=names)
    title = _plain(f"{s.title}: {s.metric} against {of_params(s)}")
    figure.update_layout(template="plotly_white", title=title, height=120 + 300 * rows)
    for n, a in enumerate(s.axes):
        row, column = n // _COLUMNS + 1, n % _COLUMNS + 1
        for state in (state for state in State if state in s.states):
            at = [k for k, place in enumerate(a.places) if place is not None and s.states[k] is state]
            figure.add_scattergl(
                x=[a.places[k] for k in at], y=[s.values[k] for k in at], text=[_plain(s.trials[k]) for k in at],
                mode="markers", name=state.value, legendgroup=state.value, showlegend=n == 0,
                marker={"color": COLOURS[state], "symbol": _SYMBOLS[state]}, row=row, col=column,
            )  # fmt: skip
        figure.update_xaxes(_scale(a), row=row, col=column)
    figure.update_yaxes(title_text=_plain(s.metric), col=1)
    return figure


def _scale(a: Axis) -> dict[str, Any]:
    if a.categories is None:
        return {"type": "log" if a.log else "linear"}
    texts = [_plain(short(text, 16)) for text in a.categories]
    return {"tickvals": list(range(len(texts))), "ticktext": texts}


def _surface(s: Surface) -> Any:
    empty = "" if s.grid else NOTHING
    figure = _new(f"{s.title}: {s.metric} over two parameters", s.x.name, s.y.name, empty)
    if s.grid:
        size = len(s.grid)
        xs, ys = ([a.place(n / (size - 1)) for n in range(size)] for a in (s.x, s.y))
        bar = {"title": _plain(s.metric)}
        figure.add_contour(x=xs, y=ys, z=[list(row) for row in s.grid], colorscale="Viridis", colorbar=bar)
        names = [f"{_plain(t)}: {v:.5g}" for t, v in zip(s.trials, s.values, strict=True)]
        mark = {"color": "white", "line": {"color": "black", "width": 1}}
        figure.add_scatter(
            x=list(s.x.places), y=list(s.y.places), mode="markers", text=names, marker=mark, name="trial"
        )
        figure.update_layout(xaxis=_scale(s.x), yaxis=_scale(s.y), showlegend=False)
    return figure


def _pareto(p: Pareto) -> Any:
    first, second = (f"{m} ({d})" for m, d in zip(p.metrics, p.modes, strict=True))
    title = f"{p.title}: {p.metrics[0]} and {p.metrics[1]}"
    figure = _new(title, first, second, "" if p.points else NOTHING)
    names = [_plain(t) for t in p.trials]
    x, y = [a for a, _ in p.points], [b for _, b in p.points]
    figure.add_scattergl(x=x, y=y, mode="markers", name="trial", text=names, marker={"color": _GREY})
    figure.add_scatter(
        x=[x[n] for n in p.front], y=[y[n] for n in p.front], text=[names[n] for n in p.front],
        mode="lines+markers", name="Pareto front", line={"color": COLOURS[State.COMPLETED]},
    )  # fmt: skip
    return figure
