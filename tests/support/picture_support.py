"""Experiments with something to see: many trials, all kinds of parameters and ends."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpctune.analysis.pictures.trials import PlotData, plot_data
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.storage import spec_file
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths

T0 = 1_700_000_000.0


def search(root: Path, trials: int = 40, reports: int = 20, metric: str | None = "loss", seed: int = 1) -> Path:
    """A search with successive halving, a few failures, and one trial that runs still."""
    root.mkdir(parents=True)
    paths = ExperimentPaths(root)
    mode = "min" if metric else None
    spec_file.write(paths, ExperimentSpec("1f3a9c", root.name, T0, "train", metric, mode, num_samples=trials))
    journal = Journal(paths.journal)
    journal.append([[e.Recorded(T0, e.DriverStarted(1, "login1", 4711, "0.1"))]])
    rng = random.Random(seed)
    journal.append([list(_trial(n, n == trials - 1, reports, rng)) for n in range(trials)])
    journal.close()
    return root


def _trial(index: int, last: bool, reports: int, rng: random.Random) -> Iterator[e.Recorded]:
    identity, begun = f"1f3a9_{index:05d}", T0 + 30.0 * index
    lr, width, act = 10 ** rng.uniform(-5, -1), rng.choice([32, 64, 128]), rng.choice(["relu", "tanh", "gelu"])
    config = {
        "lr": lr,
        "net": {"width": width, "act": act},
        "dropout": round(rng.uniform(0, 0.6), 3),
        "betas": rng.choice([[0.9, 0.99], [0.9, 0.999]]),
        "data": "/scratch/set",
    }
    name, job = f"train_{identity}", str(100 + index)
    yield e.Recorded(begun, e.TrialAdded(identity, index, name, f"{name}_{index}", "", config, config, Resources()))
    run = RunKey(identity, 1, 0)
    yield e.Recorded(begun + 1, e.SubmitRequested(identity, 1))
    yield e.Recorded(begun + 9, e.RunStarted(run, job, f"node{index % 4}", 1, "", begun + 9, begun + 5))
    goal = 0.15 + 0.12 * abs(math.log10(lr) + 3) + 0.4 * config["dropout"] ** 2 + (0.08 if act == "tanh" else 0.0)
    stopped, fails = goal > 0.38 and not last, index % 13 == 7
    length = max(reports // 5, 1) if stopped else max(reports // 10, 1) if fails else reports // 2 if last else reports
    at = begun + 10
    for step in range(1, length + 1):
        at = begun + 10 + 15.0 * step
        loss = goal + 1.2 * math.exp(-3.0 * step / reports) + rng.gauss(0, 0.01)
        row = {
            "loss": math.nan if fails and step == length else loss,
            "latency": width * 0.11 + rng.random(),
            "training_iteration": step,
            "timestamp": int(at),
        }
        yield e.Recorded(at, e.ResultReported(run, step, row))
    if last:
        return
    if fails:
        error = ErrorInfo("RuntimeError", f"CUDA out of memory, {index} MB", "Traceback ...\n")
        yield e.Recorded(at, e.RunEnded(run, Outcome.FAILED, "raised", error))
        yield e.Recorded(at, e.TrialEnded(identity, Phase.ERROR, "failed", error))
    else:
        if stopped:
            yield e.Recorded(at, e.StopRequested(identity, "rung 4: worse than the cutoff"))
        yield e.Recorded(at + 2, e.RunEnded(run, Outcome.COMPLETED, "returned"))
        yield e.Recorded(at + 2, e.TrialEnded(identity, Phase.TERMINATED, ""))


def written(
    root: Path, *trials: tuple[Mapping[str, Any], Mapping[str, Any] | None, str], metric: str | None = "loss"
) -> Path:
    """An experiment of trials with these configurations and results, which fail with a text, or run still."""
    root.mkdir(parents=True)
    paths, mode = ExperimentPaths(root), "min" if metric else None
    spec_file.write(paths, ExperimentSpec("1f3a9c", root.name, T0, "train", metric, mode, num_samples=len(trials)))
    facts: list[e.Event] = []
    for index, (config, row, failure) in enumerate(trials):
        identity = f"1f3a9_{index:05d}"
        run = RunKey(identity, 1, 0)
        facts.append(e.TrialAdded(identity, index, identity, identity, "", config, config, Resources()))
        facts += [e.SubmitRequested(identity, 1), e.RunStarted(run, str(index), "node1", 1)]
        if row is not None:
            facts.append(e.ResultReported(run, 1, {"training_iteration": 1, **row}))
        if failure:
            error = ErrorInfo("ValueError", failure, f"Traceback ...\nValueError: {failure}\n")
            facts += [e.RunEnded(run, Outcome.FAILED, "", error), e.TrialEnded(identity, Phase.ERROR, failure, error)]
    journal = Journal(paths.journal)
    journal.append([[e.Recorded(T0 + n, fact)] for n, fact in enumerate(facts)])
    journal.close()
    return root


def data_of(
    *trials: tuple[Mapping[str, Any], object],
    metric: str | None = "loss",
    mode: str | None = "min",
    search_space: object = None,
) -> PlotData:
    """Trials that are over, each given by its configuration and the last value of its ``loss``."""
    made, rows = [], {}
    for n, (config, loss) in enumerate(trials):
        last = {"loss": loss, "training_iteration": 1}
        of = Trial(f"t{n}", n, f"t{n}", f"t{n}", "", config, config, Resources(), T0 + n, Phase.TERMINATED, last=last)
        made.append(of)
        rows[of.trial_id] = [last]
    return plot_data("exp", made, rows, metric, mode, T0, search_space=search_space)
