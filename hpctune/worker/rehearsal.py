"""What a worker does before its first trial, so that those that are forked from it need not do it each anew.

Python makes its code faster as it runs, and writes into the memory around it. Both would happen again in each child.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time

from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, Outcome
from hpctune.storage import access, controlfile
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.runfile import RunFile
from hpctune.worker import private
from hpctune.worker.main import _claim, await_control, _nodes, job_id_here, restart_count
from hpctune.worker.session import Session
from hpctune.worker.surroundings import inside
from hpctune.worker.context import report

TIMES = 20


def rehearse() -> None:
    directory = private.make("/dev/shm")
    try:
        experiment = ExperimentPaths(directory)
        for i in range(TIMES):
            _once(experiment, f"t{i}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _once(experiment, dirname) -> None:
    paths = experiment.trial(dirname)
    control = Control("e", "t", "t", "t", 1, {"x": 1.5}, {})
    controlfile.publish(paths.control, control)
    control = controlfile.read(paths.control)
    for n in ("stdout", "stderr"):
        os.close(access.open_to_append(paths.at(n)))
    claimed = _claim(paths, control, restart_count())
    assert claimed is not None
    file, restored = claimed
    session = Session(control, file.run, paths, file, restored, job_id_here(), _nodes())
    with inside(session, experiment, paths):
        report({"loss": 1.5})
    file.exit(Outcome.COMPLETED, "the rehearsal is over", time.time())
