"""Freeze whole experiments of the version at hand, for every later version to resume:
python -m tests.journals.freeze_experiments

Makes in ``tests/journals``, each unless it exists:

- ``<version>-experiment-jobs`` and ``-pool``: the directories of two searches (``frozen_search.py``) whose drivers left
  while some trials were over, some paused and some running; the running ones were killed then.
- ``<version>-pickles.json``: one pickle of every kind of object that users put into a search.
- ``<version>-scripts``: batch scripts of jobs, of workers and of drivers, as they may wait in a queue.

Everything is made in ``/tmp/hpctune-frozen`` on a host that calls itself ``frozen``, so no path and no name of the
machine is in the files. Needs Linux, and root for the host's name.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import hpctune
from hpctune.model.trial import Phase
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.version import VERSION
from tests.journals.freeze import HERE, summary

PLACE = Path("/tmp/hpctune-frozen")
PYTHON = PLACE / "python" / "bin" / "python"
HOLD = PLACE / "hold"
PATIENCE_S = 60.0
_OF_A_MOMENT = ("doorbell.json", "driver.lock")
_IN_A_NAMESPACE = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


def make_place() -> None:
    """A Python with a copy of this hpctune, in a place of which every path may be told."""
    PLACE.mkdir()
    venv.create(PYTHON.parents[1], with_pip=False, symlinks=True)
    (library,) = PYTHON.parents[1].glob("lib/python*/site-packages")
    shutil.copytree(Path(hpctune.__file__).parent, library / "hpctune", ignore=shutil.ignore_patterns("__pycache__"))
    (library / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    shutil.copy(HERE / "frozen_search.py", PLACE)


def in_place(*arguments: str) -> list[str]:
    """The command line for the Python of the place."""
    return [str(PYTHON), *arguments]


def environment() -> dict[str, str]:
    """Nothing of the user's but where programs are."""
    return {"PATH": os.environ["PATH"], "HOME": str(PLACE), "HPCTUNE_FROZEN_HOLD": str(HOLD), "LC_ALL": "C.UTF-8"}


# -- inside the namespace ----------------------------------------------------------------------------------------------


def as_wanted(root: Path) -> bool:
    """Whether one trial at least is over, one paused, and one runs that has a checkpoint and nothing new to say."""
    try:
        state = read_experiment(root).state
    except hpctune.TuneError:
        return False
    trials = list(state.trials.values())
    saved = [t for t in trials if t.phase is Phase.RUNNING and t.checkpoints]
    return bool(state.phases[Phase.TERMINATED] and state.phases[Phase.PAUSED] and saved) and len(trials) >= 4


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not seen: {what}"
        time.sleep(0.1)


def drive(name: str) -> None:
    """Begin the search, wait until it stands as it shall be found, and let its driver leave in good order."""
    subprocess.run(["hostname", "frozen"], check=True)
    driver = subprocess.Popen(in_place("frozen_search.py", name), cwd=PLACE, env=environment())
    root = PLACE / "results" / name
    until(lambda: as_wanted(root), f"{name} as wanted")
    time.sleep(2.0)  # for whatever else is about to happen
    assert as_wanted(root)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(PATIENCE_S) == 0, "the driver did not leave in good order"


# -- outside -----------------------------------------------------------------------------------------------------------


def freeze_experiment(name: str, target: Path) -> None:
    """``target``: the search ``name``; all its processes are dead when this returns."""
    HOLD.touch()
    command = [*_IN_A_NAMESPACE, sys.executable, "-m", "tests.journals.freeze_experiments", name]
    subprocess.run(command, check=True, cwd=HERE.parents[1])
    HOLD.unlink()
    root = PLACE / "results" / name
    expected = summary(ExperimentPaths(root))
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(*_OF_A_MOMENT))
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


PICKLE = """
import base64, json, sys, cloudpickle, frozen_search
made = [[type(o).__qualname__, base64.b64encode(cloudpickle.dumps(o)).decode()] for o in frozen_search.every_object()]
json.dump(made, sys.stdout, indent=0)
"""


def freeze_pickles(target: Path) -> None:
    """``target``: pairs of a class's name and a pickle of one such object."""
    done = subprocess.run(in_place("-c", PICKLE), check=True, cwd=PLACE, env=environment(), stdout=subprocess.PIPE)
    assert all(base64.b64decode(body) for _, body in json.loads(done.stdout))
    target.write_bytes(done.stdout + b"\n")


SCRIPTS = {"job": (), "worker": ("--workers", "2"), "driver": ("--sbatch",)}
SEARCH = """
import hpctune as tune
from frozen_search import climb
tuner = tune.Tuner(tune.with_parameters(climb, steps=[1.0]), param_space={"x": 1.0})
"""


def freeze_scripts(target: Path) -> None:
    """``target``: the batch scripts, as ``--dry-run`` shows them."""
    target.mkdir()
    (PLACE / "search.py").write_text(SEARCH)
    for name, options in SCRIPTS.items():
        line = ("run", "search.py", "--dry-run", "--cluster", "slurm", "--name", "jobs", *options)
        command = in_place("-m", "hpctune.cli.main", *line, "--storage-path", str(PLACE / "results"))
        done = subprocess.run(command, check=True, cwd=PLACE, env=environment(), stdout=subprocess.PIPE, text=True)
        (target / f"{name}.sh").write_text(done.stdout[done.stdout.rindex("#!/bin/bash") :])


def main() -> None:
    if len(sys.argv) > 1:
        drive(sys.argv[1])
        return
    make_place()
    kinds = {
        "experiment-jobs": lambda target: freeze_experiment("jobs", target),
        "experiment-pool": lambda target: freeze_experiment("pool", target),
        "pickles.json": freeze_pickles,
        "scripts": freeze_scripts,
    }
    try:
        for name, make in kinds.items():
            target = HERE / f"{VERSION}-{name}"
            if target.exists():
                print(f"{target} exists, and stays as it is")
            else:
                make(target)
    finally:
        shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
