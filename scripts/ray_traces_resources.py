"""Record what Ray Tune's allocation functions answer, as data for tests/unit/schedulers/test_resources.py.

Run it where ``ray[tune]`` is installed (an environment of its own): python scripts/ray_traces_resources.py
Writes tests/traces/resources.json: for each case the trials with what they have, the one that reports, what there is
in all, and the bundles that it is given.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests" / "traces" / "resources.json"
CASES = 400


def case(rng: random.Random) -> dict[str, Any]:
    """One situation: some trials have grown already, the total may have shrunk below what they have."""
    gpus = rng.random() < 0.4
    base = {"CPU": rng.randint(1, 3), "GPU": rng.randint(1, 2) if gpus else 0}
    add_bundles, top = rng.random() < 0.4, rng.random() < 0.4
    increase_by = rng.choice([None, {"CPU": 2}, {"CPU": 1, "GPU": 1} if gpus else {"CPU": 1}])
    times = rng.choice([-1, 2, 3]) if increase_by else -1
    unit = increase_by or (base if add_bundles else {"GPU": 1} if gpus else {"CPU": 1})
    trials = []
    for _ in range(rng.randint(1, 6)):
        extra = rng.choice([0, 0, 0, 1, 2])
        if add_bundles:
            bundles = [dict(base)] + [{"CPU": unit.get("CPU", 0), "GPU": unit.get("GPU", 0)}] * extra
        else:
            bundles = [{k: base[k] + extra * unit.get(k, 0) for k in ("CPU", "GPU")}]
        trials.append({"bundles": bundles, "loss": rng.random()})
    used = {k: sum(b[k] for t in trials for b in t["bundles"]) for k in ("CPU", "GPU")}
    total = {k: max(used[k] + rng.randint(-2, 8), base[k] * len(trials)) for k in ("CPU", "GPU")}
    return {
        "base": base, "add_bundles": add_bundles, "top": top, "increase_by": increase_by, "times": times,
        "total": total, "trials": trials, "who": rng.randrange(len(trials)),
    }  # fmt: skip


def answer(one: dict[str, Any]) -> list[dict[str, float]]:
    """What Ray gives to the trial that reports."""
    from ray.tune import PlacementGroupFactory
    from ray.tune.schedulers.resource_changing_scheduler import DistributeResources, DistributeResourcesToTopJob

    kind = DistributeResourcesToTopJob if one["top"] else DistributeResources
    allocate = kind(one["add_bundles"], one["increase_by"], one["times"])
    if one["top"]:
        allocate.metric, allocate.mode = "loss", "min"
    trials = [
        SimpleNamespace(
            trial_id=str(i),
            placement_group_factory=PlacementGroupFactory(t["bundles"]),
            last_result={"loss": t["loss"]},
        )
        for i, t in enumerate(one["trials"])
    ]
    there = SimpleNamespace(get_num_cpus=lambda: one["total"]["CPU"], get_num_gpus=lambda: one["total"]["GPU"])
    controller = SimpleNamespace(_resource_updater=there, get_live_trials=lambda: trials)
    scheduler = SimpleNamespace(base_trial_resources=PlacementGroupFactory([one["base"]]))
    given = allocate(controller, trials[one["who"]], {"training_iteration": 1}, scheduler)
    return [{k: float(b.get(k, 0)) for k in ("CPU", "GPU")} for b in given.bundles]


def main() -> None:
    import ray

    rng = random.Random(5)
    cases = [case(rng) for _ in range(CASES)]
    for one in cases:
        one["given"] = answer(one)
    TARGET.write_text(json.dumps({"ray": ray.__version__, "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases of Ray {ray.__version__} -> {TARGET}")


if __name__ == "__main__":
    main()
