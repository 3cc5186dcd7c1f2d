"""The status block: the current state of an experiment. Only this module decides its contents."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.common.text import duration, shorten_middle
from hpctune.core.state import ExperimentState
from hpctune.model import failures
from hpctune.model.progress import ALL_DONE, expected_trials
from hpctune.model.ranking import best_trial, pareto_front
from hpctune.model.rows import lookup
from hpctune.model.trial import Phase, Trial
from hpctune.output.display import columns
from hpctune.output.display.columns import Options, cell
from hpctune.output.display.curves import ShownCurves
from hpctune.output.display.layout import Column, Status, Table
from hpctune.output.display.selection import choose
from hpctune.output.display.words import (
    COMPLETED,
    PHASE_ORDER,
    STOPPED_EARLY,
    amounts,
    front_words,
    phase_word,
    situation,
    state_counts,
    state_word,
)
from hpctune.ports import CallStats

SITUATION_WIDTH = 44
BAR_WIDTH, BEST_WIDTH = 24, 100
RECORD_LAG_S = 15.0
_ERROR_WIDTH = 72
"""By how much the recorded driven time of a living driver may lag."""

Facts = Sequence[tuple[str, str]]
"""Headings with texts."""


@dataclass(frozen=True, slots=True)
class StatusContext:
    """What is not in the trials: the time, the directory, the cluster's commands, an outage in words; how many trials
    are expected, None if that is not known; ``facts`` about workers and queue; ``curves``: what the metric has been,
    None: it is not shown."""

    now: float
    name: str = ""
    where: str = ""
    note: str = ""
    calls: CallStats | None = None
    elapsed_s: float | None = None
    more_to_come: bool = False
    expected: int | None = None
    curves: ShownCurves | None = None
    extra: tuple[str, ...] = ()
    facts: Facts = ()


def options_for(state: ExperimentState, **changes: Any) -> Options:
    """Options with the experiment's metric and mode."""
    spec = state.spec
    several = spec.objectives if spec.more_objectives else ()
    return Options(**{"metric": spec.metric, "mode": spec.mode, "objectives": several, **changes})


def status_of(
    state: ExperimentState,
    now: float,
    *,
    where: str = "",
    note: str = "",
    calls: CallStats | None = None,
    options: Options | None = None,
    curves: ShownCurves | None = None,
    facts: Facts = (),
    table: bool = True,
) -> Status:
    """The status of an experiment at ``now``."""
    around = StatusContext(
        now, state.spec.name, where, note, calls, elapsed_s(state, now), not state.exhausted and state.ended is None,
        expected_in(state), curves, facts=[*facts, *_why_it_stops(state)],
    )  # fmt: skip
    return status(state.trials.values(), state.phases, around, options or options_for(state), table=table)


def _why_it_stops(state: ExperimentState) -> Facts:
    """Why the experiment ends, or has ended, before all its trials are done."""
    if state.ended is not None:
        return [("Ended", state.ended)] if state.ended != ALL_DONE else []
    return [("Stopping", state.stopping.reason)] if state.stopping is not None else []


def expected_in(state: ExperimentState) -> int | None:
    """How many trials the experiment will have had at its end; None: not known."""
    if state.ended is not None or state.exhausted:
        return len(state.trials)
    return expected_trials(state.spec.origin, state.num_samples, state.suggested, len(state.added))


def elapsed_s(state: ExperimentState, now: float) -> float:
    """Seconds for which the experiment has been driven. The record lags, so a first driver's own time is more exact."""
    if len(state.drivers) == 1 and state.ended is None:
        living = now - state.drivers[0].at
        if 0 <= living - state.driven_s < RECORD_LAG_S:
            return living
    return state.driven_s


def status(
    trials: Collection[Trial], counts: Counter[Phase], around: StatusContext, options: Options, *, table: bool = True
) -> Status:
    """The block for any collection of trials."""
    best = best_trial(trials, options.metric, options.mode)
    front = pareto_front(trials, options.objectives) if options.objectives else []
    lines = _lines(
        trials, counts, front_words(front, options.objectives) if options.objectives else best, around, options
    )
    title = f"Experiment {around.name}" if around.name else "Status"
    failed = [t for t in trials if failures.troubles(t)]
    if not table or not trials:
        return Status(title, lines)
    starred = front or ([best[1]] if best else [])
    shown, more = choose(trials, starred, options)
    groups = failures.grouped(failed)
    shown_groups = groups[: max(options.max_error_rows, 0)]
    hidden = sum(len(group) for group in groups[len(shown_groups) :])
    return Status(
        title,
        lines,
        _trial_table(shown, starred, around, options) if shown else None,
        more,
        _error_table(shown_groups) if shown_groups else None,
        f"... {hidden:,} more with errors" if hidden else "",
    )


def _progress(trials: Collection[Trial], counts: Counter[Phase], around: StatusContext) -> str:
    """A bar with how many trials have ended, and how; and the time left, from the pace so far. "": nothing is known."""
    ended, expected = counts[Phase.TERMINATED] + counts[Phase.ERROR], around.expected
    if not expected or not trials:
        return ""
    share = min(1.0, ended / expected)
    full = int(share * BAR_WIDTH)
    bar = f"[{'#' * full}{'-' * (BAR_WIDTH - full)}] {ended:,} of {expected:,}"
    parts = ended_words(trials, counts)
    if left := _left(ended, expected, around.elapsed_s):
        parts.append(left)
    return f"{bar} ({', '.join(parts)})" if parts else bar


