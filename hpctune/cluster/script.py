"""The batch script of one job, written by submitit's SlurmExecutor around our own command.

Two shapes, chosen by ``SlurmOptions(use_srun=...)``, by default by the number of tasks:

- **step** (one task): ``exec srun ... python -u -m hpctune.worker ...``. At preemption Slurm sends SIGTERM to steps
  at once, when the grace time begins, and SIGUSR2 (``--signal=USR2@N``) goes to steps: the worker has the whole time
  for its checkpoint. srun is told the CPUs again, which it no longer takes from the job since Slurm 22.05.
- **batch** (several tasks): ``exec python ...`` in the batch shell, so that the user's own ``srun`` inside a trial may
  take all tasks of the job. With ``--signal=B:USR2@N`` the time limit is announced by SIGUSR2; at preemption only
  sites with ``PreemptParameters=send_user_signal`` announce it, others send SIGTERM at the end of the grace time.

``exec`` leaves no shell between Slurm and the worker that would keep signals to itself. In both shapes the worker runs
exactly once.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.cluster.command import shell_command
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.placement import Placement, place
from hpctune.model.jobs import JobRequest

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

_PLAIN = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "exclusive", "dependency", "mail_type")
_EXTRA = ("reservation", "nice", "priority", "licenses", "mail_user", "clusters")
_LONGEST_NAME = 128
_LONGEST_COMMENT = 1000


def script_text(request: JobRequest, options: SlurmOptions, folder: Path, defaults: Mapping[str, str]) -> str:
    """The batch script of ``request``.

    ``folder``: where scripts are kept. ``defaults``: options that hold where ``options`` say nothing. Raises
    NotYetSupportedError for resources that cannot be expressed.
    """
    placement = place(request.resources, options)
    step = placement.tasks == 1 if options.use_srun is None else options.use_srun
    executor = _executor(folder)
    executor.parameters = _parameters(request, options, placement, step, defaults)
    return executor._make_submission_file_text(_command(request, options, placement, step), "")


def _executor(folder: Path) -> SlurmExecutor:
    from submitit.slurm.slurm import SlurmExecutor

    class _Executor(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2  # scripts may be looked at where no Slurm is

    return _Executor(folder)


def _parameters(
    request: JobRequest, options: SlurmOptions, placement: Placement, step: bool, defaults: Mapping[str, str]
) -> dict[str, Any]:
    plain = {name: getattr(options, name) for name in _PLAIN}
    extra = {name: getattr(options, name) for name in _EXTRA}
    for name, value in defaults.items():
        chosen = plain if name in plain else extra
        chosen[name] = value if chosen[name] is None else chosen[name]
    if options.requeue is not None:
        extra["requeue" if options.requeue else "no-requeue"] = True
    extra |= {key.replace("_", "-"): value for key, value in placement.parameters().items()}
    extra |= dict(options.additional_parameters)
    extra |= {
        "output": _pattern(request.stdout),
        "error": _pattern(request.stderr),
        "signal": f"{'' if step else 'B:'}USR2@{_signal_delay_s(options)}",
    }
    limit = options.time_minutes
    return {
        **{name: _directive(value) for name, value in plain.items() if value not in (None, False)},
        "job_name": _directive(_one_line(options.job_name_prefix + request.name, _LONGEST_NAME)),
        "comment": _directive(_comment(request, options)),
        "time": limit if limit is not None or options.time is None else "UNLIMITED",
        "wckey": options.wckey,
        "nodes": placement.nodes,
        "setup": _setup(request, options),
        "use_srun": False,
        "additional_parameters": {k: _directive(v) for k, v in extra.items() if v is not None and v is not False},
    }


def _signal_delay_s(options: SlurmOptions) -> int:
    """As asked for, but a short job is not warned before it has had most of its time."""
    limit = options.time_minutes
    return options.signal_delay_s if limit is None else min(options.signal_delay_s, max(10, limit * 60 // 4))


def _command(request: JobRequest, options: SlurmOptions, placement: Placement, step: bool) -> str:
    command = shell_command(request.command, options.python, options.container)
    if not step:
        return f"exec {command}"
    flags = ["--unbuffered", "--export=ALL", "--ntasks=1", "--nodes=1", f"--cpus-per-task={placement.cpus_per_task}"]
    if _expressible(request.stdout) and _expressible(request.stderr):
        paths = [f"--output={_pattern(request.stdout)}", f"--error={_pattern(request.stderr)}"]
        flags += ["--open-mode=append", *paths]
    return " ".join(["exec srun", *(shlex.quote(f) for f in (*flags, *options.srun_args)), command])


def _setup(request: JobRequest, options: SlurmOptions) -> list[str]:
    """Lines run before the worker: output where sbatch cannot name the file, modules, the user's lines, variables."""
    lines = []
    if not (_expressible(request.stdout) and _expressible(request.stderr)):
        lines.append(f"exec >>{shlex.quote(str(request.stdout))} 2>>{shlex.quote(str(request.stderr))}")
    lines += [f"module load {shlex.quote(module)}" for module in options.modules]
    lines += options.setup
    lines += [f"export {k}={shlex.quote(v)}" for k, v in {**options.env, **request.env}.items()]
    lines.append('export HPCTUNE_JOB_ID="$SLURM_JOB_ID"')
    return lines


def _expressible(path: Path) -> bool:
    """Whether sbatch can name ``path``: it drops backslashes, and its directives end with the line."""
    return "\\" not in str(path) and str(path).isprintable()


def _pattern(path: Path) -> str:
    return str(path).replace("%", "%%") if _expressible(path) else "/dev/null"


def _directive(value: object) -> Any:
    """``value`` for an ``#SBATCH`` line, where sbatch takes a backslash for an escape even within quotes."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value


def _comment(request: JobRequest, options: SlurmOptions) -> str:
    own = _one_line(options.comment or "", _LONGEST_COMMENT)
    return f"{request.tag} {own}".strip()


def _one_line(text: str, longest: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:longest].strip()
