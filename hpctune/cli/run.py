"""``hpctune run``: execute a config file, and run the experiment that it defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import decode_source
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import click

from hpctune.cli import exitcodes
from hpctune.cli.configfile import compiled, execute, load
from hpctune.cli.driveroptions import driver_job
from hpctune.cli.plainscript import Script, look_at, refuse_plain
from hpctune.cli.runoptions import (
    EXIT_CODES,
    RunCommand,
    experiment_options,
    run_options,
    slurm_fields,
    warn_without_effect,
)
from hpctune.cli.searchoptions import NAMES as SEARCH_NAMES, search_options
from hpctune.cli.sshoptions import refuse_ssh_options, ssh_options
from hpctune.cli.workstations import hosts_of
from hpctune.errors import TuneError, UsageError

if TYPE_CHECKING:
    from hpctune.launch.driven import DrivenExperiment
    from hpctune.launch.overrides import Overrides


def run_file(path: Path, arguments: tuple[str, ...], given: Mapping[str, Any]) -> int:
    """Run a file that is not Python. Returns the exit code."""
    from hpctune.cli.runfile import prepare

    overrides = as_overrides({**given, "num_samples": None})
    return run_watched(prepare(path, arguments, given), overrides)


def run_wandb_script(path: Path, arguments: tuple[str, ...], given: Mapping[str, Any], script: Script) -> int:
    """Run a script that calls ``wandb.agent``, or only ``wandb.sweep``. Returns the exit code of the first search that
    is not as it should be."""
    from hpctune.cli import wandbsweep

    if given["params"] or given["table"]:
        raise UsageError(f"--param and --params are for batch scripts. {path} has its parameters in wandb.sweep(...).")
    codes = [exitcodes.DONE]
    wanted = as_overrides({**given, "num_samples": None})
    actions = [wandbsweep.fit(search) for search in wandbsweep.searches_in_script(path, arguments, given, script)]
    for number, action in enumerate(actions, 1):
        one = replace(wanted, name=f"{wanted.name}-{number}") if wanted.name and number > 1 else wanted
        codes.append(run_watched(action, one))
        if codes[-1] not in (exitcodes.DONE, exitcodes.FAILED):
            break
    return next((code for code in codes if code), exitcodes.DONE)


@click.command(
    "run",
    cls=RunCommand,
    epilog="Example: hpctune run mnist.py --name mnist -p gpu -t 2:00:00 --set lr=0.01 -- --data /d\n\n" + EXIT_CODES,
    help="Tune what CONFIG defines.\n\nA Python file: 'tuner' (a Tuner) or 'experiment' (an Experiment or a dict). A "
    "script that calls hpctune.run(...) or Tuner.fit() itself works too; it is run once. Arguments after -- are in the "
    "file's sys.argv. Scripts for Optuna that call study.optimize(objective, ...), and for W&B that call wandb.agent "
    "or wandb.sweep, run as they are.\n\nA .yaml, .toml or .json file: a search over a program (hpctune init writes "
    "one), a sweep of W&B, or an experiment of SEML.\n\nA batch "
    "script: its #SBATCH lines hold for the trials, and --param lr=log:1e-5..1e-1 varies $lr or {lr} in it, or an "
    "option of its program. A script, also in Python, that calls sbatch in a "
    "loop: each call is a trial.\n\nOptions given here override those in the file. Ctrl-C is safe: jobs keep running, "
    "and hpctune resume takes over.",
)
@click.argument("config", metavar="CONFIG", required=False)
@click.argument("arguments", metavar="[-- ARGS...]", nargs=-1, type=click.UNPROCESSED)
@experiment_options
@click.option(
    "--ray",
    type=click.Choice(["hpctune", "installed"]),
    envvar="HPCTUNE_RAY",
    default="hpctune",
    help="What 'import ray' gives the script and its jobs: hpctune (the default), or the Ray that is installed.",
)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=DOMAIN", help="A parameter of a batch script; repeatable."
)
@click.option(
    "--params", "table", metavar="FILE", help="One trial for each row of a .csv, .json, or line of arguments."
)
@search_options
@ssh_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, config: str | None, arguments: tuple[str, ...], **given: Any) -> None:
    """The command."""
    refuse_ssh_options(given)
    resume = given["resume"]
    if resume is not None and resume.endswith(".py"):  # example: hpctune run --resume CONFIG.py
        arguments = arguments if config is None else (config, *arguments)
        config, given["resume"] = resume, "LOCAL"
    if config is None:
        raise click.UsageError("No config file was named. Usage: hpctune run CONFIG.py", ctx)
    path = Path(config).expanduser()
    if path.suffix != ".py" and path.is_file():
        ctx.exit(run_file(path, arguments, given))
    code = compiled(path)
    script = look_at(path)
    if (script.calls_wandb_agent or script.calls_wandb_sweep) and not script.searches:
        ctx.exit(run_wandb_script(path, arguments, given, script))
    if script.calls_sbatch and not (script.searches or script.optimizes):
        ctx.exit(run_file(path, arguments, given))
    overrides = as_overrides(given)
    _refuse_search_options(path, given)
    refuse_plain(path, script)
    if script.imports_ray:
        _choose_ray(given["ray"])
    in_full = (given["verbose"] or 0) >= 3
    if script.is_optunas:
        ctx.exit(_run_optuna(path, code, arguments, overrides, full_traceback=in_full))
    if script.is_keras_tuners:
        ctx.exit(_run_keras_tuner(path, code, arguments, overrides, full_traceback=in_full))
    ctx.exit(_run(path, code, arguments, overrides, full_traceback=in_full, must_define=not script.imports_ray))


def _refuse_search_options(path: Path, given: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that is for files that are not Python."""
    wrong = next((name for name in SEARCH_NAMES if given[name]), None)
    if wrong is not None:
        flag = {"params": "--param", "table": "--params", "pattern": "--parse", "mode": "--max and --min"}.get(wrong)
        raise UsageError(
            f"{flag or '--' + wrong.replace('_', '-')} is for batch scripts and .yaml files. {path} is Python: set it "
            f"there, or a value of its search space with --set NAME=VALUE."
        )


