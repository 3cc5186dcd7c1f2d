"""What squeue is asked and what its answer means. Pure.

The comment is last and every record starts with a control character that no answer contains otherwise, so that names,
reasons and comments may hold anything, line breaks included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
"""Every word of Slurm that says where a job stands. REVOKED (it goes on at a sibling cluster) and words not listed
are UNKNOWN, from which nothing follows."""


def arguments(uid: int) -> list[str]:
    """Arguments of the one squeue call: all jobs of user ``uid``, those that ended lately included."""
    return ["--noheader", "--array", "--states=all", f"--user={uid}", f"--format={_RECORD}{_FIELD.join(_COLUMNS)}"]


Element = Callable[[str, str, bool], Tag | None]
"""From the key of an array, an element's job id, and whether it is over: its tag, or None where it is nobody's."""


def parse(text: str, experiment_id: str, element: Element = lambda key, job_id, over: None) -> list[JobStatus]:
    """The jobs of ``experiment_id`` in squeue's output; ``element`` tells the elements of arrays apart.

    Raises ValueError for text that is not squeue's, and what ``element`` raises.
    """
    return list(_statuses(text, experiment_id, element))


def state(word: str) -> JobState:
    """The state that ``word`` (perhaps with flags, as ``CANCELLED by 0``) stands for."""
    first = word.replace("+", " ").split()
    return STATES.get(first[0].upper(), JobState.UNKNOWN) if first else JobState.UNKNOWN


def _statuses(text: str, experiment_id: str, element: Element) -> Iterator[JobStatus]:
    head, *records = text.split(_RECORD)
    if not records and head.strip() and not head.startswith("CLUSTER:"):
        raise ValueError(f"squeue gave an answer that is not understood: {head[:200]!r}")
    for record in records:
        parts = record.split(_FIELD, len(_COLUMNS) - 1)
        if len(parts) != len(_COLUMNS):
            raise ValueError(f"squeue gave a record that is not understood: {record[:200]!r}")
        job_id, word, reason, nodes, end, comment = parts
        found, tag = state(word), tag_of(comment)
        if tag is None and (array := _array(comment)) is not None and array.experiment_id == experiment_id:
            tag = element(array.key, job_id.strip(), found.final)
        if tag is not None and tag.experiment_id == experiment_id:
            reason = "" if reason == "None" else reason
            yield JobStatus(job_id.strip(), tag, found, reason, nodes, _time(end) if found in _ENDS else None)


def tag_of(comment: str) -> Tag | None:
    """The tag that a comment starts with; a user's own words may follow it."""
    words = comment.split(None, 1)
    return Tag.parse(words[0]) if words else None


def _array(comment: str) -> ArrayTag | None:
    words = comment.split(None, 1)
    return ArrayTag.parse(words[0]) if words else None


def _time(text: str) -> float | None:
    text = text.strip()
    if text.isdigit():
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
