"""The batch script of a job or an array, written by submitit's SlurmExecutor around hpctune's own command.

There are two shapes. ``SlurmOptions(use_srun=...)`` chooses; by default the number of tasks does:

- **step** (one task): ``exec srun ... python -u -m hpctune.worker ...``. At preemption Slurm sends SIGTERM to steps
  immediately, when the grace time begins, and SIGUSR2 (``--signal=USR2@N``) goes to steps. So the worker has the whole
  time for its checkpoint. srun gets the number of CPUs again: since Slurm 22.05 it does not take it from the job.
- **batch** (several tasks): ``exec python ...`` in the batch shell, so that the user's own ``srun`` inside a trial can
  use all tasks of the job. With ``--signal=B:USR2@N``, SIGUSR2 announces the time limit. Preemption is announced only
  at sites with ``PreemptParameters=send_user_signal``; others send SIGTERM at the end of the grace time.

``exec`` leaves no shell between Slurm and the worker, because a shell would not pass signals on. In both shapes the
worker runs exactly once.

A job array has one script: each element takes its output, variables and command from its branch of a ``case``.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.cluster.command import shell_command
from hpctune.cluster.containers import Container
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm import transfer
from hpctune.cluster.slurm.arrays import ArrayTag, list_line
from hpctune.cluster.slurm.placement import Placement, place, places
from hpctune.errors import NotYetSupportedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest
from hpctune.worker.job import CONTAINER_VARIABLE

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

_PLAIN = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "exclusive", "dependency", "mail_type")
_EXTRA = ("reservation", "nice", "priority", "licenses", "mail_user", "clusters")
_OF_THE_FIRST_PART = tuple(f"#SBATCH --{name}" for name in ("output", "error", "open-mode", "signal", "array"))
PART = "hpctune-part"
"""The beginning of the comment of a part of a heterogeneous job that is not the first."""
_MAX_NAME = 128
_MAX_COMMENT = 1000


def script_text(request: JobRequest, options: SlurmOptions, folder: Path) -> str:
    """The batch script of ``request``.

    ``folder``: the directory of the scripts. Raises NotYetSupportedError for resources that sbatch cannot express.
    """
    placement, *others = parts = places(request.resources, options)
    transfer.check_one_node(parts, options)
    step = not others and _is_step(placement, options)
    executor = _executor(folder)
    executor.parameters = _parameters(request, options, placement, step)
    executor.parameters["setup"] = [
        _began(_OWN_ID),
        *_output(request, options),
        *_setup(options, request.env, _storage(folder, options)),
        f"export HPCTUNE_JOB_ID={_OWN_ID}",
    ]
    text = executor._make_submission_file_text(
        _command(request, options, placement, step, _storage(folder, options)), ""
    )
    return _with_parts(text, [_part(request, options, other, folder) for other in others])


def _part(request: JobRequest, options: SlurmOptions, placement: Placement, folder: Path) -> list[str]:
    """The directives of one more part of a heterogeneous job. Only the first has the output and the tag."""
    executor = _executor(folder)
    executor.parameters = _parameters(request, options, placement, step=False)
    executor.parameters["comment"] = f"{PART}:{request.tag.experiment_id}"
    directives = [line for line in executor._make_submission_file_text("", "").splitlines() if _is_directive(line)]
    return [line for line in directives if not line.startswith(_OF_THE_FIRST_PART)]


def _with_parts(text: str, parts: Sequence[Sequence[str]]) -> str:
    """A script with the directives of more parts behind its own."""
    lines = text.splitlines()
    last = max(number for number, line in enumerate(lines) if _is_directive(line))
    more = [line for part in parts for line in ("#SBATCH hetjob", *part)]
    return "\n".join([*lines[: last + 1], *more, *lines[last + 1 :]]) + "\n" if more else text


def _is_directive(line: str) -> bool:
    return line.startswith("#SBATCH ")


def array_text(requests: Sequence[JobRequest], key: str, options: SlurmOptions, folder: Path) -> str:
    """The batch script of the array named ``key``, whose elements are ``requests``. All of them ask for the same.

    Each element has its own output, variables and command. Raises as :func:`script_text` does.
    """
    first = requests[0]
    placement = place(first.resources, options)
    transfer.check_one_node([placement], options)
    step = _is_step(placement, options)
    executor = _executor(folder)
    executor.parameters = _parameters(first, options, placement, step)
    executor.parameters["job_name"] = _job_name(_common_name([r.name for r in requests]), options)
    executor.parameters["comment"] = _comment(ArrayTag(first.tag.experiment_id, key), options)
    own = {"array": f"0-{len(requests) - 1}", "output": "/dev/null", "error": "/dev/null"}
    executor.parameters["additional_parameters"] |= own
    cases = [
        line
        for i, r in enumerate(requests)
        for line in _case(i, r, options, _command(r, options, placement, step, _storage(folder, options)))
    ]
    choice = ['case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac"]
    executor.parameters["setup"] = [
        list_line(key, requests),
        _began(_ELEMENT_ID),
        *_own_directory(first, options, _ELEMENT_ID),
        *choice,
        *_setup(options, {}, _storage(folder, options)),
        f"export HPCTUNE_JOB_ID={_ELEMENT_ID}",
    ]
    return executor._make_submission_file_text("hpctune_element", "")


_OWN_ID = '"$SLURM_JOB_ID"'
_ELEMENT_ID = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'


def _began(job_id: str) -> str:
    """A line that tells the worker when its job began. Bash before version 5 leaves the time empty."""
    return f'export HPCTUNE_JOB_BEGAN={job_id}" $EPOCHREALTIME"'


def _case(index: int, request: JobRequest, options: SlurmOptions, command: str) -> list[str]:
    output = [] if transfer.own_transfer(request, options) else [_redirection(request)]
    return [f"{index})", *output, "hpctune_element() {", *_exports(request.env), command, "}", ";;"]


def _common_name(names: Sequence[str]) -> str:
    """The common beginning of all names, not cut inside a number."""
    low, high = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:same].rstrip("0123456789").rstrip("_- ") or low


def _is_step(placement: Placement, options: SlurmOptions) -> bool:
    return placement.tasks == 1 if options.use_srun is None else options.use_srun


def _executor(folder: Path) -> SlurmExecutor:
    from submitit.slurm.slurm import SlurmExecutor

    class _Executor(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2  # so that a script can be shown on a machine without Slurm

    return _Executor(folder)


def _parameters(request: JobRequest, options: SlurmOptions, placement: Placement, step: bool) -> dict[str, Any]:
    plain = {name: getattr(options, name) for name in _PLAIN}
    extra = {name: getattr(options, name) for name in _EXTRA}
    if options.requeue is not None:
        extra["requeue" if options.requeue else "no-requeue"] = True
    extra |= {key.replace("_", "-"): value for key, value in placement.parameters().items()}
    extra |= dict(options.additional_parameters)
    there = transfer.own_transfer(request, options) is None
    extra |= {
        "output": _pattern(request.stdout) if there else os.devnull,
        "error": _pattern(request.stderr) if there else os.devnull,
        "signal": f"{'' if step else 'B:'}USR2@{signal_delay_s(options, request.minutes)}",
    }
    limit = options.time_minutes if request.minutes is None else request.minutes
    if limit is not None:
        limit = math.ceil(limit * request.resources.time_factor)
    if request.avoid:
        plain["exclude"] = ",".join((*([plain["exclude"]] if plain["exclude"] else []), *request.avoid))
    return {
        **{name: _directive(value) for name, value in plain.items() if value not in (None, False)},
        "job_name": _job_name(request.name, options),
        "comment": _comment(request.tag, options),
        "time": "UNLIMITED" if limit is None and options.unlimited else limit,
        "wckey": options.wckey,
        "nodes": placement.nodes,
        "use_srun": False,
        "additional_parameters": {k: _directive(v) for k, v in extra.items() if v is not None and v is not False},
    }


def signal_delay_s(options: SlurmOptions, chosen_minutes: int | None = None) -> int:
    """Seconds before the time limit at which the worker is warned; in a short job at most a quarter of its time.

    ``chosen_minutes``: the time limit, if it is not that of the options.
    """
    limit = options.time_minutes if chosen_minutes is None else chosen_minutes
    return options.signal_delay_s if limit is None else min(options.signal_delay_s, max(10, limit * 60 // 4))


def _command(request: JobRequest, options: SlurmOptions, placement: Placement, step: bool, storage: Path) -> str:
    command = shell_command(transfer.command(request, options), *_inside(options, storage))
    container = options.container
    entering = container.srun_flags(storage) if isinstance(container, Container) else []
    if not step:
        if entering:
            raise NotYetSupportedError(
                "Pyxis containers serve trials of one task. For trials of several tasks: SlurmOptions(container="
                "Apptainer(image=...))."
            )
        return f"exec {command}"
    flags = ["--unbuffered", "--export=ALL", "--ntasks=1", "--nodes=1", f"--cpus-per-task={placement.cpus_per_task}"]
    if not _output(request, options):
        paths = [f"--output={_pattern(request.stdout)}", f"--error={_pattern(request.stderr)}"]
        flags += ["--open-mode=append", *paths]
    return " ".join(["exec srun", *(shlex.quote(f) for f in (*flags, *entering, *options.srun_args)), command])


def _output(request: JobRequest, options: SlurmOptions) -> list[str]:
    """A redirection of the output, if sbatch cannot name the file: on some nodes it is not there."""
    if own := _own_directory(request, options, _OWN_ID):
        return own
    return [] if _expressible(request.stdout) and _expressible(request.stderr) else [_redirection(request)]


def _own_directory(request: JobRequest, options: SlurmOptions, job_id: str) -> list[str]:
    """Lines that make the directory of a job that transfers its files."""
    own = transfer.own_transfer(request, options)
    return [] if own is None else transfer.own_directory(own, job_id)


def _redirection(request: JobRequest) -> str:
    return f"exec >>{shlex.quote(str(request.stdout))} 2>>{shlex.quote(str(request.stderr))}"


def _setup(options: SlurmOptions, env: Mapping[str, str], storage: Path) -> list[str]:
    """Lines that run before the worker: modules, the user's lines, variables."""
    modules = [f"module load {shlex.quote(module)}" for module in options.modules]
    entering = _inside(options, storage)[1]
    container = {} if entering is None else {CONTAINER_VARIABLE: entering}
    return [*modules, *options.setup, *_exports({**options.env, **container, **env})]


