"""What a script asks for, made into launches: shared by ``run``, ``run_experiments`` and ``Tuner``."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from hpctune import driverchain, envvars
from hpctune.arguments import storage_path
from hpctune.core.resume import ResumeChoice
from hpctune.driver.clock import WallClock
from hpctune.driver.engine import Driver
from hpctune.driverchain import DriverJobRequest
from hpctune.driving import Start, start_and_drive, start_and_leave
from hpctune.errors import RequestRejectedError, ResumeError, UsageError
from hpctune.experiment import Experiment
from hpctune.launch import Launch, check, create, discard, exists, open_existing
from hpctune.notice import tell
from hpctune.output.reporters import ProgressReporter
from hpctune.overrides import Overrides, current, replace_values
from hpctune.preview import dry_run_text
from hpctune.resuming import Resume, When, parse_resume
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.settings import SearchBinding, Settings, launch_of, overridden, verbosity
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial
from hpctune.where import choose


class DryRun(SystemExit):
    """Ends a script at its first launch, in good order, when only a dry run was asked for; ``text`` was printed."""

    def __init__(self, text: str) -> None:
        super().__init__(0)
        self.text = text


class HandedOver(SystemExit):
    """Ends a script at its first launch, in good order, when the driver was to be a job; ``text`` was printed."""

    def __init__(self, text: str) -> None:
        super().__init__(0)
        self.text = text


@dataclass(frozen=True, slots=True)
class Driven:
    """An experiment that was driven, to its end unless ``left`` names the signal that ended the driving."""

    driver: Driver
    left: str

    @property
    def paths(self) -> ExperimentPaths:
        return self.driver.paths

    @property
    def trials(self) -> list[Trial]:
        """Views of all trials, as they are now."""
        driver = self.driver
        return [Trial(value, driver.paths, driver.spec) for value in driver.state.trials.values()]


def drive(experiments: Sequence[Experiment], settings: Settings) -> list[Driven]:
    """Make or resume these experiments, and drive them side by side.

    Raises as ``launch.create`` and ``launch.start_and_drive`` do; ResumeError when there is nothing to resume; DryRun.
    """
    overrides = current()
    if len(experiments) > 1 and overrides.name is not None:
        raise UsageError("A name on the command line is for one experiment, and the script has several.")
    if overrides.resume is not None:
        settings = replace(settings, resume=overrides.resume, resume_config=None)
    resume = parse_resume(settings.resume, settings.resume_config)
    idle = envvars.without_effect()
    if idle:
        tell(f"These variables of Ray Tune have no effect here: {', '.join(idle)}.")
    starts: list[Start] = []
    made: list[ExperimentPaths] = []
    try:
        for experiment in experiments:
            own = settings if len(experiments) == 1 else _own_policies(settings)
            starts.append(_prepare(experiment, own, overrides, resume, made))
    except BaseException:
        for paths in made:
            discard(paths)
        raise
    if overrides.driver_job is not None:
        _hand_over(starts, overrides.driver_job, made)
    outcome = start_and_drive(starts, cancel_on_exit=overrides.cancel_on_exit)
    return [Driven(driver, outcome.left) for driver in outcome.drivers]


def _hand_over(starts: Sequence[Start], request: DriverJobRequest, made: Sequence[ExperimentPaths]) -> NoReturn:
    """Submit the driver of each experiment as a job; one that Slurm takes none for is not made. Raises HandedOver."""
    texts = []
    for start in starts:
        paths, spec = start.paths, start.launch.spec
        try:
            if paths not in made:
                start_and_leave(start)
            jobs = driverchain.submit_chain(paths, spec, request)
        except RequestRejectedError:
            if paths in made:
                discard(paths)
            raise
        more = f", to be followed by {', '.join(jobs[1:])}" if jobs[1:] else ""
        texts.append(
            f"The driver of {paths.root} is job {jobs[0]}{more}.\n"
            f"Look: hpctune status {paths.root}. Its output: hpctune logs {paths.root} --driver. "
            f"Stop: hpctune stop {paths.root}"
        )
    print("\n".join(texts))
    raise HandedOver("\n".join(texts))


def _own_policies(settings: Settings) -> Settings:
    """Settings with a searcher and scheduler that no other experiment shares."""
    return replace(settings, search_alg=copy.deepcopy(settings.search_alg), scheduler=copy.deepcopy(settings.scheduler))


def _prepare(
    experiment: Experiment, settings: Settings, overrides: Overrides, resume: Resume, made: list[ExperimentPaths]
) -> Start:
    root = storage_path(overrides.storage_path) if overrides.storage_path else experiment.storage
    launch = launch_of(experiment, settings, overrides)
    spec, paths = launch.spec, ExperimentPaths(root / launch.spec.name)
    if overrides.driver_job is not None:
        driverchain.check(overrides.driver_job, spec.cluster, overrides.cancel_on_exit)
    _check_population(launch.setup.scheduler, spec.num_samples)
    if spec.num_samples == -1 and spec.time_budget_s is None and launch.setup.stopper is None:
        tell(f"Without time_budget_s or a Stopper this goes on until it is stopped: hpctune stop {paths.root}")
    if overrides.dry_run:
        _dry_run(paths, launch, overrides.driver_job)
    if _is_resumed(resume, paths, launch.named):
        going_on = open_existing(paths, launch)
        return Start(paths=paths, launch=going_on, resume=resume.choice, num_samples=spec.num_samples, renewed=True)
    paths = create(root, launch)
    made.append(paths)
    return Start(paths=paths, launch=launch)


def _check_population(scheduler: SchedulerPolicy, num_samples: int | None) -> None:
    """Raise UsageError where the scheduler decides on all trials at once and there is no "all"."""
    if num_samples == -1 and getattr(scheduler, "synch", False):
        raise UsageError(
            f"{type(scheduler).__name__}(synch=True) decides when every trial has come to the end of an interval, and "
            "num_samples=-1 never stops adding trials. Give their number, or synch=False."
        )


def _dry_run(paths: ExperimentPaths, launch: Launch, driver_job: DriverJobRequest | None) -> None:
    check(launch, paths)
    cluster = launch.cluster.build(paths.root, launch.spec.experiment_id, WallClock())
    text = dry_run_text(launch.spec, launch.setup, paths, cluster)
    cluster.close()
    if driver_job is not None:
        text += f"\n\nJob of the driver:\n{driverchain.preview(paths, launch.spec, driver_job).rstrip()}"
    print(text)
    raise DryRun(text)


def _is_resumed(resume: Resume, paths: ExperimentPaths, named: bool) -> bool:
    """Whether to resume rather than to start anew. Raises ResumeError where that is required and not possible."""
    if resume.when is When.NEVER:
        return False
    there = named and exists(paths)
    if resume.when is When.ALWAYS and not there:
        if not named:
            raise ResumeError("resume=True needs name=...: an automatic name is a new one each time.")
        raise ResumeError(f"There is nothing to resume in {paths.root}. Drop resume=, or use resume='AUTO'.")
    return there and (resume.when is not When.ASK or _confirmed(paths))


def _confirmed(paths: ExperimentPaths) -> bool:
    if not sys.stdin.isatty():
        raise ResumeError("resume='PROMPT' asks on a terminal, and there is none. Use resume=True or 'AUTO'.")
    return input(f"Resume the experiment in {paths.root}? [y/N] ").strip().lower() in ("y", "yes")


def resume_directory(
    paths: ExperimentPaths,
    choice: ResumeChoice | None = None,
    *,
    trainable: Any = None,
    param_space: Mapping[str, Any] | None = None,
    cluster: Any = None,
    slurm: Any = None,
    reporter: ProgressReporter | None = None,
    verbose: int | None = None,
) -> Driven:
    """Go on with the experiment in ``paths`` without its script, as ``hpctune resume DIR`` does.

    ``trainable`` and ``param_space`` replace what is stored; the overrides in force change limits and cluster.
    """
    overrides = current()
    given = choose(cluster, slurm, overrides) if cluster is not None or slurm is not None else None
    launch = open_existing(paths, cluster=given)
    stored_spec, setup = launch.spec, launch.setup
    if trainable is not None:
        launch.trainable = trainable
    space = setup.bind_search.space if isinstance(setup.bind_search, SearchBinding) else {}
    if param_space is not None or overrides.config:
        changed = replace_values(space if param_space is None else param_space, overrides.config)
        assert isinstance(setup.bind_search, SearchBinding)
        setup = replace(setup, bind_search=replace(setup.bind_search, space=changed))
    limits = replace(overridden(stored_spec, overrides), num_samples=stored_spec.num_samples)
    spec = replace(limits, cluster=launch.cluster.name, cluster_options=launch.cluster.to_json())
    _check_population(setup.scheduler, overrides.num_samples)
    renewed = spec != stored_spec or trainable is not None or setup is not launch.setup
    launch = replace(launch, spec=spec, setup=setup, reporter=reporter, verbose=verbosity(verbose, overrides))
    start = Start(paths=paths, launch=launch, resume=choice, num_samples=overrides.num_samples, renewed=renewed)
    if overrides.driver_job is not None:
        driverchain.check(overrides.driver_job, spec.cluster, overrides.cancel_on_exit)
        _hand_over([start], overrides.driver_job, [])
    outcome = start_and_drive([start], cancel_on_exit=overrides.cancel_on_exit)
    return Driven(outcome.drivers[0], outcome.left)
