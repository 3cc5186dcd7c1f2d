"""Runs experiments in four steps: resolve, preflight, store, drive.

``run``, ``run_experiments``, ``Tuner`` and the command line use it. Overrides and environment are read only here; each
step gets them as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from hpctune.common import env as environment, streams
from hpctune.common.env import EnvSettings
from hpctune.common.kept_state import show_use
from hpctune.common.log import log, show_messages
from hpctune.common.text import quoted
from hpctune.core.resume import ResumeChoice
from hpctune.errors import RequestRejectedError, ResumeError, UsageError
from hpctune.launch import driver_chain, store
from hpctune.launch.arguments import place
from hpctune.launch.billing import with_billing
from hpctune.launch.definition import Experiment
from hpctune.launch.drive import apply_resume, drive
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.driver_chain import DriverJobRequest
from hpctune.launch.options import RunOptions
from hpctune.launch.overrides import Overrides, current
from hpctune.launch.preflight import dry_run, preflight
from hpctune.launch.prepared import PreparedExperiment
from hpctune.launch.remote import bring_if_lost, bring_mirror, complete
from hpctune.launch.resolve import new_identity, resolve, resolve_stored
from hpctune.launch.resume import Resume, When, is_resumed, parse_resume
from hpctune.launch.script_options import with_top_level_options
from hpctune.search.search_generator import SearchGenerator
from hpctune.search.searcher import Searcher
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker import is_session_enabled


class EndOfScript(SystemExit):
    """Ends a script at its first launch, with exit code 0. ``text`` was printed."""

    def __init__(self, text: str) -> None:
        super().__init__(0)
        self.text = text


class DryRun(EndOfScript):
    """Raised after a dry run."""


class HandedOver(EndOfScript):
    """Raised after the driver was submitted as a job."""


def run(experiments: Sequence[Experiment], options: RunOptions) -> list[DrivenExperiment]:
    """Create or resume these experiments, and drive them side by side.

    Raises the errors of each step, ResumeError if there is nothing to resume, DryRun, and HandedOver.
    """
    streams.open_missing()
    show_messages()
    overrides, env = current(), environment.settings()
    if len(experiments) > 1 and overrides.name is not None:
        raise UsageError("--name is for one experiment, and the script has several. Remove --name.")
    if overrides.resume is not None:
        options = replace(options, resume=overrides.resume, resume_config=None)
    options = with_top_level_options(options, overrides.cluster)
    resume = parse_resume(options.resume, options.resume_config)
    if env.without_effect and not is_session_enabled():  # a trial has some of them from us
        log.warning(
            f"These variables of Ray Tune have no effect here: {', '.join(env.without_effect)}. The documentation says "
            'why: "Run a Ray Tune script as it is", "Environment variables".'
        )
    prepared: list[PreparedExperiment] = []
    try:
        for experiment in experiments:
            own = options if len(experiments) == 1 else options.with_own_policies()
            prepared.append(_prepare(experiment, own, overrides, env, resume))
    except BaseException:
        _discard_new(prepared)
        raise
    try:
        for one in prepared:
            store.tell_launcher(one.paths)
        return _drive_or_hand_over(prepared, overrides)
    finally:
        if len(prepared) == 1:
            _show_what_was_learned(options, prepared[0])


def _show_what_was_learned(options: RunOptions, prepared: PreparedExperiment) -> None:
    """Let the searcher and the scheduler that the user passed in show what the experiment has made of them."""
    if isinstance(options.search_alg, (Searcher, SearchGenerator)):
        options.search_alg.show_what_was_learned()
    show_use(options.scheduler, prepared.setup.scheduler)


def resume_directory(
    paths: ExperimentPaths,
    resume: ResumeChoice | None = None,
    *,
    trainable: Any = None,
    param_space: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    filesystem: Any = None,
) -> DrivenExperiment:
    """Resume the experiment in ``paths`` without its script, as ``hpctune resume DIR`` does.

    ``filesystem``: that of its copy, as the stored one has no secrets. The other arguments are those of
    :func:`hpctune.launch.resolve.resolve_stored`.
    """
    streams.open_missing()
    show_messages()
    overrides, env = current(), environment.settings()
    complete(paths)
    stored = store.load(paths)
    prepared = with_billing(
        resolve_stored(stored, overrides, env, resume, trainable=trainable, param_space=param_space, options=options)
    )
    mirror = getattr(prepared.setup, "mirror", None)  # setups of earlier versions have none
    if filesystem is not None and mirror is not None and mirror.filesystem is not None:
        prepared = replace(prepared, setup=replace(prepared.setup, mirror=replace(mirror, filesystem=filesystem)))
    if overrides.driver_job is not None:
        driver_chain.check(overrides.driver_job, prepared.spec.cluster, overrides.cancel_on_exit)
    for note in prepared.notes:
        log.warning(note)
    store.tell_launcher(prepared.paths)
    return _drive_or_hand_over([prepared], overrides)[0]


def _prepare(
    experiment: Experiment, options: RunOptions, overrides: Overrides, env: EnvSettings, resume: Resume
) -> PreparedExperiment:
    """Prepare the experiment, and store it if it is new. Raises DryRun after a dry run."""
    root, name = place(experiment.storage_in(overrides.storage_path, env.result_dir), overrides.name or experiment.name)
    if name is None and resume.when is not When.NEVER:
        name = store.newest(root, experiment.trainable_name)
    if resume.when is When.REMOTE:
        mirror = experiment.mirror_in(overrides.storage_path)
        if mirror is None or name is None:
            raise ResumeError("resume='REMOTE' needs name= and a place elsewhere: storage_path='s3://bucket/dir'.")
        bring_mirror(mirror, name, root)
    elif resume.when is When.IF_POSSIBLE and name is not None and not overrides.dry_run:
        bring_if_lost(experiment.mirror_in(overrides.storage_path), name, root)
    goes_on = is_resumed(resume, None if name is None else ExperimentPaths(root / name))
    if goes_on:
        complete(ExperimentPaths(root / str(name)))
    stored = spec_file.read(ExperimentPaths(root / str(name))) if goes_on else None
    prepared = with_billing(resolve(experiment, options, overrides, env, new_identity(), stored, resume.choice))
    if overrides.driver_job is not None:
        driver_chain.check(overrides.driver_job, prepared.spec.cluster, overrides.cancel_on_exit)
    for note in prepared.notes:
        log.warning(note)
    if overrides.dry_run:
        text = dry_run(prepared, overrides.driver_job)
        print(text)
        raise DryRun(text)
    if stored is not None:
        return prepared
    prepared = store.with_free_name(prepared)
    preflight(prepared)
    return store.create(prepared)


def _discard_new(prepared: Sequence[PreparedExperiment]) -> None:
    for one in prepared:
        if one.resume is None:
            store.discard(one.paths)


def _drive_or_hand_over(prepared: Sequence[PreparedExperiment], overrides: Overrides) -> list[DrivenExperiment]:
    if overrides.driver_job is not None:
        _hand_over(prepared, overrides.driver_job)
    return drive(prepared, cancel_on_exit=overrides.cancel_on_exit)


def _hand_over(prepared: Sequence[PreparedExperiment], request: DriverJobRequest) -> NoReturn:
    """Submit the driver of each experiment as a job, then raise HandedOver.

    If Slurm refuses the job of a new experiment, the experiment is removed.
    """
    texts = []
    for one in prepared:
        root = one.paths.root
        try:
            if one.resume is not None:
                apply_resume(one)
            jobs = driver_chain.submit_chain(one.paths, one.spec, request)
        except RequestRejectedError:
            _discard_new([one])
            raise
        more = f", followed by {', '.join(jobs[1:])}" if jobs[1:] else ""
        texts.append(
            f"The driver of {root} is job {jobs[0]}{more}.\n"
            f"Status: hpctune status {quoted(root)}. Its output: hpctune logs {quoted(root)} --driver. "
            f"Stop: hpctune stop {quoted(root)}"
        )
    print("\n".join(texts))
    raise HandedOver("\n".join(texts))
