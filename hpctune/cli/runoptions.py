"""The options of ``run`` and ``resume`` about jobs and the cluster, and their conversion to values of the API."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.decorators import FC
from click.shell_completion import CompletionItem

from hpctune.cli import profiles
from hpctune.cli.driveroptions import DRIVER_FIELDS, driver_options
from hpctune.cli.sshoptions import SSH_FIELDS
from hpctune.cli.values import budget_option, duration_option, names_option, size_option, space_pairs, text_pairs
from hpctune.cluster.names import NAMES, SSH_SHARED, valid_names

_SLURM_TEXTS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "partition": (("-p", "--partition"), "NAME", "Partition, or several with commas."),
    "account": (("-A", "--account"), "NAME", "Account to charge."),
    "qos": (("--qos",), "NAME", "Quality of service."),
    "constraint": (("--constraint", "-C"), "FEATURES", "Features that nodes must have."),
    "time": (("-t", "--time"), "TIME", "Time limit of a job: minutes, 2h30m, HH:MM:SS or D-HH:MM:SS; 0: none."),
    "mem": (("--mem",), "SIZE", "Memory per node, for trials that request none: 16G."),
    "mem_per_cpu": (("--mem-per-cpu",), "SIZE", "The same per CPU."),
    "mem_per_gpu": (("--mem-per-gpu",), "SIZE", "The same per GPU."),
    "gres": (("--gres",), "LIST", "Generic resources: gpu:a100:2."),
    "gpu_type": (("--gpu-type",), "TYPE", "Type of the GPUs that trials request: a100."),
    "exclude": (("--exclude", "-x"), "NODES", "Nodes not to use."),
    "nodelist": (("--nodelist", "-w"), "NODES", "Nodes to use."),
    "mail_type": (("--mail-type",), "TYPES", "When Slurm sends mail: FAIL, END, ..."),
    "mail_user": (("--mail-user",), "ADDRESS", "Where it sends mail."),
    "comment": (("--comment",), "TEXT", "Text for the jobs' comment."),
    "python": (("--python",), "COMMAND", "Interpreter of the jobs. Default: this one."),
    "container": (("--container",), "COMMAND", "Command that runs the worker: 'apptainer exec --nv image.sif'."),
    "file_transfer": (
        ("--file-transfer",),
        "HOST:DIRECTORY",
        "Nodes do not see the experiment: jobs copy files by SFTP from HOST to DIRECTORY: 'login1:/scratch/$USER'.",
    ),
}
_SLURM_NUMBERS: dict[str, tuple[tuple[str, ...], str]] = {
    "nodes": (("-N", "--nodes"), "Nodes per trial."),
    "ntasks": (("-n", "--ntasks"), "Tasks per trial."),
    "ntasks_per_node": (("--ntasks-per-node",), "Tasks per node."),
    "cpus_per_task": (("-c", "--cpus-per-task"), "CPUs per task."),
    "cpus_per_gpu": (("--cpus-per-gpu",), "CPUs per GPU."),
    "gpus_per_node": (("--gpus-per-node",), "GPUs per node."),
    "gpus_per_task": (("--gpus-per-task",), "GPUs per task."),
}
_SLURM_LISTS: dict[str, tuple[str, str, str]] = {
    "setup": ("--setup", "LINE", "Shell line to run in each job first; repeatable."),
    "modules": ("--module", "NAME", "Environment module to load in each job; repeatable."),
    "srun_args": ("--srun-arg", "ARG", "Argument for srun; repeatable."),
}
SLURM_FIELDS = frozenset({*_SLURM_TEXTS, *_SLURM_NUMBERS, *_SLURM_LISTS, "sbatch_args"})
"""Names of the parameters about Slurm jobs."""


def _slurm_options() -> list[Callable[[FC], FC]]:
    made: list[Callable[[FC], FC]] = []
    for name, (flags, metavar, text) in _SLURM_TEXTS.items():
        made.append(click.option(*flags, name, metavar=metavar, help=text))
    for name, (flags, text) in _SLURM_NUMBERS.items():
        made.append(click.option(*flags, name, type=click.IntRange(min=1), metavar="N", help=text))
    for name, (flag, metavar, text) in _SLURM_LISTS.items():
        made.append(click.option(flag, name, multiple=True, metavar=metavar, help=text))
    more = "Any other sbatch option, such as switches=1, or hold, which has no value; repeatable."
    made.append(
        click.option(
            "--sbatch-arg", "sbatch_args", multiple=True, callback=text_pairs, metavar="KEY[=VALUE]", help=more
        )
    )
    return made


def cluster_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A built-in cluster, or one from a plug-in. Plug-ins are searched only for a name that is not built in."""
    if value is None or value in NAMES or value in (names := valid_names()):
        return value
    raise click.BadParameter(f"{value!r} is not one of {', '.join(map(repr, names))}.", ctx, param)