def _choose_ray(wanted: str) -> None:
    """Let a script that imports Ray have what was chosen, and say what that is."""
    from hpctune import ray

    if wanted == "hpctune":
        ray.install()
        click.echo("hpctune: 'import ray' is hpctune in this run (installed Ray: --ray installed).", err=True)
    else:
        click.echo("hpctune: 'import ray' is the Ray that is installed, which does not use Slurm's queue.", err=True)


def as_overrides(given: Mapping[str, Any]) -> Overrides:
    """The overrides that the options of a command line state."""
    from hpctune.launch.overrides import Overrides
    from hpctune.launch.resume import parse_resume

    slurm = slurm_fields(given)
    warn_without_effect(given["cluster"], slurm, given["hosts"])
    parse_resume(given["resume"])
    return Overrides(
        name=given["name"],
        storage_path=given["storage_path"],
        num_samples=_samples(given["num_samples"]),
        max_concurrent=given["max_concurrent"],
        time_budget_s=given["time_budget"],
        budget=given["budget"],
        max_checkpoints=given["max_checkpoints"],
        max_checkpoint_bytes=given["max_checkpoint_bytes"],
        cluster=given["cluster"],
        hosts=hosts_of(given),
        code=tuple(given.get("code") or ()),
        code_limit=given.get("code_limit"),
        slurm=slurm,
        resume=given["resume"],
        dry_run=given["dry_run"],
        config=given["config_values"],
        verbose=given["verbose"],
        cancel_on_exit=given["cancel_on_exit"],
        calls_per_minute=given["calls_per_minute"],
        driver_job=driver_job(given),
        workers=given["workers"],
        share_with_group=given["share_with_group"],
    )


def _samples(number: int | None) -> int | None:
    if number == 0:
        raise UsageError("--num-samples must be 1 or more, or -1 for endless; not 0.")
    return number


def _run(
    path: Path,
    code: CodeType,
    arguments: tuple[str, ...],
    wanted: Overrides,
    *,
    full_traceback: bool,
    must_define: bool,
) -> int:
    return run_watched(lambda driven: _execute(path, code, arguments, driven, full_traceback, must_define), wanted)


def _run_optuna(
    path: Path, code: CodeType, arguments: tuple[str, ...], wanted: Overrides, *, full_traceback: bool
) -> int:
    """Run a script whose studies are optimized by jobs."""
    from hpctune.interop.optuna.optimize import installed

    with installed() as optimizer:
        ended = _run(path, code, arguments, wanted, full_traceback=full_traceback, must_define=False)
    _tell_if_unused(path, "study.optimize(...)", optimizer.calls)
    return ended


def _run_keras_tuner(
    path: Path, code: CodeType, arguments: tuple[str, ...], wanted: Overrides, *, full_traceback: bool
) -> int:
    """Run a script whose tuners search by jobs."""
    from hpctune.interop.keras_tuner.search import installed

    with installed(path, decode_source(path.read_bytes()), list(arguments)) as searches:
        ended = _run(path, code, arguments, wanted, full_traceback=full_traceback, must_define=False)
    _tell_if_unused(path, "tuner.search(...)", searches.calls)
    return ended


def _tell_if_unused(path: Path, call: str, calls: int) -> None:
    if not calls:
        click.echo(f"hpctune: {path} has ended without a call of {call} in its own process.", err=True)


def run_watched(action: Callable[[list[DrivenExperiment]], int], wanted: Overrides) -> int:
    """Call ``action``, which runs experiments and is given the list of those that were driven. Returns the exit code,
    and tells what failed."""
    from hpctune.cli.outcome import exit_code, failure_words
    from hpctune.launch.driven import watched
    from hpctune.launch.overrides import use

    with use(wanted), watched() as driven:
        try:
            ended = action(driven)
        except TuneError as error:
            if not driven:
                raise
            names_failed_trials = len(error.args) == 2
            words = failure_words(driven) if names_failed_trials else ""
            click.echo(f"hpctune: error: {words or error}", err=True)
            return exit_code(driven) or exitcodes.FAILED
        words = failure_words(driven)
        if words:
            click.echo(f"hpctune: error: {words}", err=True)
    return exit_code(driven) or ended


def _execute(
    path: Path, code: CodeType, arguments: tuple[str, ...], driven: list[DrivenExperiment], full_traceback: bool,
    must_define: bool,
) -> int:  # fmt: skip
    """Run the file, then what it defines, unless it ran something itself. Returns the file's exit code.

    ``must_define``: a file that ran nothing and defines nothing is an error. A script for Ray may do other things.
    """
    from hpctune.cli.target import target

    try:
        module = load(path, code, arguments, full_traceback=full_traceback)
        defines = any(hasattr(module, name) for name in ("tuner", "experiment"))
        if not driven and (defines or must_define):
            execute(path, target(path, module), full_traceback=full_traceback)
    except SystemExit as error:
        if isinstance(error.code, str):
            click.echo(error.code, err=True)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return exitcodes.DONE