def _storage(folder: Path, options: SlurmOptions) -> Path:
    """The directory that jobs work in: that of all experiments, or one of the node. ``folder``: the directory of an
    experiment's scripts."""
    return folder.parent.parent if options.transfer is None else Path(options.transfer.directory)


def _inside(options: SlurmOptions, storage: Path) -> tuple[str | None, str | None]:
    """The interpreter, and what enters the container, as shell text."""
    container = options.container
    if isinstance(container, Container):
        return options.python or container.python, container.command(storage, options.env)
    return options.python, None if container is None else str(container)


def _exports(env: Mapping[str, str]) -> list[str]:
    return [f"export {k}={shlex.quote(v)}" for k, v in env.items()]


def _expressible(path: Path) -> bool:
    """Whether sbatch can name ``path``: it drops backslashes, and a directive ends at the end of its line."""
    return "\\" not in str(path) and str(path).isprintable()


def _pattern(path: Path) -> str:
    return str(path).replace("%", "%%") if _expressible(path) else "/dev/null"


def _directive(value: object) -> Any:
    """``value`` for an ``#SBATCH`` line. There sbatch reads a backslash as an escape, even within quotes."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value


def _job_name(name: str, options: SlurmOptions) -> Any:
    return _directive(_one_line(options.job_name_prefix + name, _MAX_NAME))


def _comment(tag: Tag | ArrayTag, options: SlurmOptions) -> Any:
    own = _one_line(options.comment or "", _MAX_COMMENT)
    return _directive(f"{tag} {own}".strip())


def _one_line(text: str, max_chars: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:max_chars].strip()