_COMMON: list[Callable[[Any], Any]] = [
    click.option(
        "--profile",
        is_eager=True,
        expose_value=False,
        callback=profiles.use,
        envvar="HPCTUNE_PROFILE",
        metavar="NAME",
        help="Options for jobs from ~/.config/hpctune/config.toml; hpctune doctor --profile NAME writes one.",
    ),
    click.option(
        "--set",
        "config_values",
        multiple=True,
        callback=space_pairs,
        metavar="KEY=VALUE",
        help="Replace a part of the search space: a value (lr=0.1, model.layers=[1,2]), a grid (lr=0.1,1), or a domain "
        "(lr=log:1e-4..1, 'lr=loguniform(1e-4, 1)'); repeatable.",
    ),
    click.option(
        "--cluster",
        callback=cluster_option,
        metavar=f"[{'|'.join(NAMES)}]",
        shell_complete=lambda ctx, param, typed: [CompletionItem(name) for name in NAMES if name.startswith(typed)],
        help="Where trials run; auto: Slurm if installed, else this machine; ssh: the machines of --hosts; debug: in "
        "this process.",
    ),
    click.option(
        "--hosts",
        callback=names_option,
        metavar="HOST,...",
        help="Machines that run the trials, reached by ssh, without Slurm and without a common directory: ws1,ann@ws2.",
    ),
    click.option(
        "--make-env",
        is_flag=True,
        help="Make an environment on the machines of --hosts, once, by the project's requirements; --wheels holds.",
    ),
    click.option(
        "--num-samples", type=click.IntRange(min=-1), metavar="N", help="Total number of samples; -1: endless."
    ),
    click.option(
        "--max-concurrent", type=click.IntRange(min=0), metavar="N", help="Maximum number of trials with a job."
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), metavar="N", help="Number of worker jobs; each runs many trials."
    ),
    click.option(
        "--time-budget", callback=duration_option, metavar="TIME", help="End after this time: 3600, 2h30m, 1-12:00:00."
    ),
    click.option(
        "--budget",
        callback=budget_option,
        metavar="HOURS",
        help="Hours that jobs may hold: 200gpuh, 5000cpuh, 40nodeh, 1000billing; no trial starts that could pass it.",
    ),
    click.option(
        "--max-checkpoints",
        type=click.IntRange(min=1),
        metavar="N",
        help="Maximum number of checkpoints of all trials; those needed least are removed.",
    ),
    click.option(
        "--max-checkpoint-bytes",
        callback=size_option,
        metavar="SIZE",
        help="Maximum size of the checkpoints of all trials: 500GB; those needed least are removed.",
    ),
    click.option("--cancel-on-exit", is_flag=True, help="Cancel the jobs on an early exit; a resume continues them."),
    click.option(
        "--calls-per-minute", type=click.IntRange(min=6), metavar="N", help="Maximum number of Slurm commands."
    ),
    click.option("-v", "--verbose", type=click.IntRange(0, 3), metavar="0-3", help="0: quiet ... 3: everything."),
]


