"""A claim counts when the process that transfers the job's files confirms it."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from hpctune.model.ids import RunKey
from hpctune.model.records import Exit
from hpctune.storage.run_file import RunTail
from hpctune.worker import transferred
from hpctune.worker.main import run_attempt
from tests.support.worker_lab import Lab


def answering(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> tuple[threading.Thread, list[bytes]]:
    """A process that answers so, and then is gone; the questions that it got."""
    asking, asked = socket.socketpair()
    monkeypatch.setenv(transferred.VARIABLE, str(asking.detach()))
    questions: list[bytes] = []

    def answer() -> None:
        with asked:
            for one in answers:
                questions.append(asked.recv(100))
                asked.sendall(one)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread, questions


def test_a_confirmed_claim_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {"told": transferred.VARIABLE in os.environ}

    lab = Lab(tmp_path)
    thread, questions = answering(monkeypatch, transferred.YES)
    lab.run(train)
    thread.join()
    assert questions == [b"run-1.0.jsonl\n"]
    assert lab.column("told") == [False], "user code does not get the socket"


@pytest.mark.parametrize("answers", [(transferred.NO,), ()])
def test_a_refused_claim_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: tuple[bytes, ...]
) -> None:
    """Refused, or the process is gone."""
    lab = Lab(tmp_path)
    lab.publish(lambda config: pytest.fail("it must not run"))
    thread, _ = answering(monkeypatch, *answers)
    assert run_attempt(lab.paths.root, "trial", 1) == 0
    thread.join()
    assert "has been run already, or revoked" in capsys.readouterr().out


def test_after_a_refusal_the_next_run_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm has started the job again, and the run before had claimed its key while this one looked."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("HPCTUNE_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    lab = Lab(tmp_path)
    lab.publish(lambda config: {"x": 1})
    thread, questions = answering(monkeypatch, transferred.NO, transferred.YES)
    assert run_attempt(lab.paths.root, "trial", 1) == 0
    thread.join()
    assert questions == [b"run-1.0.jsonl\n", b"run-1.1.jsonl\n"]
    assert isinstance(RunTail(lab.trial.run(1, 1), RunKey("t_00000", 1, 1)).read()[-1], Exit)
