"""Reporting from outside the trial's process: from a child process, a program, or ``hpctune report`` in a script."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.errors import CheckpointError, TuneError, UsageError
from hpctune.storage import atomic, values

SOCKET_VARIABLE = "HPCTUNE_REPORT_SOCKET"
SPOOL_VARIABLE = "HPCTUNE_REPORT_SPOOL"
CHECKPOINT_VARIABLE = "HPCTUNE_CHECKPOINT"
TRIAL_ID_VARIABLE = "HPCTUNE_TRIAL_ID"
TRIAL_NAME_VARIABLE = "HPCTUNE_TRIAL_NAME"
TRIAL_DIR_VARIABLE = "HPCTUNE_TRIAL_DIR"
TIMEOUT_S = 300.0
"""Seconds to wait for an answer. Saving a large checkpoint takes long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``stop``: the program should exit: the trial ended with this report, or its job is about to end."""

    stop: bool = False


def inside_trial() -> bool:
    """Whether a trial started this process, directly or indirectly."""
    return any(os.environ.get(name) for name in (SOCKET_VARIABLE, SPOOL_VARIABLE))


def send_report(metrics: Mapping[str, Any], checkpoint: str | Path | None = None) -> Reply:
    """Send a report to the trial's process and wait until it is accepted.

    A process on another node of the job cannot reach the socket. It writes the report to the trial's directory, and
    the trial's process reads it there.

    Raises:
        UsageError: outside a trial.
        CheckpointError: if the result was taken, but its checkpoint could not be saved.
        TuneError: if the trial's process rejects the report (the message says why), or does not answer.
    """
    address, spool = os.environ.get(SOCKET_VARIABLE, ""), os.environ.get(SPOOL_VARIABLE, "")
    if not (address or spool):
        raise UsageError(
            "This process is not inside a trial, so the report has no receiver. hpctune report is for programs that "
            "hpctune.Command starts."
        )
    message = {
        "metrics": values.plain(dict(metrics)),
        "checkpoint": str(Path(checkpoint).absolute()) if checkpoint else None,
    }
    if address and Path(address).exists():
        return _reply(_over_socket(address, message))
    if not spool or not Path(spool).is_dir():
        places = " nor ".join(filter(None, (address, spool)))
        raise TuneError(f"The trial's process cannot be reached: {places} is not there. Is the trial over?")
    return _reply(_over_spool(Path(spool), message))


def _over_socket(address: str, message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(address)
            connection.sendall(values.dumps(message).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        answer: dict[str, Any] = json.loads(line)
    except (OSError, ValueError) as error:
        raise TuneError(f"The trial's process did not take the report: {error}.") from error
    return answer


def _over_spool(spool: Path, message: Mapping[str, Any]) -> dict[str, Any]:
    request = spool / f"{time.time_ns():020d}-{os.urandom(4).hex()}.json"
    answer = request.with_suffix(".answer")
    atomic.write(request, values.dumps(message), durable=True)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            found: dict[str, Any] = json.loads(answer.read_bytes())
        except (FileNotFoundError, ValueError):
            time.sleep(0.1)
            continue
        answer.unlink(missing_ok=True)
        return found
    raise TuneError(f"The trial's process did not take the report within {TIMEOUT_S:g} s ({request}).")


def _reply(answer: Mapping[str, Any]) -> Reply:
    if answer.get("counted"):
        raise CheckpointError(f"The result counts, but its checkpoint was not saved: {answer['error']}")
    if "error" in answer:
        raise TuneError(f"The report was not taken: {answer['error']}")
    return Reply(bool(answer.get("stop")))
