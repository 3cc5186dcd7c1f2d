"""What a program logs to another package becomes a report of the trial, by the trial's own channel."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from typing import Any

METRIC_VARIABLE, STEP_VARIABLE = "HPCTUNE_HEARD_METRIC", "HPCTUNE_HEARD_STEP_ID"
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_TIMEOUT_S = 300.0
_lock = threading.Lock()
_pending: dict[str, Any] = {}
"""Values that were logged since the last report."""
_warned = False


def heard(data: Any, step: Any = None, commit: Any = None, **_: Any) -> None:
    """Report what is logged: at once if the metric is in it, else with the next call that has it."""
    if not hasattr(data, "items") or not has_the_run():
        return
    metric = os.environ.get(METRIC_VARIABLE)
    with _lock:
        row = numbers(data)
        _pending.update(row)
        if step is not None and row:
            _pending["_step"] = step
        if (metric in row) if metric else (commit is not False and bool(row)):
            send(dict(_pending))
            _pending.clear()


def heard_summary(values: Any = None, **_: Any) -> None:
    """Report a metric that a script sets in the run's summary."""
    metric = os.environ.get(METRIC_VARIABLE)
    if metric and hasattr(values, "items") and metric in numbers(values):
        heard(values)


def has_the_run() -> bool:
    """Whether this is the first process of those that train together."""
    names = list(_RANKS)
    if os.environ.get("SLURM_STEP_ID", "") != os.environ.get(STEP_VARIABLE, ""):  # started by an srun of its own
        names.append("SLURM_PROCID")
    return all(os.environ.get(name, "0") in ("0", "") for name in names)


def numbers(data: Any, prefix: str = "") -> dict[str, Any]:
    """The numbers, nested ones by "a.b". Pictures, tables and texts are no results."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found.update(numbers(value, f"{prefix}{key}."))
            continue
        if not isinstance(value, (bool, int, float)):
            try:  # of numpy or torch
                value = value.item()
            except Exception:
                continue
        if isinstance(value, (bool, int, float)):
            found[f"{prefix}{key}"] = value
    return found


def send(row: dict[str, Any]) -> None:
    """Make ``row`` a result of the trial."""
    global _warned
    message = json.dumps({"metrics": row, "checkpoint": None}).encode() + b"\n"
    address, spool = os.environ.get("HPCTUNE_REPORT_SOCKET", ""), os.environ.get("HPCTUNE_REPORT_SPOOL", "")
    try:
        if address and os.path.exists(address):
            answer = _over_socket(address, message)
        elif spool and os.path.isdir(spool):
            answer = _over_spool(spool, message)
        else:
            sys.stdout.write(f"hpctune: {json.dumps(row)}\n")
            sys.stdout.flush()
            return
        trouble = answer.get("error")
    except (OSError, ValueError) as error:
        trouble = str(error)
    if trouble and not _warned:
        _warned = True
        sys.stderr.write(f"hpctune: a result was not taken: {trouble}\n")


def _over_socket(address: str, message: bytes) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(address)
        connection.sendall(message)
        with connection.makefile("rb") as answers:
            return json.loads(answers.readline())


def _over_spool(spool: str, message: bytes) -> Any:
    """From another node of the job, through the trial's directory."""
    name = os.path.join(spool, f"{time.time_ns():020d}-{os.urandom(4).hex()}")
    with open(f"{name}.part", "wb") as file:
        file.write(message)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{name}.part", f"{name}.json")
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with open(f"{name}.answer", "rb") as file:
                answer = json.loads(file.read())
        except (FileNotFoundError, ValueError):
            time.sleep(0.1)
            continue
        os.unlink(f"{name}.answer")
        return answer
    raise OSError(f"no answer within {_TIMEOUT_S:g} s")
