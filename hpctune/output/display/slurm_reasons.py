"""Explanations of why a job waits. squeue(1) documents Slurm's reasons under "JOB REASON CODES"."""

from __future__ import annotations

import re

_WORDS = {
    "AccountNotAllowed": "the account may not use this partition: --account",
    "BadConstraints": "no node can ever satisfy the request",
    "BeginTime": "its earliest start has not come yet (after a requeue: about two minutes)",
    "BurstBufferResources": "waits for burst buffer space",
    "BurstBufferStageIn": "its burst buffer is being filled",
    "Cleaning": "its previous run is still being cleaned up",
    "DeadLine": "it cannot finish before its deadline",
    "Dependency": "waits for another job to end",
    "DependencyNeverSatisfied": "the job it depends on failed: it will never run",
    "FrontEndDown": "a front end node is down",
    "InactiveLimit": "the limit of inactive time was reached",
    "InvalidAccount": "the account is not valid: --account",
    "InvalidQOS": "the QOS is not valid: --qos",
    "JobArrayTaskLimit": "the array's own limit of running tasks is reached",
    "JobHeldAdmin": "held by an administrator",
    "JobHeldUser": "held by you: scontrol release JOB",
    "Licenses": "waits for a license",
    "MaxRequeueExceeded": "requeued too often: held",
    "NodeDown": "a node it needs is down",
    "NodeNotAvail": "a node it needs is not available",
    "NonZeroExitCode": "its previous run ended with an error",
    "None": "not considered by the scheduler yet",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition starts no jobs at the moment",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "PartitionTimeLimit": "its time limit is longer than the partition allows: --time",
    "Priority": "other jobs have a higher priority",
    "Prolog": "the node is being prepared",
    "QOSJobLimit": "the QOS allows no more running jobs",
    "QOSNotAllowed": "the QOS may not be used here: --qos",
    "QOSResourceLimit": "a limit of the QOS is reached",
    "QOSTimeLimit": "its time limit is longer than the QOS allows: --time",
    "QOSUsageThreshold": "the QOS's usage threshold is passed",
    "ReqNodeNotAvail": "nodes that it needs are down, drained or reserved",
    "Reservation": "waits for its reservation to begin",
    "ReservationDeleted": "its reservation was deleted",
    "Resources": "next in line: waits for free nodes",
    "SchedDefer": "the scheduler looks at it later",
    "SystemFailure": "a failure of Slurm itself",
    "TimeLimit": "its time limit was reached",
    "launch_failed_requeued_held": "its launch failed: held, scontrol release JOB",
}
_LIMIT = re.compile(
    r"(?P<scope>QOSGrp|QOSMax|QOSMin|AssocGrp|AssocMax|Max)(?P<what>\w*?)"
    r"(?P<per>Per(User|Account|Job|Node)?)?(?P<limit>Limit|Exceeded)?$"
)
_THINGS = {
    "CPU": "CPUs",
    "CPUs": "CPUs",
    "Cpu": "CPUs",
    "CPUMinutes": "CPU minutes",
    "CPUMins": "CPU minutes",
    "CpuMinutes": "CPU minutes",
    "CPURunMinutes": "CPU minutes of running jobs",
    "CpuRunMinutes": "CPU minutes of running jobs",
    "GRES": "GPUs (GRES)",
    "GRESMinutes": "GPU minutes",
    "GRESRunMinutes": "GPU minutes of running jobs",
    "Jobs": "running jobs",
    "Job": "running jobs",
    "Mem": "memory",
    "Memory": "memory",
    "Node": "nodes",
    "Nodes": "nodes",
    "SubmitJob": "submitted jobs",
    "SubmitJobs": "submitted jobs",
    "Wall": "wall time",
    "WallDuration": "wall time",
    "Billing": "billing units",
}


def explain(reason: str) -> str:
    """The meaning of ``reason`` in a few words; "" if it is unknown or already readable, as in a local queue."""
    code = re.split(r"[,\s(:]", reason.strip().lstrip("("), maxsplit=1)[0]
    if code in _WORDS:
        return _WORDS[code]
    if code == "Nodes" and "DOWN" in reason:
        return _WORDS["ReqNodeNotAvail"]
    return _limit(code)


def _limit(code: str) -> str:
    found = _LIMIT.match(code)
    if found is None:
        return ""
    thing = _THINGS.get(found["what"], found["what"] or "resources")
    per = " in one job" if found["per"] == "PerJob" else " on one node" if found["per"] == "PerNode" else ""
    match found["scope"]:
        case "QOSGrp":
            return f"all users of this QOS together have reached its limit of {thing}{per}"
        case "AssocGrp":
            return f"your account as a whole has reached its limit of {thing}{per}"
        case "QOSMin":
            return f"the QOS demands more {thing}{per}"
        case "AssocMax":
            return f"you have reached your account's limit of {thing}{per}"
        case "Max":
            return f"your account has reached the QOS's limit of {thing}{per}"
        case _:
            return f"you have reached the QOS's limit of {thing}{per}"
