"""``hpctune stop``: tell the current or the next driver to end an experiment or some of its trials."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import exitcodes, find, snapshot
from hpctune.cli.snapshot import Driving
from hpctune.common.text import count, quoted
from hpctune.common.throttle import Throttle
from hpctune.core.state import ExperimentState
from hpctune.errors import UsageError
from hpctune.mirror.options import is_elsewhere
from hpctune.model.trial import Trial
from hpctune.storage import inbox, lease
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment

WAIT_S = 1.0


@click.command(
    "stop",
    epilog="Example: hpctune stop ~/hpctune_results/mnist --wait",
    help="Stop an experiment, or only the named trials of it: a running trial ends at its next report, a waiting one "
    "is cancelled.\n\nTRIAL is an id (or a unique start or end of one), a name, or a number. To stop "
    "everything, name the experiment: hpctune stop DIR.",
)
@click.argument("words", metavar="[DIR] [TRIAL]...", nargs=-1)
@click.option("--dir", "directory", metavar="DIR", help="The experiment.")
@click.option("--wait", is_flag=True, help="Wait until the trials are over.")
@click.option("--now", "at_once", is_flag=True, help="Cancel the jobs from this process, if no driver is alive.")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], directory: str | None, wait: bool, at_once: bool) -> None:
    """The command."""
    if is_elsewhere(place := directory or next(iter(words), None)):
        find.own_experiment(place)
    paths, named = find.experiment_and_trials(words, directory)
    find.own_experiment(str(paths.root))
    if not named and not words and directory is None:
        raise UsageError(f"Nothing was named. To stop a whole experiment, name it: hpctune stop {quoted(paths.root)}")
    state = read_experiment(paths.root).state
    targets = list(dict.fromkeys(find.trial(paths, state.trials, name).trial_id for name in named))
    driving = snapshot.driving(paths, state, time.time(), patience_s=lease.PATIENCE_S)
    what = f"trial {', '.join(targets)}" if targets else f"experiment {paths.root}"
    if state.ended is not None or (targets and all(state.trials[t].phase.final for t in targets)):
        click.echo(f"Nothing to stop: {what} is over already.")
        return
    if at_once and driving.alive:
        raise UsageError(f"--now is for experiments without a driver; here {driving.text}. Leave it out.")
    inbox.post(paths, inbox.STOP, targets)
    if driving.alive is False or at_once:
        _without_driver(paths, state, targets, driving, at_once)
        if wait:
            click.echo("Not waiting: there is no driver to wait for.", err=True)
        return
    click.echo(f"Told the driver to stop {what}.")
    if driving.alive is None:
        click.echo(f"This host cannot tell whether the driver is alive: {driving.text}.", err=True)
    if wait:
        ctx.exit(_wait(paths, targets))


def _without_driver(
    paths: ExperimentPaths, state: ExperimentState, targets: Sequence[str], driving: Driving, at_once: bool
) -> None:
    live = [t for t in _meant(state, targets) if t.phase.live]
    click.echo(f"Noted. {driving.text[0].upper()}{driving.text[1:]}.")
    click.echo(f"The next driver will stop it: hpctune resume {quoted(paths.root)}")
    if at_once:
        from hpctune.cli.canceljobs import cancel_jobs

        cancelled = cancel_jobs(paths, state, [t.trial_id for t in live] if targets else [])
        click.echo(f"Cancelled {count(cancelled, 'job')}.")
    elif live:
        click.echo(f"Until then {count(len(live), 'job')} may keep running. To cancel now, add --now.")


def _meant(state: ExperimentState, targets: Sequence[str]) -> list[Trial]:
    return [state.trials[t] for t in targets] if targets else list(state.trials.values())


def _wait(paths: ExperimentPaths, targets: Sequence[str]) -> int:
    """Wait until the trials are over, or no driver is left to end them."""
    followed, throttle = FollowedExperiment(paths.root), Throttle(WAIT_S)
    while True:
        with throttle.measured(time.monotonic()):
            state = followed.read().view.state
        left = [t for t in _meant(state, targets) if not t.phase.final]
        if state.ended is not None or (targets and not left):
            click.echo("Stopped.")
            return exitcodes.DONE
        driving = snapshot.driving(paths, state, time.time())
        if driving.alive is False:
            click.echo(f"hpctune: error: {driving.text}. To continue: {driving.resume}", err=True)
            return exitcodes.FAILED
        time.sleep(throttle.wait_s(time.monotonic()))
