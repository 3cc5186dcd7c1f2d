"""``hpctune confirm``: run the best configurations again with fresh seeds, and say whether the best is the best."""

from __future__ import annotations

import secrets

import click

from hpctune.analysis import confirmed as again
from hpctune.cli import find
from hpctune.cli.add import tell
from hpctune.cli.best import rank
from hpctune.common.text import count, number, quoted
from hpctune.errors import UsageError
from hpctune.model.ranking import Objectives, pareto_front
from hpctune.model.rows import lookup, number as metric_of
from hpctune.model.trial import Trial
from hpctune.storage import inbox
from hpctune.storage.reader import ExperimentView, read_experiment


@click.command(
    "confirm",
    epilog="Example: hpctune confirm ~/hpctune_results/mnist --top 3 --seeds 5",
    help="Run the best configurations again with fresh seeds, so that luck is told from merit. Then, and without --top "
    "later on, show their means with intervals, and whether the best is the best. "
    "With several metrics, the configurations are those on the Pareto front, and each metric is shown.\n\n"
    + find.DIR_HELP,
)
@find.dir_argument
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="How many configurations to run again.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="How often each.")
@click.option("--seed-name", default="seed", show_default=True, help="The parameter that gets the fresh seeds.")
@click.option(
    "--until",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Run each up to this value of the scheduler's time, such as training_iteration, if that is further than in "
    "the search, and the program and stop= allow it. Default: as far as in the search.",
)
@click.option("--metric", help="The metric. Default: the experiment's own.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether low or high is better.")
def command(
    directory: str | None, top: int | None, seeds: int, seed_name: str, until: float | None, metric: str | None,
    mode: str | None,
) -> None:  # fmt: skip
    """The command."""
    paths = find.own_experiment(directory)
    view = read_experiment(paths.root, with_rows=True)
    spec = view.state.spec
    goals = spec.objectives if metric is None else ()
    metric, mode = metric or spec.metric, mode or spec.mode
    if metric is None or mode is None:
        raise UsageError(
            f"The metric or mode is unknown: hpctune confirm {quoted(paths.root)} --metric NAME --mode max"
        )
    goals = goals if len(goals) > 1 else ((metric, mode),)
    if top is not None:
        _ask(view, top, seeds, seed_name, until, goals)
        return
    for number_, goal in enumerate(goals):
        if number_:
            click.echo("")
        _show(view, *goal)


def _show(view: ExperimentView, metric: str, mode: str) -> None:
    """Print what the runs with fresh seeds say of one metric."""
    paths = view.paths
    made = again.confirmed(paths, view.state, metric, mode)
    if not made:
        raise UsageError(f"Nothing was run again yet: hpctune confirm {quoted(paths.root)} --top 3 --seeds 5")
    click.echo("\n".join(again.lines(made, metric, mode)))


def _best(view: ExperimentView, goals: Objectives) -> list[Trial]:
    """The trials of the search, best first; with several metrics those on the Pareto front. Raises UsageError if there
    is none."""
    added = view.state.added
    if len(goals) > 1:
        trials = [trial for name, trial in view.state.trials.items() if name not in added]
        own = pareto_front(trials, goals)
    else:
        own = [one.trial for one in rank(view, *goals[0], "last") if one.trial.trial_id not in added]
    if not own:
        raise UsageError("No trial of the search has a result yet.")
    return own


def _ask(view: ExperimentView, top: int, seeds: int, seed_name: str, until: float | None, goals: Objectives) -> None:
    """Add the trials. ``until``: as in the option; None: each as far as in the search."""
    paths, state = view.paths, view.state
    own = _best(view, goals)
    if len(goals) > 1:
        click.echo(f"{count(len(own), 'trial')} on the Pareto front of {', '.join(name for name, _ in goals)}:")
    if seed_name not in own[0].config:
        click.echo(
            f"The configurations have no {seed_name!r} (--seed-name), so what varies from run to run must come from "
            "the program itself.",
            err=True,
        )
    for trial in own[:top]:
        configs: list[inbox.NewConfig] = []
        for _ in range(seeds):
            config = again.with_seed(trial.config, seed_name, secrets.randbelow(2**31))
            varied = dict(trial.evaluated) | ({seed_name: config[seed_name]} if seed_name in config else {})
            configs.append((config, varied))
        values = ", ".join(f"{name} = {number(lookup(trial.last, name))}" for name, _ in goals)
        reach = again.same_budget(trial)
        if until is not None:
            reach = max(until, reach, metric_of(trial.last, trial.milestone_attr) or 0.0)
        posted = inbox.post(paths, inbox.ADD, trials=configs, until=reach)
        again.note(paths, posted.command_id, trial.trial_id)
        click.echo(f"  {trial.trial_id} ({values}) {count(seeds, 'time')}")
    tell(paths, state, min(top, len(own)) * seeds)
    click.echo(f"What it says: hpctune confirm {quoted(paths.root)}")
