"""Classifies the answers of sbatch that do not name a new job. Pure.

There are five meanings, recognized by Slurm's messages (collected from its sources, versions 19 to 25):

- **unanswered**: the controller may or may not have created the job (time-outs, lost connections);
- **limit**: a limit on the number of jobs is reached; later there may be room again;
- **permanent**: this request will never be accepted;
- **later**: no job was created, and another try may succeed;
- **unclear**: as later, but Slurm says the same about some requests that can never succeed, or the message is not
  known. Only repetition tells (see :class:`hpctune.cluster.slurm.repeated.Repetitions`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hpctune.cluster.slurm.commands import Answer

Meaning = Literal["unanswered", "limit", "permanent", "later", "unclear"]

_UNANSWERED = (
    "socket timed out",
    "unable to contact slurm controller",
    "connection refused",
    "connection timed out",
    "connection reset",
    "broken pipe",
    "transport endpoint",
    "zero bytes were transmitted",
    "communication connection failure",
    "communication shutdown failure",
    "message send failure",
    "message receive failure",
    "unexpected message received",
    "insane message length",
    "controller in standby mode",
    "controller is in standby mode",
    "problem talking to database",
    "problem talking to the database",
)
_LIMIT = ("submitjob", "maxjobcount", "unable to create job record", "temporarily unable to accept job")
_PER_JOB = re.compile(
    r"(qos|assoc)\w*(maxwall|per ?job|perjob|maxnode|maxcpuper|mincpu|minmem|mingres|mintres|minnode)\w*", re.IGNORECASE
)
_LATER = (
    "required partition not available",
    "partition in down state",
    "requested nodes are busy",
    "required node not available",
    "requested reservation not usable now",
    "job violates accounting/qos policy",
    "presently disabled",
    "submissions disabled",
    "try again",
    "i/o error writing script",
    "slurm internal error",
    "usage threshold",
    "pending scheduler release",
    "authentication",
    "credential",
    "munge",
)
_PERMANENT = (
    "invalid",
    "requested node configuration is not available",
    "memory specification can not be satisfied",
    "memory required by task is not available",
    "not permitted",
    "permission denied",
    "access denied",
    "requested time limit is invalid",
    "node count specification",
    "cpu count specification",
    "task count specification",
    "more processors requested than permitted",
    "requested more tasks than",
    "requested nodes not in this partition",
    "no partition specified",
    "job size specification needs",
    "unrecognized option",
    "ambiguous",
    "requires an argument",
    "parameter too long",
    "not supported",
    "unsupported",
    "unspecified error",
    "can't be reached now, or it is an invalid entry",
    "dependency problem",
    "not a subset",
    "too large",
    "parsing",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no new job is known. ``reason`` is text for people, ``words`` Slurm's message."""

    meaning: Meaning
    reason: str
    words: str = ""


def refusal(answer: Answer, partitions: Sequence[str] = ()) -> Refusal:
    """The meaning of ``answer``, in which sbatch named no job. ``partitions``: the existing ones, for the advice."""
    words = said(answer)
    if answer.rc is None:
        busy = "sbatch did not answer in time and was stopped"
        return Refusal("unanswered", f"{busy}. Slurm said: {words}" if words else f"{busy}.")
    advice = _advice(words, partitions)
    return Refusal(meaning(words), f"Slurm said: {words or f'nothing (exit code {answer.rc})'}.{advice}", words)


def meaning(words: str) -> Meaning:
    """The meaning of sbatch's message ``words``."""
    text = words.lower()
    if any(w in text for w in _UNANSWERED):
        return "unanswered"
    if any(w in text for w in _LIMIT):
        return "limit"
    if _PER_JOB.search(text):
        return "permanent"
    if any(w in text for w in _LATER):
        return "later"
    return "permanent" if any(w in text for w in _PERMANENT) else "unclear"


def said(answer: Answer) -> str:
    """Slurm's message on one line, without the name of the program and without repetitions."""
    lines = (answer.err.strip() or answer.out.strip()).splitlines()
    told = [re.sub(r"^(sbatch|allocation failure): ((error|fatal|warning): )?", "", line).strip() for line in lines]
    told = [re.sub(r"^Batch job submission failed: ", "", line) for line in told]
    return "; ".join(dict.fromkeys(line.rstrip(".") for line in told if line))


def _advice(words: str, partitions: Sequence[str]) -> str:
    text = words.lower()
    for pattern, advice in _ADVICE:
        if pattern in text:
            here = f" Partitions here: {', '.join(partitions)}." if pattern == "partition" and partitions else ""
            return f"{here} {advice}"
    return ""


_TIME = "See 'sinfo -o \"%P %l\"'; set SlurmOptions(time=...)."
_ADVICE = (
    ("partition configuration", "See 'sinfo -o \"%P %a %l %L %c %m\"'; set --time and --partition."),
    ("account/partition", "See 'sacctmgr show assoc user=$USER'; set SlurmOptions(account=...)."),
    ("partition", "Set --partition or SlurmOptions(partition=...)."),
    ("invalid account", "See 'sacctmgr show assoc user=$USER'; set SlurmOptions(account=...)."),
    ("invalid qos", "See 'sacctmgr show qos'; set SlurmOptions(qos=...)."),
    ("submitjob", "hpctune tries again when jobs have ended; SlurmOptions(max_submitted=...) keeps below the limit."),
    ("time limit", _TIME),
    ("--time", _TIME),
    ("maxwall", _TIME),
    ("gres", "See 'sinfo -o \"%P %G\"' for what exists; check SlurmOptions(gpu_type=..., gres=...)."),
    ("memory", "Ask for less memory, or see 'sinfo -o \"%P %m\"'."),
    ("node configuration", "No node has so many CPUs, GPUs or so much memory; see 'sinfo -o \"%P %c %m %G\"'."),
    ("feature", "See 'sinfo -o \"%P %f\"'; set SlurmOptions(constraint=...)."),
    ("reservation", "See 'scontrol show reservation'."),
    ("license", "See 'scontrol show licenses'."),
    ("wckey", "See 'sacctmgr show wckey'; set SlurmOptions(wckey=...)."),
    ("unspecified error", "A rule of this site refused the job. See the site's documentation for required options."),
)
