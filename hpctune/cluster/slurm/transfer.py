"""Jobs that transfer their files (``SlurmOptions(file_transfer=...)``): their scripts, their limits, their ends."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.placement import Placement
from hpctune.errors import NotYetSupportedError
from hpctune.file_transfer import ends
from hpctune.file_transfer.options import FileTransfer
from hpctune.model.jobs import JobRequest, JobState, JobStatus

_WORKER = ("-u", "-m", "hpctune.worker")
_MADE = "hpctune_job_dir"
"""The shell's variable that holds the job's own directory."""
_EXIT_CODE = re.compile(r"\bExitCode=(\d+):")
_NODE = re.compile(r"\bBatchHost=(\S+)")


def own_transfer(request: JobRequest, options: SlurmOptions) -> FileTransfer | None:
    """How the files of this job are transferred; None if it works in the experiment's directory itself."""
    return options.transfer if request.command[1:4] == _WORKER else None


def command(request: JobRequest, options: SlurmOptions) -> Sequence[str]:
    """What the job runs, in words."""
    transfer = own_transfer(request, options)
    if transfer is None:
        return request.command
    what = (*request.command[4:], str(request.stdout), str(request.stderr), f"{transfer.poll_s:g}")
    return (request.command[0], "-u", "-m", "hpctune.file_transfer", transfer.server, *what)


def own_directory(transfer: FileTransfer, job_id: str) -> list[str]:
    """Lines that make the job's own directory on the node, and write all output there. ``job_id``: as shell text."""
    place = transfer.directory.rstrip("/") or "/"
    make = f'set -u; umask 077; mkdir -p "{place}" && mktemp -d "{place}/{ends.STAGE_PREFIX}"{job_id}-XXXXXX'
    return [
        f"{_MADE}=$({make}) || exit {ends.NO_DIRECTORY}",
        f'exec >>"${_MADE}/stdout" 2>>"${_MADE}/stderr"',
        f'export {ends.STAGE_VARIABLE}="${_MADE}"',
    ]


def check_one_node(placements: Sequence[Placement], options: SlurmOptions) -> None:
    """Raise NotYetSupportedError if a job may get several nodes: they would not see each other's files."""
    if options.transfer is None:
        return
    if len(placements) > 1 or any(p.nodes != 1 and (p.tasks > 1 or p.nodes is not None) for p in placements):
        raise NotYetSupportedError(
            "file_transfer gives a trial a directory on one node, and this trial may get several. Ask for one: "
            "SlurmOptions(nodes=1), or PlacementGroupFactory(..., strategy='STRICT_PACK')."
        )


def explained(job: JobStatus, transfer: FileTransfer, shown: str) -> JobStatus:
    """A job that failed, in words. ``shown``: what ``scontrol show job`` says of it.

    If it could not transfer its files for too long, that counts as a failure of its node: the trial goes on elsewhere.
    """
    code, node = _EXIT_CODE.search(shown), _NODE.search(shown)
    if code is None or code[1] == "0":
        return job
    where = node[1] if node is not None else job.nodes or "its node"
    output = f"{where}:{transfer.directory}/{ends.STAGE_PREFIX}{job.job_id}-*/stderr"
    by_hand = f"srun -w {where} ssh -o BatchMode=yes {shlex.quote(transfer.server)} true"
    match int(code[1]):
        case ends.UNREACHABLE:
            reason = f"{where} could not transfer files to {transfer.server} for too long: see {output}"
            return replace(job, state=JobState.NODE_FAIL, reason=reason)
        case ends.REFUSED:
            reason = f"{transfer.server} did not let it in from {where}: see {output}, and try by hand: {by_hand}"
        case ends.NO_DIRECTORY:
            reason = f"{where} has no directory {transfer.directory} and cannot make it: FileTransfer(directory=...)"
        case _:
            reason = f"exit code {code[1]}; if its stderr is empty, see {output}"
    return replace(job, reason=reason)
