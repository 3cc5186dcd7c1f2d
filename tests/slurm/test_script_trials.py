"""What a user's script does in its trials works in Slurm's jobs as it does where the script is run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from .search import Search

pytestmark = pytest.mark.slurm

PROCESSES = """
import multiprocessing, os, signal, time
import hpctune as tune


def train(config):
    fork = multiprocessing.get_context("fork")
    codes = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        child = fork.Process(target=time.sleep, args=(60,))
        child.start()
        os.kill(child.pid, number)
        child.join()
        codes.append(-child.exitcode)
    for _ in range(4):
        with fork.Pool(2) as pool:
            total = sum(pool.map(abs, [-1, 2, -3]))
    return {"codes": codes, "total": total}


tuner = tune.Tuner(
    train, param_space={"x": tune.grid_search([1, 2])}, run_config=tune.RunConfig(name="run", verbose=0)
)
"""


AS_JOBS_AND_IN_WORKERS = pytest.mark.parametrize(
    "options",
    [pytest.param((), id="jobs"), pytest.param(("--workers", "1"), id="workers", marks=pytest.mark.nightly)],
)


@AS_JOBS_AND_IN_WORKERS
def test_the_children_of_a_trial_can_be_ended(searches: Callable[..., Search], options: tuple[str, ...]) -> None:
    search = searches(PROCESSES, *options)
    search.finish()
    last = [rows[-1] for _, rows in sorted(search.rows().items())]
    assert [(row["codes"], row["total"]) for row in last] == [([15, 12], 6)] * 2


SCRIPT = """
import multiprocessing, pickle
import hpctune as tune


class Net:
    pass


def square(x):
    return x * x


def train(config):
    assert type(pickle.loads(pickle.dumps(Net()))) is Net
    found = []
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(square, [3])
    if config["x"] == 2:
        raise ValueError("this line")
    return {"found": found}


tuner = tune.Tuner(
    train, param_space={"x": tune.grid_search([1, 2])}, run_config=tune.RunConfig(name="run", verbose=0)
)
"""


@AS_JOBS_AND_IN_WORKERS
def test_the_script_is_main_in_a_job(searches: Callable[..., Search], options: tuple[str, ...]) -> None:
    search = searches(SCRIPT, *options)
    search.finish(1)
    (result,) = [path.read_text() for path in search.experiment.glob("*_x-1/result.json")]
    assert json.loads(result)["found"] == [9, 9, 9]
    (error,) = [path.read_text() for path in search.experiment.glob("*/error.txt")]
    assert 'config.py", line 21, in train\n    raise ValueError("this line")\n' in error
