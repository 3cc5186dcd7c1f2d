"""What ``tuner.search(...)`` of KerasTuner does in ``hpctune run``: each trial becomes a job."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpctune.common.log import log
from hpctune.interop.in_script import conclude_call, overrides_of, say_how_many
from hpctune.interop.keras_tuner.patching import patched
from hpctune.interop.keras_tuner.policy import OracleSearch
from hpctune.interop.keras_tuner.trial import TunerTrial, without_overwriting
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.overrides import current, use
from hpctune.launch.run import run as launch
from hpctune.run_config import RunConfig
from hpctune.stopper import NoopStopper
from hpctune.tune_config import TuneConfig
from hpctune.tuner import Tuner


@contextlib.contextmanager
def installed(path: Path, text: str, arguments: list[str]) -> Iterator[Searches]:
    """While this lasts, the searches of the script at ``path`` run their trials as jobs."""
    searches = Searches(path.absolute(), text, arguments)
    with patched(searches.methods):
        yield searches


class Searches:
    """Runs the searches of one script. ``calls``: how many there were."""

    def __init__(self, path: Path, text: str, arguments: list[str]) -> None:
        self.path, self.text, self.arguments, self.calls = path, text, arguments, 0

    def methods(self, base: type) -> dict[str, Callable[..., Any]]:
        """The replacements for ``BaseTuner``."""

        def search(tuner: Any, *args: Any, **kwargs: Any) -> None:
            self(tuner)

        resumed = current().resume not in (None, False)
        return {"search": search, **({"__init__": without_overwriting(base)} if resumed else {})}

    def __call__(self, tuner: Any) -> None:
        """Run the trials, and give the tuner's oracle their results. The arguments of ``search`` are those that the
        script has in each job."""
        self.calls += 1
        overrides = overrides_of(
            self.calls,
            "A model for KerasTuner states its parameters itself",
            "Fix a parameter with hp.Fixed(name, value) in the HyperParameters of the tuner.",
        )
        oracle = tuner.oracle
        if oracle.max_trials and len(oracle.trials) >= oracle.max_trials and not oracle._retry_queue:
            log.info("hpctune: the project %s has all its %d trials", tuner.project_dir, oracle.max_trials)
            return
        name = re.sub(r"[^\w.-]+", "_", self._name(tuner))
        say_how_many(overrides, "KerasTuner does")
        import keras

        search = OracleSearch(oracle, keras.config.backend())
        trainable = TunerTrial(self.path, self.text, self.arguments, self.calls, name)
        asked = Tuner(
            trainable,
            tune_config=TuneConfig(
                metric=oracle.objective.name,
                mode=oracle.objective.direction,
                search_alg=search,
                num_samples=-1,
                chdir_to_trial_dir=False,
            ),
            run_config=RunConfig(stop=NoopStopper()),  # the oracle knows when it ends
        )
        tuner.on_search_begin()
        with use(overrides):
            driven = launch([asked.experiment()], asked.options())[0]
        _finish(driven, tuner, search)

    def _name(self, tuner: Any) -> str:
        """A name for the experiment: the project's, else the script's."""
        named = tuner.project_name != "untitled_project"
        return str(tuner.project_name if named else self.path.stem) + (f"-{self.calls}" if self.calls > 1 else "")


def _finish(driven: DrivenExperiment, tuner: Any, search: OracleSearch) -> None:
    """Complete the user's tuner. Raises EndOfScript if the driver was told to leave, RuntimeError as KerasTuner does
    if too many trials have failed."""
    conclude_call(driven)
    policy = search.policy
    if policy is None:
        return
    vars(tuner.oracle).update(vars(policy.oracle))
    tuner.oracle._display.oracle = tuner.oracle
    tuner.save()
    if policy.failure is not None:
        raise policy.failure
    tuner.on_search_end()
