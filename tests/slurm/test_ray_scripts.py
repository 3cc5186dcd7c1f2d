"""A script that imports ray runs as it is on Slurm: in jobs, in workers, and in their children."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .search import Search

pytestmark = pytest.mark.slurm

SCRIPT = """
import multiprocessing, subprocess, sys
import ray
from ray import tune
from ray.tune.suggest.basic_variant import BasicVariantGenerator


def child(x):
    import ray.tune.schedulers
    return bool(ray.__hpctune__) and x


def train(config):
    found = []
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(child, [3])
    code = "import ray.tune; print(ray.__hpctune__)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {"found": found, "said": said.strip(), "data": len(ray.get(config["data"]))}


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([1, 2]), "data": ray.put([0] * 10)},
    tune_config=tune.TuneConfig(search_alg=BasicVariantGenerator()),
    run_config=tune.RunConfig(name="run", verbose=0),
)
"""


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--workers", "1"), marks=pytest.mark.nightly)], ids=["jobs", "workers"]
)
def test_ray_is_hpctune_in_a_job(searches: Callable[..., Search], options: tuple[str, ...]) -> None:
    search = searches(SCRIPT, *options)
    search.finish()
    last = [rows[-1] for _, rows in sorted(search.rows().items())]
    assert [(row["found"], row["said"], row["data"]) for row in last] == [([3, 3, 3], "True", 10)] * 2
