"""Runs Slurm's commands: counted, with a time limit, and without the variables of a surrounding job.

No other module runs them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpctune.cluster.environment import outside_any_job
from hpctune.cluster.slurm.call_budget import CallBudget, CallKind
from hpctune.errors import ClusterUnavailableError


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a command. ``rc`` None: it did not answer in time and was killed."""

    rc: int | None
    out: str
    err: str

    @property
    def words(self) -> str:
        """The error message (else the output), on one line."""
        return " ".join((self.err.strip() or self.out.strip()).split())


class SlurmCommands:
    """Runs ``sbatch``, ``squeue``, ``scancel`` and ``sinfo``. ``environ`` is called before each command."""

    def __init__(
        self,
        budget: CallBudget,
        timeout_s: float,
        clusters: str | None = None,
        environ: Callable[[], Mapping[str, str]] = lambda: os.environ,
    ) -> None:
        self.budget, self._timeout_s, self._environ = budget, timeout_s, environ
        self._where = [f"--clusters={clusters}"] if clusters else []

    def run(self, kind: CallKind, program: str, arguments: Sequence[str]) -> Answer:
        """Run one command, counted against the budget.

        Raises ClusterUnavailableError if the budget is spent or the program is not installed. Then nothing was run.
        """
        environ = outside_any_job(self._environ())
        path = shutil.which(program, path=environ.get("PATH"))
        if path is None:
            raise ClusterUnavailableError(
                f"The command {program!r} is not on PATH. Run hpctune on a node with Slurm's commands (a login node; "
                f"often 'module load slurm' is needed), or use --cluster local."
            )
        self.budget.spend(kind)
        if program in ("squeue", "sacct"):
            environ["SLURM_TIME_FORMAT"] = "%s"
        if program != "sbatch":  # sbatch passes its environment to the job
            environ["LC_ALL"] = "C"
        return _run([path, *self._where, *arguments], environ, self._timeout_s, program)

    def ask(self, program: str, arguments: Sequence[str]) -> str:
        """The output of a query. Raises ClusterUnavailableError, with Slurm's message, if it fails."""
        answer = self.run("query", program, arguments)
        if answer.rc == 0:
            return answer.out
        why = f"no answer within {self._timeout_s:g} s" if answer.rc is None else f"exit code {answer.rc}"
        raise ClusterUnavailableError(f"{program} failed ({why}): {answer.words or 'no message'}")


def _run(command: list[str], environ: dict[str, str], timeout_s: float, program: str) -> Answer:
    try:
        process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,  # a Ctrl-C for the driver must not interrupt a submission
        )
    except OSError as error:
        raise ClusterUnavailableError(f"Cannot run {program}: {error}.") from error
    with process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            return Answer(None, *_rest(process))
        except BaseException:
            _kill(process)
            raise
    return Answer(process.returncode, out, err)


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The output of a killed command. Does not wait for a child of it that holds the pipes open."""
    try:
        return process.communicate(timeout=1)
    except subprocess.TimeoutExpired:
        return "", ""


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
