"""One sbatch call for each job: the script on disk while its job lives, and what the answer means."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from hpctune.cluster.commands import Answer, SlurmCommands
from hpctune.cluster.refusals import Refusal, refusal
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.model.jobs import Accepted, JobRequest, Refused, SubmitOutcome, Unanswered
from hpctune.storage import atomic

_PARSABLE = re.compile(r"^(\d+)(;\S+)?$", re.MULTILINE)
_SENTENCE = re.compile(r"Submitted batch job (\d+)")
_SAFE_ID = re.compile(r"\d+([_+]\d+)?")


def job_id_in(text: str) -> str | None:
    """The job's id in sbatch's output, in whichever form it comes: ``12``, ``12;cluster``, or the English sentence."""
    found = _SENTENCE.search(text) or _PARSABLE.search(text)
    return found[1] if found else None


def is_job_id(text: str) -> bool:
    """Whether ``text`` can be the id of a Slurm job."""
    return _SAFE_ID.fullmatch(text) is not None


def script_path(folder: Path, job_id: str) -> Path:
    """Where the script of a job lies (submitit's name for it)."""
    return folder / f"{job_id}_submission.sh"


class Submitter:
    """Submits scripts of one experiment. ``partitions`` names those that exist, for advice."""

    def __init__(self, commands: SlurmCommands, folder: Path, partitions: Callable[[], Sequence[str]]) -> None:
        self._commands, self._folder, self._partitions = commands, folder, partitions

    def submit(self, request: JobRequest, text: str) -> tuple[SubmitOutcome, Refusal | None]:
        """Submit ``text`` as the job of ``request``; the refusal is Slurm's own, None where Slurm was not asked."""
        try:
            draft = self._write(request, text)
        except (OSError, StorageError) as error:
            return Refused(f"The job's script cannot be written: {error}", permanent=False), None
        job_id = None
        try:
            answer = self._commands.run("submit", "sbatch", ["--parsable", str(draft)])
            job_id = job_id_in(answer.out)
        except ClusterUnavailableError as error:
            return Refused(str(error), permanent=False), None
        finally:
            with contextlib.suppress(OSError):
                draft.unlink() if job_id is None else draft.rename(script_path(self._folder, job_id))
        return self.outcome(answer, job_id)

    def test(self, request: JobRequest, text: str) -> Answer:
        """What sbatch would say to ``text``; no job is made.

        Raises ClusterUnavailableError when it cannot be asked, StorageError when the script cannot be written.
        """
        draft = self._write(request, text)
        try:
            return self._commands.run("query", "sbatch", ["--test-only", str(draft)])
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def outcome(self, answer: Answer, job_id: str | None) -> tuple[SubmitOutcome, Refusal | None]:
        """What ``answer`` means for the job."""
        if job_id is not None:
            return Accepted(job_id), None
        if answer.rc == 0:
            told = Refusal("unanswered", f"sbatch succeeded but named no job. It said: {answer.words or 'nothing'}")
        else:
            told = self.explain(answer)
        if told.meaning == "unanswered":
            return Unanswered(told.reason), told
        return Refused(told.reason, permanent=told.meaning == "permanent"), told

    def explain(self, answer: Answer) -> Refusal:
        """The meaning of an answer without a job, with advice."""
        return refusal(answer, self._partitions() if "partition" in answer.err.lower() else ())

    def _write(self, request: JobRequest, text: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in (request.stdout, request.stderr):
            path.parent.mkdir(parents=True, exist_ok=True)  # without its directory a job vanishes without a word
        draft = self._folder / f".{uuid.uuid4().hex}.sh"
        atomic.write(draft, text)
        return draft

    def remove(self, job_ids: Sequence[str]) -> None:
        """Remove the scripts of these jobs."""
        for job_id in filter(is_job_id, job_ids):
            with contextlib.suppress(OSError):
                script_path(self._folder, job_id).unlink()
