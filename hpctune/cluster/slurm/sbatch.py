"""Submits a job or an array with one sbatch call, keeps its script on disk while it lives, and reads the answer."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from hpctune.cluster.slurm.arrays import SCRIPT, base_id, draft_path, script_path
from hpctune.cluster.slurm.commands import Answer, SlurmCommands
from hpctune.cluster.slurm.sbatch_errors import Refusal, refusal
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.model.jobs import Accepted, JobRequest, Refused, SubmitOutcome, Unanswered
from hpctune.storage import atomic, permissions

_PARSABLE = re.compile(r"^(\d+)(;\S+)?$", re.MULTILINE)
_SENTENCE = re.compile(r"Submitted batch job (\d+)")
_SAFE_ID = re.compile(r"\d+([_+]\d+)?")


def job_id_in(text: str) -> str | None:
    """The job's id in sbatch's output, in any of its forms: ``12``, ``12;cluster``, or the English sentence."""
    found = _SENTENCE.search(text) or _PARSABLE.search(text)
    return found[1] if found else None


def is_job_id(text: str) -> bool:
    """Whether ``text`` can be the id of a Slurm job."""
    return _SAFE_ID.fullmatch(text) is not None


class Submitter:
    """Submits scripts of one experiment. ``partitions`` returns the existing ones, for advice in messages."""

    def __init__(self, commands: SlurmCommands, folder: Path, partitions: Callable[[], Sequence[str]]) -> None:
        self._commands, self._folder, self._partitions = commands, folder, partitions

    def submit(
        self, requests: Sequence[JobRequest], text: str, key: str | None = None
    ) -> tuple[SubmitOutcome, Refusal | None]:
        """Submit the script ``text``: one job, or an array named ``key`` with an element for each of ``requests``.

        The second value is Slurm's refusal; None if there was none or Slurm was not asked. If an array's submission got
        no answer, its script is kept.
        """
        try:
            draft = self._write(requests, text, key)
        except (OSError, StorageError) as error:
            return Refused(f"The job's script cannot be written: {error}", permanent=False), None
        outcome: SubmitOutcome = Unanswered("interrupted")
        try:
            answer = self._commands.run("submit", "sbatch", ["--parsable", str(draft)])
            outcome, told = self.outcome(answer, job_id_in(answer.out))
        except ClusterUnavailableError as error:
            outcome, told = Refused(str(error), permanent=False), None
        finally:
            with contextlib.suppress(OSError):
                if isinstance(outcome, Accepted):
                    draft.rename(script_path(self._folder, outcome.job_id))
                elif key is None or isinstance(outcome, Refused):
                    draft.unlink()
        return outcome, told

    def test(self, text: str) -> Answer:
        """The answer of ``sbatch --test-only`` to ``text``. Creates no job and no file in the experiment's directory.

        Raises ClusterUnavailableError if sbatch cannot be run, StorageError if the script cannot be written.
        """
        try:
            with tempfile.NamedTemporaryFile("w", prefix="hpctune-", suffix=".sh") as draft:
                draft.write(text)
                draft.flush()
                return self._commands.run("query", "sbatch", ["--test-only", draft.name])
        except OSError as error:
            raise StorageError(f"Cannot write a script: {error}") from error

    def outcome(self, answer: Answer, job_id: str | None) -> tuple[SubmitOutcome, Refusal | None]:
        """The outcome of a submission that ``answer`` stands for."""
        if job_id is not None:
            return Accepted(job_id), None
        if answer.rc == 0:
            told = Refusal("unanswered", f"sbatch succeeded but printed no job id: {answer.words or 'no output'}")
        else:
            told = self.explain(answer)
        if told.meaning == "unanswered":
            return Unanswered(told.reason), told
        return Refused(told.reason, permanent=told.meaning == "permanent"), told

    def explain(self, answer: Answer) -> Refusal:
        """The meaning of an answer that names no job, with advice."""
        return refusal(answer, self._partitions() if "partition" in answer.err.lower() else ())

    def _write(self, requests: Sequence[JobRequest], text: str, key: str | None) -> Path:
        permissions.make_directory(self._folder, exist_ok=True)
        for path in (path for request in requests for path in (request.stdout, request.stderr)):
            # Slurm ends a job without any message if the directory of its output is missing.
            permissions.make_directory(path.parent, exist_ok=True)
            if permissions.shared(path.parent):
                os.close(permissions.open_to_append(path))  # if Slurm created it, the umask would decide its mode
        draft = self._folder / f".{uuid.uuid4().hex}.sh" if key is None else draft_path(self._folder, key)
        atomic.write(draft, text)
        return draft

    def remove(self, job_ids: Sequence[str]) -> None:
        """Remove the scripts of these jobs, and the drafts left by drivers that died during a submission."""
        own = [job_id for job_id in job_ids if is_job_id(job_id) and job_id == base_id(job_id)]
        with contextlib.suppress(OSError):
            for path in (*self._folder.glob(".*.sh"), *(script_path(self._folder, job_id) for job_id in own)):
                path.unlink(missing_ok=True)

    def remove_others(self, needed: Collection[str]) -> None:
        """Remove the scripts of all jobs except ``needed``. The elements of an array share one script."""
        needed = {*needed, *(job_id.partition("_")[0] for job_id in needed)}
        with contextlib.suppress(OSError):
            for path in list(self._folder.glob(f"*{SCRIPT}")):
                if path.name.removesuffix(SCRIPT) not in needed:
                    path.unlink(missing_ok=True)
