"""The arguments of squeue, and a parser of its answer. Pure.

Every record starts with a control character that nothing else in an answer contains, and the comment is last. So
names, reasons and comments may contain anything, even line breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from hpctune.cluster.slurm.arrays import ArrayTag
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobState, JobStatus

_RECORD, _FIELD = "\x1e", "\x1f"
_COLUMNS = ("%i", "%T", "%r", "%N", "%e", "%k")
_ENDS = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})

STATES = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETING": JobState.COMPLETING,
    "STAGE_OUT": JobState.COMPLETING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "LAUNCH_FAILED": JobState.FAILED,
    "RECONFIG_FAIL": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "PREEMPTED": JobState.PREEMPTED,
}
"""Slurm's job states. REVOKED (the job goes on at a sibling cluster) and states that are not listed become UNKNOWN,
from which nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Record:
    """One job in squeue's answer. ``ends_at``: when its time limit ends it (Unix seconds); None if it does not run."""

    job_id: str
    state: JobState
    reason: str
    nodes: str
    ends_at: float | None
    comment: str

    @property
    def label(self) -> str:
        """The first word of the comment, which says whose job it is; a user's own words may follow it."""
        words = self.comment.split(None, 1)
        return words[0] if words else ""


def arguments(uid: int, *, ended: bool = True) -> list[str]:
    """Arguments of one squeue call for all jobs of user ``uid``, with those that ``ended`` lately or without."""
    states = ["--states=all"] if ended else []
    return ["--noheader", "--array", *states, f"--user={uid}", f"--format={_RECORD}{_FIELD.join(_COLUMNS)}"]


def records(text: str) -> Iterator[Record]:
    """The jobs in squeue's output. Raises ValueError for text that is not squeue's."""
    head, *parts = text.split(_RECORD)
    if not parts and head.strip() and not head.startswith("CLUSTER:"):
        raise ValueError(f"squeue's answer cannot be parsed: {head[:200]!r}")
    for part in parts:
        values = part.split(_FIELD, len(_COLUMNS) - 1)
        if len(values) != len(_COLUMNS):
            raise ValueError(f"a record of squeue's answer cannot be parsed: {part[:200]!r}")
        job_id, word, reason, nodes, end, comment = values
        found = state(word)
        ends_at = _time(end) if found in _ENDS else None
        yield Record(leader(job_id.strip()), found, "" if reason == "None" else reason, nodes, ends_at, comment)


def leader(job_id: str) -> str:
    """The id of a job of which ``job_id`` may be a part: those of a heterogeneous job are ``12+0``, ``12+1``."""
    return job_id.partition("+")[0]


Element = Callable[[str, str, bool], Tag | None]
"""Takes the key of an array, an element's job id, and whether the element is over. Returns its tag, or None."""


def parse(text: str, experiment_id: str, element: Element = lambda key, job_id, over: None) -> list[JobStatus]:
    """The jobs of ``experiment_id`` in squeue's output. ``element`` returns the tags of array elements.

    Raises ValueError for text that is not squeue's, and whatever ``element`` raises.
    """
    return list(_statuses(text, experiment_id, element))


def state(word: str) -> JobState:
    """The state for Slurm's ``word``, perhaps with an addition (``CANCELLED by 0``)."""
    first = word.replace("+", " ").split()
    return STATES.get(first[0].upper(), JobState.UNKNOWN) if first else JobState.UNKNOWN


def _statuses(text: str, experiment_id: str, element: Element) -> Iterator[JobStatus]:
    for job in records(text):
        tag = Tag.parse(job.label)
        if tag is None and (array := ArrayTag.parse(job.label)) is not None and array.experiment_id == experiment_id:
            tag = element(array.key, job.job_id, job.state.final)
        if tag is not None and tag.experiment_id == experiment_id:
            yield JobStatus(job.job_id, tag, job.state, job.reason, job.nodes, job.ends_at)


def _time(text: str) -> float | None:
    text = text.strip()
    if text.isdigit():
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
