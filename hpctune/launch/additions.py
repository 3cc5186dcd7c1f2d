"""Adds trials to an experiment that is under way, or that will go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.driver.setup import DriverSetup, SearchBinding
from hpctune.errors import UsageError
from hpctune.space.additions import additions
from hpctune.storage.inbox import NewConfig

_OPEN = "<to be given>"


def new_configs(
    setup: DriverSetup,
    state: ExperimentState,
    values: Mapping[str, Any],
    *,
    seed: int,
    num_samples: int = 1,
    like: Mapping[str, Any] | None = None,
) -> list[NewConfig]:
    """The configurations of new trials of an experiment; ``inbox.post`` takes them.

    ``values`` replace what the search space has, by "a/b" or "a.b"; the rest comes from ``like`` (the configuration of
    a trial), or else is sampled ``num_samples`` times. Raises UsageError for a parameter that the experiment does not
    have, or one that only its searcher knows and that is not given; SearchSpaceError if a value cannot be drawn.
    """
    binding = setup.bind_search
    space = dict(binding.space) if isinstance(binding, SearchBinding) else {}
    first = next(iter(state.trials.values()), None)
    elsewhere = [key for key in first.config if key not in space] if first is not None else []
    made: list[NewConfig] = []
    full = {**dict.fromkeys(elsewhere, _OPEN), **space}
    for config, varied in additions(full, values, seed=seed, num_samples=num_samples, like=like):
        left = [key for key in elsewhere if config.get(key) is _OPEN]
        config = {key: value for key, value in config.items() if key not in left}
        completed = setup.scheduler.complete_config(len(state.trials), config) if left else config
        if missing := [key for key in left if key not in completed]:
            raise UsageError(
                f"The searcher chooses {', '.join(map(repr, missing))}, not the search space, so a new trial must "
                f"state it: {missing[0]}=VALUE. Or take it from a trial: --like TRIAL."
            )
        made.append((config, varied))
    return made
