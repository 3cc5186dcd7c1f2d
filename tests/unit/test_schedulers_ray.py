"""Decision by decision against Ray Tune's schedulers, as scripts/record_ray_traces.py has recorded them.

Deliberate differences, none of which is in the traces:

- NaN: Ray's ASHA lets a trial whose metric is NaN go on and leaves it out of the cutoff; here NaN is the worst value.
- The end of a trial: Ray hands the last result to ``on_trial_complete`` alone; here it has come as a result before, and
  is not counted twice.
- The rung at ``max_t``, which matters only with ``stop_last_trials=False``: Ray loses it where the logarithm is rounded
  down (``max_t=1000, reduction_factor=10``).
- MedianStoppingRule: Ray pauses a trial for others that wait while there are too few samples; here it goes on. Ray
  takes the mean of no values (NaN) for a trial without a result between grace period and now; here it is no sample.
- Metric and mode given to both scheduler and experiment: an error with Ray, here only if they differ.
- Brackets: Ray draws from numpy's global state; here from the seed and the trial's index.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpctune import schedulers
from hpctune.model.decisions import Continue, Stop
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial

TRACES = sorted((Path(__file__).parents[1] / "traces").glob("*.json"))


def trial(index: int) -> Trial:
    return Trial(f"t{index}", index, f"t{index}", f"t{index}", "", {}, {}, Resources(), 0.0)


def test_there_are_traces() -> None:
    assert len(TRACES) == 11


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_decides_as_ray_does(path: Path) -> None:
    data = json.loads(path.read_text())
    scheduler = getattr(schedulers, data["scheduler"])(**data["arguments"])
    trials = [trial(i) for i in range(data["trials"])]
    for t in trials:
        scheduler.on_trial_add(t)
    names = {Continue: "CONTINUE", Stop: "STOP"}
    decided = {"CONTINUE": 0, "STOP": 0}
    for step, (index, row, expected) in enumerate(data["trace"]):
        decision = scheduler.on_trial_result(trials[index], row)
        assert names[type(decision)] == expected, f"step {step}: trial {index}, {row}: {decision}"
        decided[expected] += 1
    assert min(decided.values()) > 0
