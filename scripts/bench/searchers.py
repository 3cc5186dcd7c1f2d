"""Compare searchers: the median, over seeds, of the best value after some trials, one trial at a time.

    python scripts/bench/searchers.py                               every searcher whose package is installed
    python scripts/bench/searchers.py --searchers optuna bohb --seeds 10 --trials 60

The problems are those of tests/searchers/problems.py. Random search is always among them: the last column says on
which problems a searcher beats it. A searcher that knows no conditions searches the flat form of a problem.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from hpctune.errors import MissingPackageError, TuneError
from hpctune.search import SearchAlgorithm, SearchGenerator, Suggestion, create_searcher
from hpctune.search.create import HOMES, searcher_class
from tests.searchers.problems import PROBLEMS, Problem

RANDOM = "random"


def searcher(name: str, seed: int) -> SearchAlgorithm:
    """The searcher of this name, told the objective; the seed comes with the binding, except where it is required."""
    made = create_searcher(name, metric="loss", mode="min", **_seed_argument(name, seed))
    return made if isinstance(made, SearchAlgorithm) else SearchGenerator(made)


def _seed_argument(name: str, seed: int) -> dict[str, Any]:
    known = inspect.signature(searcher_class(name)).parameters
    return next(({key: seed} for key in ("seed", "random_state_seed", "random_state") if key in known), {})


def best_after(name: str, problem: Problem, seed: int, trials: int) -> float:
    """The best value that a searcher finds; the worst possible answer, infinity, if it stops before it has any."""
    space = problem.space if name == RANDOM or getattr(searcher_class(name), "conditional", False) else problem.flat
    policy = searcher(name, seed).bind(space, trials, seed, metric="loss", mode="min")
    best = float("inf")
    for index in range(trials):
        trial_id = f"trial_{index}"
        suggestion = policy.suggest(index, trial_id)
        if not isinstance(suggestion, Suggestion):
            break
        loss = problem.loss(suggestion.config)
        best = min(best, loss)
        row = {"loss": loss, "training_iteration": 1, "done": True}
        policy.on_result(trial_id, row)
        policy.on_complete(trial_id, row, False)
    return best


def medians(name: str, problems: Sequence[Problem], seeds: int, trials: int) -> list[float]:
    """The median of the best value for each problem; each seed's value is told on stderr, as some take minutes."""
    found = []
    for problem in problems:
        values = []
        for seed in range(seeds):
            values.append(best_after(name, problem, seed, trials))
            print(f"{name} {problem.name} seed {seed}: {values[-1]:.4g}", file=sys.stderr, flush=True)
        found.append(statistics.median(values))
    return found


def installed(names: Sequence[str]) -> Iterator[str]:
    """Those of the names that can be used here; the others are named on stderr."""
    for name in names:
        try:
            searcher(name, 0)
        except (MissingPackageError, ImportError, TuneError) as error:
            print(f"{name}: {error}", file=sys.stderr)
        else:
            yield name


def rows(names: Sequence[str], problems: Sequence[Problem], seeds: int, trials: int) -> Iterator[str]:
    """The lines of the table."""
    heads = ["searcher", *(problem.name for problem in problems), "s per trial", "beats random on"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    chance = medians(RANDOM, problems, seeds, trials)
    for name in [RANDOM, *names]:
        started = time.perf_counter()
        found = chance if name == RANDOM else medians(name, problems, seeds, trials)
        each_s = (time.perf_counter() - started) / (len(problems) * seeds * trials)
        beaten = [p.name for p, own, other in zip(problems, found, chance, strict=True) if own < other]
        wins = "" if name == RANDOM else "all" if len(beaten) == len(problems) else ", ".join(beaten) or "none"
        seconds = "" if name == RANDOM else f"{each_s:.3f}"
        yield f"| {name} | {' | '.join(f'{value:.4g}' for value in found)} | {seconds} | {wins} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare searchers on three problems.")
    every = [name for name in HOMES if HOMES[name] != HOMES[RANDOM]]
    parser.add_argument("--searchers", nargs="+", default=every, choices=[*every, RANDOM])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--problems", nargs="+", default=[problem.name for problem in PROBLEMS])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    problems = [problem for problem in PROBLEMS if problem.name in given.problems]
    names = list(installed([name for name in given.searchers if name != RANDOM]))
    print(f"Median of the best value over {given.seeds} seeds at {given.trials} trials\n")
    print(f"| optimum | {' | '.join(f'{problem.name} {problem.best:.4g}' for problem in problems)} |\n")
    for row in rows(names, problems, given.seeds, given.trials):
        print(row, flush=True)


if __name__ == "__main__":
    main()
