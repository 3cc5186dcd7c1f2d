"""Training one trial again along the schedule of hyperparameters that population based training has found."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Exploit
from hpctune.model.rows import number
from hpctune.model.trial import Trial
from hpctune.schedulers.base import FIFOScheduler
from hpctune.schedulers.explore import perturbed_tag
from hpctune.schedulers.metric import ITERATION


class PopulationBasedTrainingReplay(FIFOScheduler):
    """Replays ``policy_file``, a ``pbt_policy_<trial id>.txt`` of hpctune or of Ray Tune, with a single trial.

    The trial starts with the configuration of the first ancestor, whatever the search space says. At each step it goes
    on from its own newest checkpoint with the next configuration; without any checkpoint it waits for one.
    """

    time_attr = ITERATION

    def __init__(self, policy_file: str | PathLike[str]) -> None:
        path = Path(policy_file).expanduser()
        self.policy_file = str(path)
        self.config, self.changes = read_policy(path)
        self._reset()

    def _reset(self) -> None:
        self._done = 0

    def fresh(self) -> PopulationBasedTrainingReplay:
        """The same schedule from its start."""
        made = copy.copy(self)
        made._reset()
        return made

    def complete_config(self, index: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration at the start of the schedule; raises UsageError for a second trial."""
        if index > 0:
            raise UsageError(
                "PopulationBasedTrainingReplay trains one trial, and the search makes more. Give num_samples=1 and no "
                "grid_search."
            )
        return self.config if self.changes else config

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """At the next step of the schedule: the next configuration."""
        time = number(row, ITERATION)
        if row.get("done") or time is None or trial.restore is None or self._done == len(self.changes):
            return CONTINUE
        step, config = self.changes[self._done]
        if time < step:
            return CONTINUE
        self._done += 1
        tag = perturbed_tag(f"replay_{Path(self.policy_file).name}", config)
        return Exploit(trial.trial_id, config, f"step {self._done} of {self.policy_file}, due at {step:g}", tag)

    def milestone(self, trial: Trial) -> float | None:
        """The next step, or the next result if that is overdue."""
        if self._done == len(self.changes):
            return None
        return max(self.changes[self._done][0], trial.last_iteration + 1)

    def debug_string(self) -> str:
        """How far it is."""
        return f"PopulationBasedTrainingReplay: step {self._done} of {len(self.changes)}"


def read_policy(path: Path) -> tuple[dict[str, Any], list[tuple[float, dict[str, Any]]]]:
    """The first configuration, and (training iteration, configuration) of each change. Raises UsageError.

    A line is [tag of the trial, tag of its donor, the trial's iteration, the donor's iteration, the donor's config, the
    new config]. From the last line back, each is followed to the donor's line before it; what the trial did before it
    took over from another trial led nowhere. Of two changes at one iteration the first one trained nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"Cannot read the policy file {path}: {error}.") from error
    first: dict[str, Any] = {}
    changes: list[tuple[float, dict[str, Any]]] = []
    ancestor: str | None = None
    for number_, line in reversed(list(enumerate(lines, 1))):
        tag, donor, step, before, after = _parsed(line, f"{path}, line {number_}")
        if ancestor is not None and tag != ancestor:
            break
        ancestor, first = donor, before
        if not changes or step < changes[-1][0]:
            changes.append((step, after))
    return first, changes[::-1]


def _parsed(line: str, where: str) -> tuple[str, str, float, dict[str, Any], dict[str, Any]]:
    try:
        tag, donor, _, step, before, after = json.loads(line)
        if not isinstance(before, dict) or not isinstance(after, dict):
            raise ValueError("the configurations are no dicts")
        return str(tag), str(donor), float(step), before, after
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{where} is no line of a PBT policy log: {error}. Give a pbt_policy_<trial id>.txt of an experiment that "
            "ran with PopulationBasedTraining(log_config=True)."
        ) from error
