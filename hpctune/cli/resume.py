"""``hpctune resume``: continue an experiment from its last state; jobs that still run are adopted."""

from __future__ import annotations

from typing import Any

import click

from hpctune.cli import find
from hpctune.cli.driveroptions import driver_job
from hpctune.cli.runoptions import EXIT_CODES, RunCommand, run_options, slurm_fields, warn_without_effect
from hpctune.cli.sshoptions import code_options
from hpctune.cli.workstations import hosts_of
from hpctune.common.text import quoted
from hpctune.core.state import ExperimentState
from hpctune.errors import UsageError
from hpctune.launch.remote import bring_here, is_copy
from hpctune.mirror.options import copy_of
from hpctune.model.trial import Phase
from hpctune.storage import inbox
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment

HOW = ("errored", "restart_errored", "errored_only", "restart_errored_only")


@click.command(
    "resume",
    cls=RunCommand,
    epilog="Example: hpctune resume ~/hpctune_results/mnist --errored\n\n" + EXIT_CODES,
    help="Continue an experiment from its last state. Jobs that still run are adopted, nothing is repeated. The code "
    "is what was stored at the start, and a program what it is now; to use a changed script: hpctune run CONFIG.py "
    "--name NAME --resume.\n\n"
    + find.DIR_HELP
    + " If it is the URL of a copy, the experiment is brought to the storage path first.",
)
@find.dir_argument
@click.option("--errored", is_flag=True, help="Also continue failed trials from their newest checkpoints.")
@click.option("--restart-errored", is_flag=True, help="Also start failed trials again from scratch.")
@click.option("--errored-only", is_flag=True, help="Like --errored, but unfinished trials end now.")
@click.option("--restart-errored-only", is_flag=True, help="Like --restart-errored, but unfinished trials end now.")
@code_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, directory: str | None, **given: Any) -> None:
    """The command."""
    how = [name for name in HOW if given[name]]
    if len(how) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in how)
        raise UsageError(f"{flags} exclude each other. Keep one of them.")
    slurm = slurm_fields(given)
    paths = _found(directory)
    state = read_experiment(paths.root).state
    waiting = inbox.waiting(paths, state.commands)
    if not given["config_values"] and not waiting and _nothing_left(state, bool(how), given["num_samples"]):
        _say_so(paths, state)
        return
    warn_without_effect(given["cluster"] or state.spec.cluster, slurm, given["hosts"])
    ctx.exit(_drive(paths, how, slurm, given))


def _found(named: str | None) -> ExperimentPaths:
    """The experiment; if ``named`` is a copy of it elsewhere, brought to the storage path."""
    paths = None if is_copy(named) else find.experiment(named)
    url = str(named) if paths is None else copy_of(paths.root)
    return paths if paths is not None and url is None else bring_here(str(url), find.storage_path())


def _nothing_left(state: ExperimentState, again: bool, num_samples: int | None) -> bool:
    if state.ended is None or (again and state.phases[Phase.ERROR]):
        return False
    return state.exhausted and num_samples in (None, state.num_samples)


def _say_so(paths: ExperimentPaths, state: ExperimentState) -> None:
    click.echo(f"Nothing left to do: {state.ended}.")
    if state.phases[Phase.ERROR]:
        click.echo(f"Failed trials again: hpctune resume {quoted(paths.root)} --errored")
    click.echo(f"More samples:        hpctune resume {quoted(paths.root)} --num-samples N  (now {state.num_samples})")
    click.echo(f"Another space:       hpctune resume {quoted(paths.root)} --set KEY=VALUE")
    click.echo(f"One more trial:      hpctune add {quoted(paths.root)} KEY=VALUE")


def _drive(paths: ExperimentPaths, how: list[str], slurm: dict[str, Any], given: dict[str, Any]) -> int:
    from hpctune.cli.configfile import execute
    from hpctune.cli.outcome import exit_code, failure_words
    from hpctune.cli.wandbsweep import say_sync
    from hpctune.launch.driven import watched
    from hpctune.launch.overrides import Overrides, use
    from hpctune.launch.resume import parse_resume
    from hpctune.launch.run import resume_directory

    wanted = Overrides(
        num_samples=given["num_samples"],
        max_concurrent=given["max_concurrent"],
        time_budget_s=given["time_budget"],
        budget=given["budget"],
        max_checkpoints=given["max_checkpoints"],
        max_checkpoint_bytes=given["max_checkpoint_bytes"],
        cluster=given["cluster"],
        hosts=hosts_of(given),
        code=given["code"],
        code_limit=given["code_limit"],
        slurm=slurm,
        config=given["config_values"],
        verbose=given["verbose"],
        cancel_on_exit=given["cancel_on_exit"],
        calls_per_minute=given["calls_per_minute"],
        driver_job=driver_job(given),
        workers=given["workers"],
    )
    choice = parse_resume("+".join(["LOCAL", *(name.upper() for name in how)])).choice
    with use(wanted), watched() as driven:
        full_traceback = (given["verbose"] or 0) >= 3
        execute(paths.root, lambda: resume_directory(paths, choice), full_traceback=full_traceback)
    for experiment in driven:
        say_sync(experiment.paths.root)
    words = failure_words(driven)
    if words:
        click.echo(f"hpctune: error: {words}", err=True)
    return exit_code(driven)
