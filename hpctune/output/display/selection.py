"""Selection and order of the trials in a table that cannot show all."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from hpctune.model.trial import Phase, Trial
from hpctune.output.display.columns import Options, metric_value
from hpctune.output.display.words import PHASE_ORDER, STATE_WORDS, amounts, state_word

_SHARES = ((Phase.RUNNING, 0.5), (Phase.ERROR, 0.1), (Phase.TERMINATED, 0.2), (Phase.QUEUED, 0.2))
"""Rows that each phase gets. The rest is distributed in the order of PHASE_ORDER; pending trials come last."""


def choose(trials: Iterable[Trial], best: Sequence[Trial], options: Options) -> tuple[list[Trial], str]:
    """At most ``options.max_rows`` trials in order, and what was left out, in words ("" if nothing).

    ``best``: those that are always there, up to half of the rows.
    """
    groups: dict[Phase, list[Trial]] = {phase: [] for phase in PHASE_ORDER}
    for trial in trials:
        groups[trial.phase].append(trial)
    total = sum(map(len, groups.values()))
    if total <= options.max_rows:
        chosen = [t for group in groups.values() for t in group]
        return _ordered(chosen, options), ""
    picked = {trial.trial_id: trial for trial in best[: math.ceil(options.max_rows / 2)]}
    for phase, share in _SHARES:
        _pick(picked, groups[phase], min(math.ceil(share * options.max_rows), options.max_rows - len(picked)))
    for phase in sorted(PHASE_ORDER, key=lambda phase: phase is Phase.PENDING):
        _pick(picked, groups[phase], options.max_rows - len(picked))
    return _ordered(list(picked.values()), options), _left_out(groups, picked.values())


def _pick(picked: dict[str, Trial], group: list[Trial], count: int) -> None:
    """Add the newest ``count`` of ``group``."""
    if count > 0:
        newest = heapq.nlargest(count + len(picked), group, key=lambda t: (t.ended_at or t.started_at or 0.0, t.index))
        for trial in [t for t in newest if t.trial_id not in picked][:count]:
            picked[trial.trial_id] = trial


def _ordered(trials: list[Trial], options: Options) -> list[Trial]:
    order = {phase: n for n, phase in enumerate(PHASE_ORDER)}
    if options.sort_by_metric and options.metric is not None:
        sign = 1.0 if options.mode == "min" else -1.0
        values = {t.trial_id: metric_value(t, options.metric) for t in trials}

        def by_metric(trial: Trial) -> tuple[bool, float, int]:
            value = values[trial.trial_id]
            return value is None, sign * (value or 0.0), trial.index

        return sorted(trials, key=by_metric)
    return sorted(trials, key=lambda t: (order[t.phase], t.index))


def _left_out(groups: Mapping[Phase, Sequence[Trial]], shown: Collection[Trial]) -> str:
    everything = [trial for group in groups.values() for trial in group]
    hidden = Counter(map(state_word, everything))
    hidden.subtract(map(state_word, shown))
    return f"... {hidden.total():,} more: {amounts({word: hidden[word] for word in STATE_WORDS})}"
