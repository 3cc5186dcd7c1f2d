"""Failures that Slurm has a part in: memory that runs out, a node where everything dies, words that explain an end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpctune.model import events as e

from .search import Search

pytestmark = pytest.mark.slurm

HUNGRY = """
import time
import hpctune as tune


def train(config):
    hoard = bytearray(180 * 2**20)
    for i in range(8):
        time.sleep(0.5)
        tune.report(size=len(hoard))


tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1, "memory": 120 * 2**20}),
    run_config=tune.RunConfig(name="run", failure_config=tune.FailureConfig(GROW)),
)
"""

CURSED = """
import os, time
import hpctune as tune


def train(config):
    time.sleep(0.2)
    if os.environ["SLURMD_NODENAME"] == "n2":
        raise RuntimeError("CUDA error: device-side assert triggered")
    tune.report(loss=config["x"])


tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1, "gpu": 4}),
    param_space={"x": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(num_samples=14),
    run_config=tune.RunConfig(
        name="run", failure_config=tune.FailureConfig(max_failures=-1, exclude_nodes_after=2)
    ),
)
"""

CRASHES = """
import os
import hpctune as tune


def train(config):
    tune.report(loss=1.0)
    os.kill(os.getpid(), 11)


tuner = tune.Tuner(train, run_config=tune.RunConfig(name="run"))
"""


def test_a_trial_out_of_memory_gets_more(searches: Callable[..., Search]) -> None:
    search = searches(HUNGRY.replace("GROW", "grow_memory=2.0"))
    search.finish()
    facts = search.facts()
    (grown,) = [f for f in facts if isinstance(f, e.ResourcesChanged)]
    assert grown.resources.memory_bytes == 240 * 2**20
    assert [f.outcome.value for f in facts if isinstance(f, e.RunEnded)] == ["completed"]
    assert sum(isinstance(f, e.SubmitRequested) for f in facts) == 2


@pytest.mark.nightly
def test_without_the_option_it_is_told_what_happened(searches: Callable[..., Search]) -> None:
    search = searches(HUNGRY.replace("GROW", ""))
    search.finish(code=1)
    (ended,) = [f for f in search.facts() if isinstance(f, e.TrialEnded)]
    assert ended.error is not None
    assert ended.error.kind == "OutOfMemory"
    assert "exceeded its memory limit" in ended.reason
    assert "The request was 1 CPU, 0.1 GiB" in ended.reason
    assert "--mem" in ended.reason


def test_a_node_where_everything_dies_is_left_out(searches: Callable[..., Search]) -> None:
    search = searches(CURSED)
    search.finish()
    facts = search.facts()
    assert [f.phase.value for f in facts if isinstance(f, e.TrialEnded)] == ["TERMINATED"] * 14
    nodes = [f.nodes for f in facts if isinstance(f, e.RunStarted)]
    late = [f for f in facts if isinstance(f, e.SubmitRequested)]
    assert 2 <= nodes.count("n2") <= 4, nodes
    assert len(late) == 14 + nodes.count("n2")


def test_an_end_without_a_record_has_slurms_words(searches: Callable[..., Search]) -> None:
    search = searches(CRASHES)
    search.finish(code=1)
    (ended,) = [f for f in search.facts() if isinstance(f, e.TrialEnded)]
    assert ended.error is not None
    assert ended.error.kind == "JobFailed"
    assert "Segmentation fault" in ended.reason
