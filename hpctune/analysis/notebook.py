"""What a notebook shows of results: tables with a small curve of each trial. Plain HTML; a click
on a heading sorts where the notebook lets its output act."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.analysis.pictures.axes import axes_of, text_of
from hpctune.analysis.pictures.curves import STEP, Curve, best_of, learning_curves
from hpctune.analysis.pictures.style import COLOURS
from hpctune.analysis.pictures.trials import PlotData, PlotTrial, State, plot_data
from hpctune.common.text import clean, count, number, shorten
from hpctune.errors import MetricError
from hpctune.model import failures
from hpctune.model.ranking import pareto_front
from hpctune.model.rows import NOT_SHOWN
from hpctune.model.trial import Trial

MAX_TRIALS = 20
MAX_PARAMS = 12
MAX_POINTS = 60
_WIDTH, _HEIGHT = 110, 24
_SORT = (
    "const n=this.cellIndex,b=this.closest('table').tBodies[0],d=this.dataset.d=this.dataset.d==='1'?-1:1,"
    "v=r=>r.cells[n].textContent.trim(),e=x=>x===''||x==='-'||x==='nan';"
    "[...b.rows].sort((p,q)=>{const x=v(p),y=v(q);if(e(x)||e(y))return e(x)-e(y);"
    "const z=Number(x)-Number(y);return d*(isNaN(z)?x.localeCompare(y):z)}).forEach(r=>b.append(r))"
)
"""What a click on a heading does: numbers by value, words by letter, what is missing last; a second click turns the
order."""


def trials_html(data: PlotData, title: str) -> str:
    """The best trials of an experiment, or the first ones if nothing says what is better. With several metrics those on
    the Pareto front come first."""
    metric = data.metric or next(iter(data.own_metrics), None)
    mode = data.known_mode(None, metric)
    metrics = [name for name, _ in data.objectives] or ([metric] if metric is not None else [])
    front = (
        {t.trial_id for t in pareto_front((t.value for t in data.trials), data.objectives)} if metrics[1:] else set()
    )
    order = sorted(_ordered(data, metric, mode), key=lambda t: t.label not in front)[:MAX_TRIALS]
    params = [axis.name for axis in axes_of(data)][:MAX_PARAMS]
    curves = _curves(PlotData(data.name, order, metric, mode), metric)
    best = best_of(data, metric, mode) if metric is not None else None
    bold = front or ({best.label} if best is not None else set())
    head = ["trial", "state", *metrics, *(["curve"] if metrics else []), "iteration", *params]
    rows = [_row(t, metrics, params, curves.get(t.label), t.label in bold) for t in order]
    states = Counter(t.state for t in data.trials)
    counts = ", ".join(f"{states[s]} {s.value}" for s in State if states[s])
    shown = f"; the {'best' if mode else 'first'} {MAX_TRIALS} are shown" if len(data.trials) > MAX_TRIALS else ""
    on_front = f"; {len(front)} on the Pareto front" if front else ""
    about = f"{count(len(data.trials), 'trial')}{': ' if counts else ''}{counts}{on_front}{shown}"
    return f"<div><p><b>{_plain(title)}</b><br>{_plain(about)}</p>{_table(head, rows) if rows else ''}</div>"


def trial_html(
    trial: Trial, rows: Sequence[Mapping[str, Any]], metric: str | None, metrics: Mapping[str, Any], path: str
) -> str:
    """One trial with its results ``rows``; ``metrics``: the last of them."""
    data = plot_data("", [trial], {trial.trial_id: rows}, metric)
    return result_html(data.trials[0], data.metric or next(iter(data.own_metrics), None), metrics, path)


def result_html(trial: PlotTrial | None, metric: str | None, metrics: Mapping[str, Any], path: str) -> str:
    """One trial: its state, its metrics with a curve of the first one, and its configuration."""
    own = {k: v for k, v in metrics.items() if k not in NOT_SHOWN}
    rows: list[list[str]] = []
    if trial is not None:
        data = PlotData("", [trial], metric)
        curve = _curves(data, metric).get(trial.label) if metric is not None else None
        rows = [["trial", _plain(trial.label)], ["state", _state(trial.state)]]
        rows += [[_plain(f"{metric} over {STEP}"), _line(curve, 2)]] if curve is not None else []
        if trial.state is State.FAILED:
            rows.append(["error", _plain(shorten(clean(failures.brief(trial.value)), 300))])
    shown = {k: v for k, v in own.items() if not isinstance(v, dict)}
    rows += [[_plain(name), _plain(number(value))] for name, value in shown.items()]
    rows += [[f"<i>config</i>/{_plain(n)}", _plain(text_of(v))] for n, v in trial.params.items()] if trial else []
    return f"<div>{_table([], rows)}<p>{_plain(path)}</p></div>"


def _ordered(data: PlotData, metric: str | None, mode: str | None) -> list[PlotTrial]:
    """The best first; without a mode in the order in which they were made."""
    if metric is None or mode is None:
        return list(data.trials)
    sign = 1.0 if mode == "min" else -1.0

    def rank(trial: PlotTrial) -> tuple[bool, float]:
        value = trial.last(metric)
        return value is None, sign * (value or 0.0)

    return sorted(data.trials, key=rank)


def _curves(data: PlotData, metric: str | None) -> dict[str, Curve]:
    if metric is None:
        return {}
    try:
        return {c.trial: c for c in learning_curves(data, metric, most=MAX_POINTS).curves}
    except MetricError:  # of other trials only
        return {}


def _row(trial: PlotTrial, metrics: Sequence[str], params: Sequence[str], curve: Curve | None, bold: bool) -> list[str]:
    name = f"<b>{_plain(trial.label)}</b>" if bold else _plain(trial.label)
    of_metrics = [*(_plain(number(trial.last(metric))) for metric in metrics), *([_line(curve, 1)] if metrics else [])]
    settings = [_plain(_short(trial.params[p])) if p in trial.params else "" for p in params]
    return [name, _state(trial.state), *of_metrics, _plain(number(trial.value.last_iteration or None)), *settings]


def _short(value: object) -> str:
    return number(value) if isinstance(value, float) else text_of(value)


def _state(state: State) -> str:
    return f'<span style="color:{COLOURS[state]}">&#9679;</span> {state.value}'


def _line(curve: Curve | None, size: int) -> str:
    """A small curve."""
    if curve is None:
        return ""
    xs, ys = [x for x, _ in curve.points], [y for _, y in curve.points]
    width, height = _WIDTH * size, _HEIGHT * size
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    at = [
        f"{3 + (x - left) / (right - left or 1) * (width - 6):.1f},"
        f"{height - 3 - (y - low) / (high - low or 1) * (height - 6):.1f}"
        for x, y in curve.points
    ]
    colour = COLOURS[curve.state]
    end_x, end_y = at[-1].split(",")
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="from {ys[0]:.4g} to {ys[-1]:.4g}">'
        f'<polyline points="{" ".join(at)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="2.5" fill="{colour}"/></svg>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the head is text."""
    begin = f'<th style="cursor:pointer" title="sort" onclick="{html.escape(_SORT)}">'
    top = f"<thead><tr>{''.join(f'{begin}{_plain(name)}</th>' for name in head)}</tr></thead>" if head else ""
    cell = '<td style="text-align:left">{}</td>'.format
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _plain(text: str) -> str:
    return html.escape(clean(text))
