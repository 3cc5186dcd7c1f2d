"""Lines about an experiment as it goes on, for a display without a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpctune.common.text import count, shorten_middle
from hpctune.core.state import ExperimentState
from hpctune.model import failures
from hpctune.model.ranking import Objectives, best_trial, improves, pareto_front, values_of
from hpctune.model.trial import Trial
from hpctune.output.display.columns import cell, parameters_text
from hpctune.output.display.status import ended_words, expected_in, time_left
from hpctune.output.display.words import PHASE_ORDER, amounts, front_words, phase_word

MAX_LINES = 3
"""Lines of one kind at one time; of more it is said how many."""
_ERROR_WIDTH, _PARAMETERS_WIDTH = 100, 200


def progress_line(state: ExperimentState, now: float, note: str = "") -> str:
    """``7 of 24 done (7 completed), 4 running, 2 queued; best loss=0.12 by 1f3a9_00003; about 9 min left``."""
    counts, spec = state.phases, state.spec
    ended = sum(amount for phase, amount in counts.items() if phase.final)
    expected = expected_in(state)
    words = ", ".join(ended_words(state.trials.values(), counts))
    done = f"{ended:,}{f' of {expected:,}' if expected else ''} done" + (f" ({words})" if words else "")
    live = {phase_word(phase): counts[phase] for phase in PHASE_ORDER if not phase.final}
    parts = [f"{done}, {amounts(live)}" if any(live.values()) else done]
    if spec.more_objectives:
        parts.append(front_words(pareto_front(state.trials.values(), spec.objectives), spec.objectives))
    elif (best := best_trial(state.trials.values(), spec.metric, spec.mode)) is not None:
        parts.append(f"best {spec.metric}={cell(best[0])} by {best[1].trial_id}")
    if state.stopping is not None:
        parts.append(f"stopping: {state.stopping.reason}")
    elif left := time_left(state, now):
        parts.append(left)
    return "; ".join([*parts, *([note] if note else [])])


class NewBests:
    """Finds the results that are better than all before; with several metrics, those that no other one beats.

    As everywhere, a trial's last result is its value, so the best can become worse: :meth:`reset` says what it is now.
    What is better than that, and not than everything before, is told as "best now".
    """

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._modes = [mode for _, mode in objectives]
        self._best: list[tuple[float, ...]] = []
        self._ever: list[tuple[float, ...]] = []
        self._lines: dict[str, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._lines)

    def reset(self, trials: Iterable[Trial]) -> None:
        """Use the best of ``trials`` from now on."""
        if not self._objectives:
            return
        front = pareto_front(trials, self._objectives)
        self._best = [values for trial in front if (values := values_of(trial, self._objectives)) is not None]
        self._ever = self._ever or self._best

    def note(self, reported: Iterable[Trial]) -> None:
        """Use the new results of these trials."""
        for trial in reported:
            values = values_of(trial, self._objectives) if self._objectives else None
            if values is None or not improves(values, self._best, self._modes):
                continue
            self._best = [point for point in self._best if improves(point, [values], self._modes)] + [values]
            what = "new on the Pareto front"
            if len(self._objectives) == 1:
                what = "new best" if improves(values, self._ever, self._modes) else "best now"
                self._ever = [values] if what == "new best" else self._ever
                self._lines.clear()
            self._lines[trial.trial_id] = self._line(what, trial, values)

    def take(self) -> Iterator[str]:
        """The lines, each once; with one metric, only the newest."""
        lines, self._lines = list(self._lines.values()), {}
        yield from lines[:MAX_LINES]
        if len(lines) > MAX_LINES:
            yield f"new on the Pareto front: {len(lines) - MAX_LINES:,} more"

    def _line(self, what: str, trial: Trial, values: tuple[float, ...]) -> str:
        found = ", ".join(f"{name}={cell(value)}" for (name, _), value in zip(self._objectives, values, strict=True))
        parameters = parameters_text(trial, _PARAMETERS_WIDTH)
        return f"{what}: {found} by {trial.trial_id}" + (f" ({parameters})" if parameters else "")


class NewFailures:
    """Tells each kind of failure once, and later how many trials had it."""

    def __init__(self) -> None:
        self._first: dict[str, Trial] = {}
        self._trials: dict[str, set[str]] = {}
        self._told: dict[str, int] = {}

    def know(self, failed: Iterable[Trial]) -> None:
        """Use failures that are no news."""
        for _ in self.of(failed):
            pass
        self._told = {kind: len(trials) for kind, trials in self._trials.items()}

    def of(self, failed: Iterable[Trial]) -> Iterator[str]:
        """A line for each failure of a kind that is new."""
        for trial in failed:
            kind = failures.kind(trial)
            self._trials.setdefault(kind, set()).add(trial.trial_id)
            if kind not in self._first:
                self._first[kind], self._told[kind] = trial, 1
                yield f"failed: {trial.trial_id}: {_brief(trial)} ({trial.dirname}/error.txt)"

    def repeated(self) -> Iterator[str]:
        """A line for each kind that more trials have had since it was told."""
        grown = [kind for kind, trials in self._trials.items() if len(trials) > self._told[kind]]
        for kind in grown[:MAX_LINES]:
            first, amount = self._first[kind], len(self._trials[kind])
            self._told[kind] = amount
            yield f"failed: {first.trial_id} and {count(amount - 1, 'more trial')}: {_brief(first)}"


def _brief(trial: Trial) -> str:
    return shorten_middle(cell(failures.brief(trial)), _ERROR_WIDTH)