def ended_words(trials: Collection[Trial], counts: Counter[Phase]) -> list[str]:
    """How the finished trials ended: ``["4 completed", "2 stopped early", "1 failed"]``."""
    known = state_counts(trials, counts)
    how = {word: known[word] for word in (COMPLETED, STOPPED_EARLY)} | {"failed": counts[Phase.ERROR]}
    return [f"{amount:,} {word}" for word, amount in how.items() if amount]


def time_left(state: ExperimentState, now: float) -> str:
    """``about 12 min left``, from the pace so far; "" if nothing is known."""
    ended = state.phases[Phase.TERMINATED] + state.phases[Phase.ERROR]
    return _left(ended, expected_in(state), elapsed_s(state, now))


def _left(ended: int, expected: int | None, elapsed: float | None) -> str:
    if not expected or not elapsed or not 0 < ended < expected:
        return ""
    return f"about {duration(elapsed / ended * (expected - ended))} left"


def _best_lines(best: tuple[float, Trial], options: Options) -> list[tuple[str, str]]:
    """The best value so far; its parameters beside it if they fit, else below, some in each line."""
    found = f"{options.metric}={cell(best[0])} by {best[1].trial_id}"
    parameters = columns.parameters_text(best[1], 400)
    if len(found) + len(parameters) <= BEST_WIDTH:
        return [("Best", f"{found} ({parameters})" if parameters else found)]
    return [("Best", found), *(("", line) for line in textwrap.wrap(parameters, BEST_WIDTH, break_on_hyphens=False))]


def _lines(
    trials: Collection[Trial],
    counts: Counter[Phase],
    best: tuple[float, Trial] | str | None,
    around: StatusContext,
    options: Options,
) -> tuple[tuple[str, str], ...]:
    total = len(trials)
    of = f"/{options.total_samples:,}" if options.total_samples and options.total_samples > 0 else ""
    so_far = " so far" if around.more_to_come and not of else ""
    progress = _progress(trials, counts, around)
    states = state_counts(trials, counts)
    if progress:  # it tells how those that are over have ended
        states = {phase_word(phase): counts[phase] for phase in PHASE_ORDER if not phase.final}
    words = f" ({amounts(states)})" if any(states.values()) else ""
    lines = [("Trials", f"{total:,}{of}{so_far}{words}")]
    if progress:
        lines.append(("Done", progress))
    if isinstance(best, str):
        lines.append(("Front", best))
    elif best is not None:
        lines += _best_lines(best, options)
    if around.elapsed_s is not None:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(around.now))
        lines.append(("Time", f"{clock}, after {duration(around.elapsed_s, exact=True)}"))
    if around.where:
        lines.append(("Results", around.where))
    if around.calls is not None and (around.calls.total or around.calls.budget_per_minute is not None):
        lines.append(("Cluster", call_words(around.calls)))
    lines += around.facts
    if around.note:
        lines.append(("Note", around.note))
    return (*lines, *(("", text) for text in around.extra))


def call_words(calls: CallStats) -> str:
    """How often the cluster's commands were called."""
    budget = f" of {calls.budget_per_minute} allowed" if calls.budget_per_minute is not None else ""
    put_off = f", {calls.deferred:,} put off" if calls.deferred else ""
    return f"{calls.total:,} calls, {calls.last_minute:,}{budget} in the last minute{put_off}"


def _trial_table(trials: Sequence[Trial], best: Sequence[Trial], around: StatusContext, options: Options) -> Table:
    width = options.max_column_length
    parameters, metrics = columns.parameter_columns(trials, options), columns.metric_columns(trials, options)
    starred = {trial.trial_id for trial in best}
    rows = []
    for trial in trials:
        star = "*" if trial.trial_id in starred else " "
        rows.append(
            (
                star + trial.trial_id,
                "" if trial.name.endswith(trial.trial_id) else cell(trial.name, max(width, 28)),
                state_word(trial),
                cell(situation(trial, around.now), SITUATION_WIDTH),
                *(columns.parameter(trial, key, width) for key in parameters),
                *(cell(lookup(trial.last, key), width) for key in metrics),
                around.curves.text(trial, options.metric) if around.curves is not None else "",
            )
        )
    main = {options.metric, *(name for name, _ in options.objectives)}
    head = [Column(" trial"), Column("name", rank=2), Column("status"), Column("where", rank=2)]
    head += [Column(cell(h, max(width, 8)), right=True, rank=3) for h in parameters.values()]
    rank = {"time_total_s": 4} | dict.fromkeys(main, 0)  # on a narrow terminal the curve says more than the seconds
    head += [Column(cell(h, max(width, 8)), right=True, rank=rank.get(key, 1)) for key, h in metrics.items()]
    head.append(Column("curve", rank=2))
    return Table(tuple(head), tuple(rows)).without_empty()


def _error_table(groups: Sequence[Sequence[Trial]]) -> Table:
    """A row for each kind of failure, with the trial that had it first."""
    rows = []
    for group in groups:
        trial = group[0]
        times = sum(map(failures.troubles, group))
        last = shorten_middle(cell(failures.brief(trial)), _ERROR_WIDTH)
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        rows.append((trial.trial_id + more, str(times), last, f"{trial.dirname}/error.txt"))
    head = (Column("failed trial"), Column("failures", right=True, rank=2), Column("last error", rank=1, shrinks=True))
    return Table((*head, Column("file", rank=3)), tuple(rows))
