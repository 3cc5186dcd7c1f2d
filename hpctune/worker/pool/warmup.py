"""Warm-up of a worker before its first trial, so that each trial starts faster.

Python runs code faster after some repetitions, and caches what it has looked up. Each trial is forked from the worker.
Without a warm-up it would repeat that work, and copy the memory for it. So the worker runs an empty trial a few times:
all the code around the user's code, and none of the user's code.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.model.records import Control
from hpctune.storage import atomic, bundle, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker import scratch, storage_retry
from hpctune.worker.environment import environment
from hpctune.worker.main import run_attempt
from hpctune.worker.session import SYNC_S

WARMUP_RUNS = 20
"""Runs of the empty trial. Python specializes code from its eighth run on, and finishes soon after."""


def warm_up() -> bool:
    """Run the warm-up; False if it was impossible, which only costs time. No thread is left when this returns.
    The cache of :mod:`bundle` holds the warm-up's entry afterwards."""
    directory = scratch.make_in_memory()
    if directory is None:
        return False
    done: list[bool] = []
    # Not in the main thread, whose signal handlers must stay unchanged.
    thread = threading.Thread(target=lambda: done.append(_run(directory)), name="hpctune-rehearsal")
    try:
        with environment({storage_retry.VARIABLE: "0"}):
            thread.start()
            thread.join()
            _await_threads()
    except RuntimeError:  # no thread can be started
        return False
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return done == [True]


def _await_threads() -> None:
    """Wait until the threads of the runs have ended, which takes no time: a process should fork with one thread."""
    deadline = time.monotonic() + 2 * SYNC_S
    with contextlib.suppress(OSError):
        while len(os.listdir("/proc/self/task")) > threading.active_count() and time.monotonic() < deadline:
            time.sleep(0.001)


def _run(directory: Path) -> bool:
    experiment = ExperimentPaths(directory)
    try:
        place = json.dumps({"sys_path": [], "cwd": str(directory)}).encode()
        atomic.write(experiment.trainable, place + b"\n" + pickle.dumps(_trial))
        bundle.preload(experiment)
        for number in range(WARMUP_RUNS):
            paths = experiment.trial(f"trial{number}")
            control = Control("experiment", f"t_{number}", "trial", "tag", 1, {"x": 0.5, "epochs": 3}, {})
            control_file.publish(paths.control, control)
            run_attempt(directory, f"trial{number}", 1, rings=False)
    except Exception:
        return False
    return True


def _trial(config: Mapping[str, Any]) -> None:
    """Report like user code."""
    sys.modules["hpctune"].report({"loss": config["x"]})
