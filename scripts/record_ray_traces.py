"""Record what Ray Tune's schedulers decide on made-up results, for tests/unit/schedulers/test_ray.py.

Needs ``ray[tune]`` and scikit-learn, in an environment of its own: ``python scripts/record_ray_traces.py
tests/traces``. Only Ray's public scheduler interface is called, with a stand-in for the trial; the results and the
decisions are written as JSON. The schedulers that pause and exploit are recorded by ray_traces_hyperband.py and
ray_traces_pbt.py, which this calls.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray_traces_hyperband
import ray_traces_pbt

TRIALS = 12


def asha_cases() -> dict[str, dict[str, Any]]:
    """Arguments of AsyncHyperBandScheduler. One bracket: which one a trial gets is Ray's own chance."""
    base: dict[str, Any] = {"time_attr": "training_iteration", "metric": "loss", "mode": "min"}
    return {
        "asha_default": {**base, "max_t": 30},
        "asha_eta3": {**base, "max_t": 27, "reduction_factor": 3},
        "asha_max": {**base, "mode": "max", "max_t": 16, "reduction_factor": 2},
        "asha_grace": {**base, "max_t": 40, "grace_period": 5, "reduction_factor": 2.5},
        "asha_keep_last": {**base, "max_t": 9, "reduction_factor": 3, "stop_last_trials": False},
        "asha_jumps": {**base, "time_attr": "epoch", "max_t": 60, "reduction_factor": 3},
        "asha_jumps_keep_last": {
            **base, "time_attr": "epoch", "max_t": 27, "reduction_factor": 3, "stop_last_trials": False,
        },
    }  # fmt: skip


def median_cases() -> dict[str, dict[str, Any]]:
    """Arguments of MedianStoppingRule. Trials make room for others, that wait, in the last alone."""
    base: dict[str, Any] = {"time_attr": "training_iteration", "metric": "loss", "mode": "min", "min_time_slice": 10**9}
    return {
        "median_default_samples": {**base, "grace_period": 3},
        "median_one_sample": {**base, "grace_period": 1, "min_samples_required": 1},
        "median_max": {**base, "mode": "max", "grace_period": 2, "min_samples_required": 5},
        "median_jumps": {**base, "time_attr": "epoch", "grace_period": 2},
        "median_pausing": {**base, "grace_period": 2, "hard_stop": False},
        "median_room": {**base, "grace_period": 2, "min_time_slice": 3},
    }


def results(name: str, arguments: dict[str, Any]) -> list[tuple[int, dict[str, float]]]:
    """(trial, result) in an order and with values that depend on the name alone; each trial's own time goes up."""
    rng = random.Random(name)
    levels = [rng.random() for _ in range(TRIALS)]
    iterations, times = [0] * TRIALS, [0.0] * TRIALS
    made: list[tuple[int, dict[str, float]]] = []
    for _ in range(TRIALS * 40):
        trial = min(rng.randrange(TRIALS), rng.randrange(TRIALS))
        iterations[trial] += 1
        times[trial] += rng.choice((0.5, 1.0, 2.0, 7.0))
        loss = round(levels[trial] + 1.0 / iterations[trial] + rng.gauss(0.0, 0.05), 6)
        if rng.random() < 0.02:
            loss = round(loss, 1)
        value = loss if arguments["mode"] == "min" else -loss
        row = {"training_iteration": iterations[trial], "epoch": times[trial], "loss": value}
        if rng.random() < 0.03:
            del row["loss"]
        made.append((trial, row))
    return made


def record(scheduler: Any, rows: list[tuple[int, dict[str, float]]], others_wait: bool = False) -> list[Any]:
    """[trial, result, decision] until a trial is stopped; its later results are left out. A paused one goes on."""
    trials = [_Trial(f"t{i}") for i in range(TRIALS)]
    waiting = [SimpleNamespace(status="PENDING")] if others_wait else []
    controller = SimpleNamespace(get_live_trials=lambda: waiting, get_trials=lambda: trials)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    stopped: set[int] = set()
    trace: list[Any] = []
    for index, row in rows:
        if index in stopped:
            continue
        decision = str(scheduler.on_trial_result(controller, trials[index], dict(row)))
        trace.append([index, row, decision])
        if decision == "STOP":
            stopped.add(index)
    return trace


class _Trial:
    """What the schedulers look at: an identity."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.status = trial_id, "RUNNING"

    def __repr__(self) -> str:
        return self.trial_id


def main(directory: Path) -> None:
    """Write one file for each case."""
    import ray
    from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

    for made, cases in ((AsyncHyperBandScheduler, asha_cases()), (MedianStoppingRule, median_cases())):
        for name, arguments in cases.items():
            others_wait = name == "median_room"
            trace = record(made(**arguments), results(name, arguments), others_wait)
            data = {"ray": ray.__version__, "scheduler": made.__name__, "arguments": arguments, "trials": TRIALS}
            data["others_wait"] = others_wait
            lines = ",\n".join(json.dumps(step) for step in trace)
            text = json.dumps(data)[:-1] + f', "trace": [\n{lines}\n]}}\n'
            (directory / f"{name}.json").write_text(text)
            print(name, len(trace), sum(step[2] != "CONTINUE" for step in trace))
    ray_traces_hyperband.record(directory, ray.__version__)
    ray_traces_pbt.main(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
