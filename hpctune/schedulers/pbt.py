"""Population based training: bad trials take over the weights of good ones, with other hyperparameters.

Jaderberg et al., "Population Based Training of Neural Networks", 2017 (arXiv 1711.09846): algorithm 1 has *exploit*
and *explore*, and section 4.1.1 truncation selection: a trial in the bottom 20% copies one of the top 20%. Li et al.,
"A Generalized Framework for Population Based Training", KDD 2019 (arXiv 1902.01894), describe it as trials that are
evaluated and started again, each on its own, which is what is done here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Exploit, Pause
from hpctune.model.rows import metric_error
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.explore import (
    Mutations,
    Operations,
    check_drawn,
    check_factors,
    check_mutations,
    check_types,
    completed,
    customized,
    explore,
    perturbed_tag,
)
from hpctune.schedulers.metric import WORST, MetricScheduler, positive
from hpctune.schedulers.pbt_replay import PopulationBasedTrainingReplay

__all__ = ["PopulationBasedTraining", "PopulationBasedTrainingReplay"]

_CLOSE = 1e-9
"""What floating point makes of whole numbers."""


@dataclass(slots=True)
class Member:
    """What is known of one trial of the population."""

    trial_id: str
    index: int
    tag: str
    """Its tag before any mutation."""
    config: Mapping[str, Any]
    saved: bool = False
    """It has a checkpoint to go on from."""
    time: float = 0.0
    """At its last evaluation."""
    perturbed: float = 0.0
    """The time from which its next interval counts."""
    score: float | None = None
    explored: int = 0
    over: bool = False

    def see(self, trial: Trial) -> None:
        """Take over what the engine knows better."""
        self.config, self.saved = trial.config, trial.restore is not None


class PopulationBasedTraining(MetricScheduler):
    """Evaluates each trial every ``perturbation_interval``; one of the worst then goes on from one of the best.

    - ``time_attr``, ``perturbation_interval``, ``burn_in_period``: the reported value that measures progress, how much
      of it lies between two evaluations of a trial, and how much before its first. At an evaluation a trial waits for
      the decision; a class trainable makes a checkpoint there.
    - ``hyperparam_mutations``: what may change: lists of values (which go to a neighbour), domains and functions (times
      one of ``perturbation_factors``), or dicts of these. With ``resample_probability`` a value is drawn again instead.
      What a trial's configuration lacks is drawn at its start.
    - ``quantile_fraction``: the worst so many go on from one of the best so many.
    - ``custom_explore_fn(config)``: returns the new configuration, after the mutations; must be deterministic.
    - ``log_config``: write every exploit to ``pbt_global.txt`` and ``pbt_policy_<trial id>.txt``.
    - ``require_attrs``: a result without the metric or ``time_attr`` is an error; otherwise it decides nothing.
    - ``synch``: every trial pauses at its evaluation until all have come so far, and all are decided on at once.
    - ``seed``: all chance comes from it and from the order of the results.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mutations | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: tuple[float, float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int = 0,
        reward_attr: str | None = None,
    ) -> None:
        mutations = {} if hyperparam_mutations is None else hyperparam_mutations
        check_mutations(mutations, "hyperparam_mutations")
        if not mutations and custom_explore_fn is None:
            raise UsageError("Give hyperparam_mutations or custom_explore_fn: without either nothing is explored.")
        _check_numbers(perturbation_interval, burn_in_period, quantile_fraction, resample_probability)
        check_factors(perturbation_factors)
        if custom_explore_fn is not None and not callable(custom_explore_fn):
            raise UsageError(f"custom_explore_fn must be a function from config to config, not {custom_explore_fn!r}.")
        self.perturbation_interval, self.burn_in_period = perturbation_interval, burn_in_period
        self.quantile_fraction, self.resample_probability = quantile_fraction, resample_probability
        self.perturbation_factors, self.custom_explore_fn = tuple(perturbation_factors), custom_explore_fn
        self.log_config, self.require_attrs, self.synch = bool(log_config), bool(require_attrs), bool(synch)
        self.hyperparam_mutations, self.seed, self.synchronous = mutations, seed, self.synch
        super().__init__(time_attr, metric, mode, reward_attr)

    def _reset(self) -> None:
        super()._reset()
        self._members: dict[str, Member] = {}
        self._round = max(self.perturbation_interval, self.burn_in_period)
        """Synchronous: the time that every trial is to reach next."""
        self._others: list[tuple[str, Decision]] = []
        self._exploits = 0
        self._complete = False
        """No more trials will come."""

    def check_space(self, space: Mapping[str, Any]) -> None:
        """Draw each mutation once, before there is an experiment.

        Raises UsageError if one gives no value, or does not fit the space.
        """
        check_drawn(self.hyperparam_mutations, space, "hyperparam_mutations")

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Explore from a first configuration once, before there is an experiment.

        Raises UsageError if that fails, or if what it gives is of another type.
        """
        check_types(self.hyperparam_mutations, config, "hyperparam_mutations")
        new, _ = explore(config, self.hyperparam_mutations, random.Random(0), 1.0, self.perturbation_factors)
        try:
            customized(self.custom_explore_fn, new)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"custom_explore_fn failed for {new!r}: {type(error).__name__}: {error}.") from error

    # -- what trials say ------------------------------------------------------------------------------------------

    def complete_config(self, index: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """With a value drawn for each hyperparameter that ``config`` lacks."""
        return completed(config, self.hyperparam_mutations, random.Random(f"{self.seed}/{index}/start"))

    def on_trial_add(self, trial: Trial) -> None:
        """One more in the population."""
        super().on_trial_add(trial)
        member = Member(trial.trial_id, trial.index, trial.tag, trial.config)
        member.see(trial)
        self._members[trial.trial_id] = member

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Evaluate the trial if its interval is over. Raises MetricError if ``require_attrs`` is not met."""
        member, (time, score) = self._members[trial.trial_id], self._read(row)
        self._others = []
        member.see(trial)
        member.over = bool(row.get("done"))
        if member.over:
            self._close_round()
            return CONTINUE
        if time is None or score is None:
            if self.require_attrs:
                self._complain(time, row)
            return CONTINUE
        if time < self._due(member):
            return CONTINUE
        member.time, member.score = time, score
        self._evaluated(member, time, score)
        return self._together(member) if self.synch else self._alone(member)

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """The population is smaller; those that waited for this trial may be decided on now."""
        self._leave(trial.trial_id)
        super().on_trial_complete(trial, row)

    def on_trial_error(self, trial: Trial) -> None:
        """The population is smaller."""
        self._leave(trial.trial_id)

    def on_search_exhausted(self) -> None:
        """The population is complete: what waited for that may be decided now."""
        self._others = []
        self._complete = True
        self._close_round()

    def _leave(self, trial_id: str) -> None:
        self._others = []
        self._members[trial_id].over = True
        self._close_round()

    def _complain(self, time: float | None, row: Mapping[str, Any]) -> None:
        what, key = ("time_attr", self.time_attr) if time is None else ("metric", str(self.metric))
        needs = f"{type(self).__name__} needs its {what} in every result, unless require_attrs=False, but"
        raise metric_error(row, key, needs)

    def _evaluated(self, member: Member, time: float, score: float) -> None:
        """For subclasses: a trial has got to the end of an interval."""

    # -- decisions ------------------------------------------------------------------------------------------------

    def _due(self, member: Member) -> float:
        """The time of the member's next evaluation."""
        due = max(self.burn_in_period, member.perturbed + self.perturbation_interval)
        return max(due, self._round) if self.synch else due

    def _alone(self, member: Member) -> Decision:
        """Asynchronous: the trial is compared with what the others had at their last evaluations."""
        member.perturbed = member.time
        worst, best = self.quantiles()
        exploit = self._exploit(member, best) if member.trial_id in worst else None
        if exploit is None and not member.saved:
            return CONTINUE  # it would begin again
        return exploit or Pause("makes room for a trial that waits", yields=True)

    def _together(self, member: Member) -> Decision:
        """Synchronous: nothing, until everybody has come."""
        decisions = self._round_over(member)
        own = decisions.pop(member.trial_id, None)
        self._others = list(decisions.items())
        return own or Pause(f"waits for the others at {self.time_attr}={member.time:g}")

    def _close_round(self) -> None:
        """What the others may have waited for has happened, or is not to come."""
        if self.synch:
            self._others = list(self._round_over(None).items())

    def _round_over(self, last: Member | None) -> dict[str, Decision]:
        """The decisions of a round, by trial; none while somebody has not come yet."""
        alive = [m for m in self._members.values() if not m.over]
        if not alive or not self._complete or any(m.time < self._round for m in alive if m is not last):
            return {}
        for member in self._members.values():
            member.perturbed = last.time if last is not None else max(m.time for m in alive)
        worst, best = self.quantiles()
        decided = {trial_id: self._exploit(self._members[trial_id], best) for trial_id in worst}
        ahead = max(m.time for m in self._members.values()) - self._round  # jumps go over several intervals
        self._round += self.perturbation_interval * max(math.floor(ahead / self.perturbation_interval) + 1, 1)
        return {trial_id: exploit for trial_id, exploit in decided.items() if exploit is not None}

    def quantiles(self) -> tuple[list[str], list[str]]:
        """The worst and the best of the population by their last evaluations, worst first."""
        known = [m for m in self._members.values() if m.score is not None and not m.over]
        ranked = [m.trial_id for m in sorted(known, key=lambda m: WORST if m.score is None else m.score)]
        count = min(math.ceil(len(ranked) * self.quantile_fraction - _CLOSE), len(ranked) // 2)
        return ranked[:count], ranked[len(ranked) - count :]

    def _exploit(self, member: Member, best: Sequence[str]) -> Exploit | None:
        """Let ``member`` go on from one of the best; None if none of them has anything to go on from."""
        found = [m for m in map(self._members.__getitem__, best) if m.saved and m.score != WORST]
        if not found:
            return None
        rng = self._chance(member)
        donor = rng.choice(found)
        config, operations = self._explored(member, donor, rng)
        member.explored += 1
        self._exploits += 1
        tag = perturbed_tag(member.tag, config, self.hyperparam_mutations)
        reason = self._reason(member, donor, operations)
        member.perturbed, member.time = donor.perturbed, donor.time
        return Exploit(donor.trial_id, config, reason, tag)

    def _chance(self, member: Member) -> random.Random:
        """The randomness of the member's next exploit: the same whatever the others do."""
        return random.Random(f"{self.seed}/{member.index}/{member.explored}")

    def _explored(self, member: Member, donor: Member, rng: random.Random) -> tuple[dict[str, Any], Operations]:
        """The configuration with which ``member`` goes on from ``donor``."""
        new, operations = explore(
            donor.config, self.hyperparam_mutations, rng, self.resample_probability, self.perturbation_factors
        )
        return customized(self.custom_explore_fn, new), operations

    def _reason(self, member: Member, donor: Member, operations: Operations) -> str:
        assert member.score is not None
        assert donor.score is not None
        own, other = (f"{self.metric}={self._metric_value(score):.4g}" for score in (member.score, donor.score))
        changes = "".join(f", {name} {what}" for name, what in operations.items())
        return f"{own} is among the worst: goes on from {donor.trial_id} ({other}){changes}"

    # -- places ---------------------------------------------------------------------------------------------------

    def decisions_on_others(self) -> Sequence[tuple[str, Decision]]:
        """Synchronous: the exploits of trials that have waited."""
        others, self._others = self._others, []
        return others

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The one that has trained least, so that all get on alike; trials that are new go first.

        Synchronous: none that has come to the end of the round, unless trials are to come that do not come.
        """
        wanting = idle and not self._complete
        ready = [t for t in waiting if not self.synch or wanting or self._members[t.trial_id].time < self._round]
        first = [t for t in ready if t.phase is Phase.PENDING] or (ready if idle else [])
        return min((t.trial_id for t in first), key=lambda trial_id: self._members[trial_id].time, default=None)

    def milestone(self, trial: Trial) -> float | None:
        """The trial's next evaluation."""
        return self._due(self._members[trial.trial_id])

    def milestone_after(self, trial: Trial, value: float) -> float | None:
        """One interval later."""
        return value + self.perturbation_interval

    def debug_string(self) -> str:
        """How many exploits there were."""
        return f"{type(self).__name__}: {self._exploits} perturbs"


def _check_numbers(interval: object, burn_in: object, quantile: object, resample: object) -> None:
    positive("perturbation_interval", interval)
    positive("burn_in_period", burn_in, least=True)
    positive("quantile_fraction", quantile, least=True)
    positive("resample_probability", resample, least=True)
    if quantile > 0.5:  # type: ignore[operator]
        raise UsageError(f"quantile_fraction must be a number from 0 to 0.5, not {quantile!r}.")
    if resample > 1:  # type: ignore[operator]
        raise UsageError(f"resample_probability must be a number from 0 to 1, not {resample!r}.")
