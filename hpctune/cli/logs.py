"""``hpctune logs``: the output of a trial, now and while it runs."""

from __future__ import annotations

import sys
import time

import click

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import find, snapshot
from hpctune.cli.logsall import show_all, show_failed
from hpctune.cli.outputfiles import Stream
from hpctune.common.text import count, quoted
from hpctune.common.throttle import Throttle
from hpctune.errors import UsageError
from hpctune.model.trial import Phase, Trial
from hpctune.storage import driver_jobs, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment

FOLLOW_S = 0.5
"""Seconds between two reads of the files."""
STATE_S = 2.0


@click.command(
    "logs",
    epilog="Example: hpctune logs ~/hpctune_results/mnist 00012 -f",
    help="Show the output of a trial; with -f follow it until the trial ends. Without TRIAL: that of all trials, each "
    "line with the number of its trial.\n\n"
    "With --driver: show the output of the driver, if it is a Slurm job (hpctune run --sbatch).\n\n"
    "TRIAL is an id (or a unique start or end of one), a name, a directory, or a number. " + find.DIR_HELP,
)
@click.argument("words", metavar="[DIR] [TRIAL]", nargs=-1)
@click.option("--dir", "directory", metavar="DIR", help="The experiment.")
@click.option("--driver", is_flag=True, help="Show the output of the driver's job instead of a trial's.")
@click.option("--failed", is_flag=True, help="Show the failures: each kind once, with the trials that it hit.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the trial ends.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Show stderr instead of stdout.")
@click.option("--both", is_flag=True, help="Show stdout and stderr.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="LINES", help="Only the last LINES of each file.")
def command(
    words: tuple[str, ...],
    directory: str | None,
    driver: bool,
    failed: bool,
    follow: bool,
    only_stderr: bool,
    both: bool,
    lines: int | None,
) -> None:
    """The command."""
    paths, named = find.experiment_and_trials(words, directory)
    if driver:
        if named or only_stderr or both:
            raise UsageError(
                "--driver shows only the driver's output. Leave the trial out: "
                f"hpctune logs {quoted(paths.root)} --driver"
            )
        _driver(paths, follow, lines)
        return
    outputs = _Outputs(paths)
    if failed:
        if named or follow:
            raise UsageError("--failed shows what has failed so far, of all trials. Leave the trial and -f out.")
        show_failed(paths, read_experiment(paths.root).state, lambda trial: outputs.streams(trial, True, True))
        return
    wanted = (both or not only_stderr, both or only_stderr)
    if not named:
        silent = show_all(paths, lambda trial: outputs.streams(trial, *wanted), lines, follow=follow)
        if silent:
            click.echo(outputs.silence(silent, *wanted), err=True)
        return
    if len(named) > 1:
        raise UsageError(
            f"Name one trial at a time, or none, for all of them: hpctune logs {quoted(paths.root)} TRIAL. "
            f"List them with: hpctune list {quoted(paths.root)}"
        )
    trial = find.trial(paths, read_experiment(paths.root).state.trials, named[0])
    streams = outputs.streams(trial, *wanted)
    _print(streams, [s.last(lines) for s in streams])
    if follow:
        trial = _follow(paths, trial, streams)
    elif not any(s.offset for s in streams):
        click.echo(_standing(trial, streams) + outputs.elsewhere(trial, streams), err=True)
    error = paths.trial(trial.dirname).error
    if trial.phase is Phase.ERROR and error.is_file():
        click.echo(f"\n==> {error} <==\n{error.read_text(errors='replace').rstrip()}")


class _Outputs:
    """The files in which the output of an experiment's trials is kept."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._paths, self._spec = paths, spec_file.read(paths)

    def streams(self, trial: Trial, stdout: bool, stderr: bool) -> list[Stream]:
        """Those of a trial. Raises UsageError if none are kept."""
        wanted = [("stdout", self._spec.stdout)] * stdout + [("stderr", self._spec.stderr)] * stderr
        kept = [Stream(title, self._paths.trial(trial.dirname).root / name) for title, name in wanted if name]
        if not kept:
            raise UsageError("This experiment keeps no output of its trials (log_to_file=False).")
        return [s for i, s in enumerate(kept) if s.path not in [k.path for k in kept[:i]]]

    def elsewhere(self, trial: Trial, shown: list[Stream]) -> str:
        """Where the trial has printed something, if not to the streams that are shown."""
        other = self._other(trial, shown)
        return "" if other is None else f" Its {other.title} is not empty: {self._command(other, trial.trial_id)}"

    def silence(self, trials: list[Trial], stdout: bool, stderr: bool) -> str:
        """That these trials have printed nothing to the streams that were asked for, and where they have."""
        shown = {trial.trial_id: self.streams(trial, stdout, stderr) for trial in trials}
        titles = " or ".join(stream.title for stream in shown[trials[0].trial_id])
        words = f"{count(len(trials), 'trial')} began, and printed nothing to {titles}."
        others = (self._other(trial, shown[trial.trial_id]) for trial in trials)
        other = next((each for each in others if each is not None), None)
        return words if other is None else f"{words} There is something in {other.title}: {self._command(other)}"

    def _other(self, trial: Trial, shown: list[Stream]) -> Stream | None:
        others = [s for s in self.streams(trial, True, True) if s.path not in {each.path for each in shown}]
        return next((other for other in others if other.news().strip()), None)

    def _command(self, stream: Stream, *trial: str) -> str:
        flag = ["--stderr"] if stream.title == "stderr" else []
        return " ".join(["hpctune logs", quoted(self._paths.root), *trial, *flag])


def _driver(paths: ExperimentPaths, follow: bool, lines: int | None) -> None:
    """Print the output of the driver job that started last; with ``follow``, of its successors too."""
    shown = _last_driver(paths)
    if shown is None:
        raise UsageError(f"No driver job of {paths.root} has started. Its state: hpctune status {quoted(paths.root)}")
    click.echo(f"==> {shown.path} <==", err=True)
    _print([shown], [shown.last(lines)])
    while follow:
        time.sleep(FOLLOW_S)
        _print([shown], [shown.news()])
        last = _last_driver(paths)
        if last is not None and last.path != shown.path:
            shown = last
            click.echo(f"==> {shown.path} <==", err=True)
        elif read_experiment(paths.root).state.ended is not None:
            return


def _last_driver(paths: ExperimentPaths) -> Stream | None:
    started = [job for job in driver_jobs.read(paths) if job.started_at is not None]
    return Stream("driver", driver_jobs.log(paths, started[-1].job_id)) if started else None


def _print(streams: list[Stream], texts: list[str]) -> None:
    for stream, text in zip(streams, texts, strict=True):
        if text and len(streams) > 1:
            click.echo(f"==> {stream.title} <==")
        if text:
            click.echo(text, nl=False)
    sys.stdout.flush()


def _follow(paths: ExperimentPaths, trial: Trial, streams: list[Stream]) -> Trial:
    """Print new output until the trial is over; returns the trial's final state."""
    if not any(s.offset for s in streams) and not trial.phase.final:
        click.echo(f"{_standing(trial, streams)} Waiting for its output.", err=True)
    followed, throttle = FollowedExperiment(paths.root), Throttle(STATE_S)
    while True:
        over = False
        if throttle.due(time.monotonic()):
            with throttle.measured(time.monotonic()):
                trial, over = _look(followed, trial)
        _print(streams, [s.news() for s in streams])
        if over:
            return trial
        time.sleep(FOLLOW_S)


def _look(followed: FollowedExperiment, trial: Trial) -> tuple[Trial, bool]:
    """The trial's current state, and whether no more output will come."""
    paths, state = followed.paths, followed.read().view.state
    trial = state.trials[trial.trial_id]
    if trial.phase.final:
        return trial, True
    if trial.attempt is not None and not trial.attempt.over:
        return trial, False
    driving = snapshot.driving(paths, state, time.time())
    if driving.alive is False:
        click.echo(f"No driver is running, so this trial does not continue. {driving.resume}", err=True)
        return trial, True
    return trial, False


def _standing(trial: Trial, streams: list[Stream]) -> str:
    """The state of a trial whose output files are empty."""
    if trial.phase in (Phase.RUNNING, Phase.TERMINATED, Phase.ERROR):
        titles = " or ".join(s.title for s in streams)
        return f"Trial {trial.trial_id} is {trial.phase.value} and has printed nothing to {titles}."
    return f"Trial {trial.trial_id} is {trial.phase.value}: {snapshot.waiting_reason(trial)}."