class RunCommand(click.Command):
    """A command whose help lists the options of Slurm jobs, of the driver job, and of ssh in their own sections."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """An unknown option may be meant for the script: then the error says how it gets it."""
        script = next((word for word in args if Path(word).suffix and Path(word).is_file()), None)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if script is None:
                raise
            command = shlex.join([*ctx.command_path.split(), script, "--", error.option_name])
            raise click.NoSuchOption(
                error.option_name,
                f"{error.message} Arguments of {script} itself come after --: {command}",
                error.possibilities,
                ctx,
            ) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Several sections instead of one."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        records = [(_section(o), r) for o in options if (r := o.get_help_record(ctx))]
        for title in ("Options", *_SECTIONS.values()):
            own = [record for section, record in records if section == title]
            if own:
                with formatter.section(title):
                    formatter.write_dl(own)


_SECTIONS = {
    SLURM_FIELDS: "Options of Slurm jobs",
    DRIVER_FIELDS: "Options of the driver as a Slurm job",
    SSH_FIELDS | {"on"}: "Options of a cluster that is reached over ssh",
}


def _section(option: click.Option) -> str:
    return next((title for names, title in _SECTIONS.items() if option.name in names), "Options")


EXIT_CODES = "Exit codes: 0 done, 1 trials failed, 2 bad input, 3 left early (jobs go on), 130 a second Ctrl-C."


RESUME_HELP = (
    "Continue the experiment of this name. MODE: LOCAL (the default: there must be one), AUTO (if there is one), "
    "ERRORED_ONLY; LOCAL and AUTO with +ERRORED, +RESTART_ERRORED, +ERRORED_ONLY or +RESTART_ERRORED_ONLY."
)
_EXPERIMENT: list[Callable[[Any], Any]] = [
    click.option(
        "--name", help="Name of the experiment, and of its directory. Default: made of what runs, and the date."
    ),
    click.option("--storage-path", metavar="DIR", help="Directory of the experiments, on the shared filesystem."),
    click.option("--resume", is_flag=False, flag_value="LOCAL", metavar="[MODE]", help=RESUME_HELP),
    click.option("--share-with-group", is_flag=True, help="Let the directory's group read the experiment."),
    click.option("--dry-run", is_flag=True, help="Only show what would run and be submitted."),
]


def experiment_options(function: FC) -> FC:
    """Add the options about the experiment that the commands share which begin one."""
    for option in reversed(_EXPERIMENT):
        function = option(function)
    return function


def run_options(function: FC) -> FC:
    """Add the options that ``run`` and ``resume`` share."""
    for option in reversed([*_COMMON, *_slurm_options(), *driver_options()]):
        function = option(function)
    return function


def slurm_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``given`` that are fields of SlurmOptions, checked. Raises UsageError for invalid values."""
    fields = {n: given[n] for n in (*_SLURM_TEXTS, *_SLURM_NUMBERS) if given.get(n) is not None}
    fields |= {n: list(given[n]) for n in _SLURM_LISTS if given.get(n)}
    if given.get("sbatch_args"):
        fields["additional_parameters"] = dict(given["sbatch_args"])
    if fields:
        from hpctune.cluster.options import SlurmOptions

        SlurmOptions.from_mapping(fields)
    return fields


def warn_without_effect(cluster: str | None, slurm: Mapping[str, Any], hosts: Sequence[str] = ()) -> None:
    """Warn if Slurm options were given for a cluster that is not Slurm. ``hosts``: those of ``--hosts``."""
    cluster = "ssh" if hosts else cluster
    useless = [name for name in slurm if cluster != "ssh" or name not in SSH_SHARED]
    if useless and cluster in ("local", "ssh", "debug"):
        click.echo(f"No effect on the cluster '{cluster}': {', '.join(flags_of(useless))}.", err=True)


def flags_of(fields: Sequence[str]) -> list[str]:
    """The flags that set these fields of SlurmOptions."""
    flags = {n: next(f for f in flags if f.startswith("--")) for n, (flags, *_) in _SLURM_TEXTS.items()}
    flags |= {n: next(f for f in flags if f.startswith("--")) for n, (flags, _) in _SLURM_NUMBERS.items()}
    flags |= {n: flag for n, (flag, *_) in _SLURM_LISTS.items()} | {"additional_parameters": "--sbatch-arg"}
    return [flags[f] for f in fields]
