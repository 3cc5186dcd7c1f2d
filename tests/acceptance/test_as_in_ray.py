"""What a script for Ray Tune expects, and what is written for its interfaces: schedulers, searchers, callbacks."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune import schedulers, search
from hpctune.errors import TuneError, UsageError
from hpctune.launch.run import resume_directory
from hpctune.storage.layout import ExperimentPaths


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))


def steps(config: dict[str, Any]) -> None:
    for step in range(1, 5):
        tune.report({"loss": config.get("x", 1) / step})


def run(trainable: Callable[..., Any] = steps, **options: Any) -> tune.ExperimentAnalysis:
    return tune.run(trainable, **{"verbose": 0, "cluster": "local", **options})


# -- schedulers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        lambda: schedulers.FIFOScheduler,
        lambda: schedulers.ASHAScheduler,
        lambda: schedulers.MedianStoppingRule,
        lambda: schedulers.HyperBandScheduler,
        lambda: schedulers.PopulationBasedTraining,
        lambda: schedulers.TrialScheduler,
    ],
)
def test_a_scheduler_with_rays_methods_that_calls_its_base(base: Callable[[], type[Any]]) -> None:
    class Own(base()):  # type: ignore[misc]
        def on_trial_add(self, controller: Any, trial: Any) -> None:
            self.heard = [*getattr(self, "heard", ()), ("add", trial.status)]
            super().on_trial_add(controller, trial)

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> Any:
            assert controller.get_trial(trial.trial_id) == trial
            assert trial in controller.get_trials()
            assert trial.last_result["loss"] == result["loss"]
            self.heard.append(("result", result["training_iteration"]))
            return super().on_trial_result(controller, trial, result)

        def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
            assert trial.is_finished()
            self.heard.append(("complete", trial.config["x"]))
            super().on_trial_complete(controller, trial, result)

        def choose_trial_to_run(self, controller: Any) -> Any:
            return super().choose_trial_to_run(controller)

    told = {"metric": "loss", "mode": "min"}
    if base() is schedulers.PopulationBasedTraining:
        told |= {"hyperparam_mutations": {"x": [1, 2]}, "time_attr": "training_iteration"}  # type: ignore[dict-item]
    own = Own() if base() in (schedulers.FIFOScheduler, schedulers.TrialScheduler) else Own(**told)
    found = run(scheduler=own, config={"x": tune.grid_search([1, 2])})
    assert [trial.status for trial in found.trials] == ["TERMINATED"] * 2
    assert own.heard.count(("add", "PENDING")) == 2, "what was passed in holds its state afterwards"
    assert {what for what, _ in own.heard} == {"add", "result", "complete"}


def test_a_scheduler_from_nothing_but_rays_interface() -> None:
    class Last(schedulers.TrialScheduler):
        order: list[str]

        def on_trial_add(self, controller: Any, trial: Any) -> None: ...

        def on_trial_error(self, controller: Any, trial: Any) -> None: ...

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            return self.STOP if result["training_iteration"] == 2 else self.CONTINUE  # type: ignore[return-value]

        def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None: ...

        def on_trial_remove(self, controller: Any, trial: Any) -> None: ...

        def choose_trial_to_run(self, controller: Any) -> Any:
            waiting = [
                t for t in controller.get_trials() if t.status == "PENDING" and controller.has_resources_for_trial(t)
            ]
            return waiting[-1] if waiting else None

        def debug_string(self) -> str:
            return "last"

    found = run(scheduler=Last(), config={"x": tune.grid_search([1, 2, 3])}, max_concurrent_trials=1)
    assert [trial.last_result["training_iteration"] for trial in found.trials] == [2, 2, 2]


@pytest.mark.parametrize(("word", "iterations"), [("STOP", 1), ("CONTINUE", 4), ("NOOP", 4), (None, 4)])
def test_decisions_may_be_words(word: str | None, iterations: int) -> None:
    class Says(schedulers.FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> Any:
            return word

    assert run(scheduler=Says()).trials[0].last_result["training_iteration"] == iterations


def test_what_a_controller_has_not_is_named() -> None:
    class Asks(schedulers.FIFOScheduler):
        def on_trial_add(self, controller: Any, trial: Any) -> None:
            controller.trial_executor.start_trial(trial)

    with pytest.raises(UsageError, match=r"controller.trial_executor, which hpctune does not have.*get_trials\(\)"):
        run(scheduler=Asks())


def test_a_scheduler_shows_what_it_has_seen_and_serves_again() -> None:
    asha = schedulers.ASHAScheduler(metric="loss", mode="min", grace_period=1, max_t=4)
    run(scheduler=asha, num_samples=2)
    first = asha.debug_string()
    assert "Iter 1.000 (2): " in first
    run(scheduler=asha, num_samples=2)
    assert asha.debug_string() == first, "the second experiment did not see the trials of the first"


# -- searchers -------------------------------------------------------------------------------------------------------


class Counts(search.Searcher):
    def __init__(self) -> None:
        super().__init__(metric="loss", mode="min")
        self.asked, self.done = 0, list[float]()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        self.asked += 1
        return {"x": self.asked}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.done.append((result or {})["loss"])


def test_a_searcher_holds_its_state_afterwards_and_the_next_experiment_starts_anew() -> None:
    mine = Counts()
    for _ in range(2):
        found = run(search_alg=mine, num_samples=3)
        assert sorted(trial.config["x"] for trial in found.trials) == [1, 2, 3]
        assert (mine.asked, sorted(mine.done)) == (3, [0.25, 0.5, 0.75])


def test_what_was_learned_is_saved_and_restored(tmp_path: Path) -> None:
    mine, again = Counts(), Counts()
    run(search_alg=mine, num_samples=3)
    mine.save(tmp_path / "state")
    again.restore(tmp_path / "state")
    assert (again.asked, len(again.done)) == (3, 3)
    assert pickle.loads(pickle.dumps(mine.get_state())) == mine.get_state() == again.get_state()
    found = run(search_alg=again, num_samples=2)
    assert sorted(trial.config["x"] for trial in found.trials) == [4, 5], "a restored searcher goes on"


def test_points_that_are_added_between_two_experiments_count_in_the_next() -> None:
    optuna = search.OptunaSearch(metric="loss", mode="min")
    space = {"x": tune.uniform(0, 1)}
    run(search_alg=optuna, config=space, num_samples=1)
    optuna.add_evaluated_point({"x": 0.5}, 3.0)
    run(search_alg=optuna, config=space, num_samples=1)
    study = optuna._ot_study
    assert study is not None
    assert [trial.value for trial in study.trials] == [3.0, pytest.approx(study.trials[1].params["x"] / 4)]


def test_a_copy_of_a_scheduler_holds_no_trials_of_an_experiment() -> None:
    class Own(schedulers.FIFOScheduler):
        def on_trial_add(self, controller: Any, trial: Any) -> None: ...

    own = Own()
    run(scheduler=own, num_samples=2)
    assert len(own.controller.get_trials()) == 2
    assert copy.deepcopy(own).controller.get_trials() == []


def test_a_limiter_shows_it_too() -> None:
    mine = Counts()
    run(search_alg=search.ConcurrencyLimiter(mine, 1), num_samples=2)
    assert mine.asked == 2


def test_optunas_study_is_there_afterwards() -> None:
    optuna = search.OptunaSearch(metric="loss", mode="min")
    run(search_alg=optuna, config={"x": tune.uniform(0, 1)}, num_samples=2)
    assert len(optuna._ot_study.trials) == 2  # type: ignore[union-attr]


def test_a_searcher_whose_metric_is_never_reported_is_told() -> None:
    with pytest.raises(TuneError, match=r"'lss' was never reported. Did you mean 'loss'"):
        run(search_alg=search.OptunaSearch(metric="lss", mode="min"), config={"x": tune.uniform(0, 1)}, num_samples=2)


# -- names and second runs -------------------------------------------------------------------------------------------


def test_the_same_name_a_second_time(tmp_path: Path) -> None:
    root = tmp_path / "results"
    first, second = run(name="exp"), run(name="exp")
    assert second.trials[0].trial_id != first.trials[0].trial_id
    kept = sorted(path.name for path in root.iterdir())
    assert len(kept) == 2
    assert kept[0] == "exp"
    assert kept[1].startswith("exp_20")
    rows = (root / kept[1]).glob("*/result.json")
    assert sum(len(file.read_text().splitlines()) for file in rows) == 4, "nothing of the first is lost"


def test_names_with_slashes_are_folders(tmp_path: Path) -> None:
    run(name="task-1/asha")
    assert (tmp_path / "results" / "task-1" / "asha" / "experiment.json").is_file()
    from hpctune.analysis.listing import list_experiments

    assert [row["name"] for row in list_experiments(tmp_path / "results")] == ["task-1/asha"]


def test_resume_without_a_name_is_of_the_newest_of_that_trainable() -> None:
    run(lambda config: None)
    first = run()
    assert [t.trial_id for t in run(resume=True).trials] == [t.trial_id for t in first.trials]


def test_output_of_all_trials_in_one_file(tmp_path: Path) -> None:
    def speaks(config: dict[str, Any]) -> None:
        print("spoken by", config["x"])

    out, err = tmp_path / "logs" / "out", tmp_path / "logs" / "err"
    run(speaks, config={"x": tune.grid_search([1, 2])}, log_to_file=(str(out), str(err)))
    assert sorted(out.read_text().split()) == sorted(["spoken", "by", "1", "spoken", "by", "2"])


# -- values ----------------------------------------------------------------------------------------------------------


def test_metric_without_mode_runs_and_what_needs_a_mode_asks() -> None:
    found = run(metric="loss")
    assert found.trials[0].last_result["loss"] == 0.25
    with pytest.raises(UsageError, match="mode"):
        found.get_best_trial()
    with pytest.raises(UsageError, match="mode"):
        run(metric="loss", scheduler=schedulers.ASHAScheduler())
    grid = tune.Tuner(
        steps, tune_config=tune.TuneConfig(metric="loss"), run_config=tune.RunConfig(verbose=0), cluster="local"
    ).fit()
    assert grid.get_best_result(mode="min").metrics["loss"] == 0.25  # type: ignore[index]


def test_a_trial_without_a_report_has_what_is_known_of_every_trial() -> None:
    def silent(config: dict[str, Any]) -> None: ...

    last = run(silent, config={"x": 3}).trials[0].last_result
    assert (last["done"], last["config"]) == (True, {"x": 3})
    assert {"trial_id", "experiment_tag", "hostname"} <= set(last)


def test_a_trial_that_failed_or_was_stopped_before_a_report_has_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_FORCE_TRIAL_CLEANUP_S", "1")

    def fails(config: dict[str, Any]) -> None:
        raise ValueError("by design")

    def waits(config: dict[str, Any]) -> None:
        threading.Event().wait()

    assert run(fails, raise_on_failed_trial=False).trials[0].last_result == {}
    at_once = tune.LocalOptions(kill_wait_s=0.5)
    assert run(waits, time_budget_s=1, cluster=at_once).trials[0].last_result == {}


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_may_be_a_flag(verbose: bool) -> None:
    assert len(run(verbose=verbose).trials) == 1


def test_expressions_in_text() -> None:
    space = {
        "a": {"eval": "2 + 2"},
        "b": {"c": {"eval": "spec.config.a * 10"}},
        "d": {"eval": "np.random.uniform(5, 6)"},
    }
    config = run(config=space).trials[0].config
    assert (config["a"], config["b"]["c"]) == (4, 40)
    assert 5 <= config["d"] <= 6


def test_a_default_of_checkpoint_dir_is_kept() -> None:
    def train(config: dict[str, Any], checkpoint_dir: str | None = "from the start") -> None:
        tune.report(given=str(checkpoint_dir))

    assert run(train).trials[0].last_result["given"] == "from the start"


def test_flat_dicts_keep_their_class() -> None:
    assert type(tune.utils.flatten_dict(OrderedDict(a={"b": 1}))) is OrderedDict
    assert type(tune.utils.unflatten_dict(OrderedDict({"a/b": 1}))) is OrderedDict


# -- callbacks and errors --------------------------------------------------------------------------------------------

HEARD: list[str] = []


class FromTheEnvironment(tune.Callback):
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        HEARD.append(trial.trial_id)


@pytest.mark.parametrize("variable", ["TUNE_CALLBACKS", "RAY_TUNE_CALLBACKS", "HPCTUNE_CALLBACKS"])
def test_callbacks_of_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    HEARD.clear()
    monkeypatch.setenv(variable, f"{__name__}.FromTheEnvironment")
    assert [trial.trial_id for trial in run().trials] == HEARD


def test_a_callback_of_the_environment_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_CALLBACKS", "nowhere.Callback")
    with pytest.raises(UsageError, match=r"'nowhere.Callback' of HPCTUNE_CALLBACKS.*No module named 'nowhere'"):
        run(name="exp")
    assert not Path(os.environ["HPCTUNE_RESULT_DIR"], "exp").exists()


def test_a_callback_is_told_the_time_budget() -> None:
    told: dict[str, Any] = {}

    class Told(tune.Callback):
        def setup(self, **info: Any) -> None:
            told.update(info)

    run(callbacks=[Told()], time_budget_s=600)
    assert told["time_budget_s"] == 600


def test_the_analysis_of_an_earlier_run_of_the_same_name_stays_its_own() -> None:
    def train(config: dict[str, Any]) -> None:
        with tune.checkpoint_dir(1) as directory:
            Path(directory, "x").write_text(str(config["x"]))
        tune.report(loss=config["x"])

    folds = [run(train, name="fold", config={"x": x}, metric="loss", mode="min") for x in (1, 2, 3)]
    assert [fold.dataframe()["loss"].tolist() for fold in folds] == [[1], [2], [3]]
    assert [Path(fold.best_checkpoint.path, "x").read_text() for fold in folds] == ["1", "2", "3"]
    rows = [frame["loss"].tolist() for fold in folds for frame in fold.trial_dataframes.values()]
    assert rows == [[1], [2], [3]]
    assert len({fold.best_logdir for fold in folds}) == 3
    assert folds[-1].experiment_path.endswith("/fold")


def test_a_callback_that_cannot_be_pickled_is_called(caplog: pytest.LogCaptureFixture) -> None:
    class Holds(tune.Callback):
        def __init__(self) -> None:
            self.lock, self.ends = threading.Lock(), 0

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            with self.lock:
                self.ends += 1

    holds = Holds()
    analysis = run(name="held", callbacks=[holds])
    assert holds.ends == len(analysis.trials)
    assert "hpctune resume will not call Holds" in caplog.text
    caplog.clear()
    resume_directory(ExperimentPaths(Path(analysis.experiment_path)))
    assert "The callback Holds is not called" in caplog.text


def test_an_error_of_a_callback_is_of_its_own_class() -> None:
    class Fails(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="Callback Fails failed in on_trial_result: KeyError: 'mine'") as caught:
        run(callbacks=[Fails()])
    assert isinstance(caught.value, TuneError)


def test_a_result_error_is_of_the_class_that_was_raised() -> None:
    def fails(config: dict[str, Any]) -> None:
        raise ZeroDivisionError("by design")

    grid = tune.Tuner(fails, run_config=tune.RunConfig(verbose=0), cluster="local").fit()
    assert isinstance(grid.errors[0], ZeroDivisionError)
    assert isinstance(grid.errors[0], TuneError)
    assert "by design" in str(grid.errors[0])


def test_a_trainable_that_cannot_be_pickled_is_refused_at_once() -> None:
    lock = threading.Lock()

    def holds(config: dict[str, Any]) -> None:
        lock.acquire()

    with pytest.raises(TypeError, match=r"cannot be pickled.*because of lock = "):
        tune.Tuner(holds)
