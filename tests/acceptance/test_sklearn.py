"""scikit-learn's searches as trials: the same results as its own, early stopping, and code that uses joblib."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpctune.errors import UsageError
from hpctune.storage.reader import read_experiment
from hpctune.storage.spec_file import find_experiments

pytest.importorskip("sklearn")
import joblib
from scipy.stats import loguniform, norm, randint
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)  # fmt: skip
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

import hpctune as tune
from hpctune.sklearn import TuneGridSearchCV, TuneSearchCV, parallel_backend, register_hpctune

X, Y = make_classification(300, n_features=12, random_state=0)


@pytest.fixture
def here(tmp_path: Path) -> dict[str, Any]:
    return {"cluster": "debug", "storage_path": tmp_path}


def same(ours: Any, plain: Any) -> None:
    assert ours.cv_results_.keys() == plain.cv_results_.keys()
    for name, values in plain.cv_results_.items():
        if not name.endswith("_time"):
            assert list(map(str, ours.cv_results_[name])) == list(map(str, values)), name
    assert ours.best_index_ == plain.best_index_
    assert ours.score(X, Y) == plain.score(X, Y)


def test_a_grid_over_pipelines_with_several_scores_is_scikit_learns(here: dict[str, Any]) -> None:
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    grid = [{"logisticregression__C": [0.1, 1]}, {"standardscaler": ["passthrough", StandardScaler(with_mean=False)]}]
    options: dict[str, Any] = {
        "scoring": ["accuracy", "roc_auc"], "refit": "roc_auc", "return_train_score": True, "cv": 3,
    }  # fmt: skip
    ours = TuneGridSearchCV(pipe, grid, **options, **here).fit(X, Y)
    same(ours, GridSearchCV(pipe, grid, **options).fit(X, Y))
    (experiment,) = find_experiments(here["storage_path"])
    trials = read_experiment(experiment).state.trials.values()
    assert [t.stated.get("logisticregression__C") for t in trials] == [0.1, 1, None, None]
    assert next(iter(trials)).last["mean_test_roc_auc"] == pytest.approx(ours.cv_results_["mean_test_roc_auc"][0])
    assert [path.suffix for path in (experiment / "objects").iterdir()] == [".npy"]


def test_an_estimator_with_a_joblib_of_its_own_is_fitted_again(
    here: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ColumnTransformer([("scaled", StandardScaler(), [0, 1]), ("other", "passthrough", [2, 3])])
    pipe = make_pipeline(columns, RandomForestClassifier(n_estimators=3, random_state=0))
    grid = {"randomforestclassifier__max_depth": [1, 2, 3]}
    ours = TuneGridSearchCV(pipe, grid, cv=2, verbose=1, **here).fit(X, Y)
    assert "of 1 candidates" not in capsys.readouterr().out
    same(ours, GridSearchCV(pipe, grid, cv=2).fit(X, Y))


def test_a_random_search_draws_what_scikit_learn_draws(here: dict[str, Any]) -> None:
    space = {"C": loguniform(1e-3, 10), "fit_intercept": [True, False]}
    cv = ShuffleSplit(2, random_state=3)
    ours = TuneSearchCV(LogisticRegression(), space, n_iter=4, random_state=1, cv=cv, **here).fit(X, Y)
    same(ours, RandomizedSearchCV(LogisticRegression(), space, n_iter=4, random_state=1, cv=cv).fit(X, Y))


def test_a_searcher_and_domains(here: dict[str, Any]) -> None:
    space = {"C": tune.loguniform(1e-3, 10), "fit_intercept": [True, False], "max_iter": (50, 90)}
    search = TuneSearchCV(
        LogisticRegression(), space, n_trials=5, search_optimization="tpe", random_state=1, cv=2, **here
    ).fit(X, Y)
    assert len(search.cv_results_["params"]) == 5
    assert all(1e-3 <= each["C"] <= 10 and 50 <= each["max_iter"] <= 90 for each in search.cv_results_["params"])
    assert search.best_params_["C"] == search.best_estimator_.C


def test_bad_candidates_end_early(here: dict[str, Any]) -> None:
    pipe = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    search = TuneSearchCV(
        pipe, {"sgdclassifier__alpha": [1e-4, 1e-3, 1e3, 1e4, 1e5, 1e6]}, n_trials=6, early_stopping=True, max_iters=9,
        random_state=0, cv=2, **here,
    ).fit(X, Y)  # fmt: skip
    reached = search.cv_results_["training_iteration"]
    assert max(reached) == 9
    assert min(reached) < 9
    assert reached[search.best_index_] == 9


def test_a_warm_start_ends_where_a_whole_fit_does(here: dict[str, Any]) -> None:
    model = GradientBoostingClassifier(n_estimators=12, random_state=0)
    grid = {"learning_rate": [0.1, 0.5], "n_estimators": [4, 12]}
    ours = TuneGridSearchCV(model, grid, early_stopping="fifo", max_iters=4, cv=2, **here).fit(X, Y)
    plain = GridSearchCV(model, grid, cv=2).fit(X, Y)
    assert list(ours.cv_results_["training_iteration"]) == [4] * 4
    assert np.allclose(ours.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])


def test_what_cannot_be_stopped_early_is_refused_before_any_trial(here: dict[str, Any]) -> None:
    search = TuneGridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 2]}, early_stopping=True, **here)
    with pytest.raises(UsageError, match="KNeighborsClassifier has none of these"):
        search.fit(X, Y)
    assert not find_experiments(here["storage_path"])


@pytest.mark.parametrize("space", [{"C": norm(0, 1)}, {"C": 3}, [{"C": [1]}]])
def test_a_space_that_a_searcher_cannot_search_is_refused(space: Any, here: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"only the random search|takes a list|Only the random search"):
        TuneSearchCV(LogisticRegression(), space, search_optimization="tpe", **here).fit(X, Y)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_a_fit_that_fails_counts_as_scikit_learn_counts_it(here: dict[str, Any]) -> None:
    grid = {"C": [1.0, -1.0]}
    with pytest.warns(match="2 fits failed out of a total of 4"):
        search = TuneGridSearchCV(LogisticRegression(), grid, cv=2, **here).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    with pytest.raises(Exception, match="C"):
        TuneGridSearchCV(LogisticRegression(), {"C": [-1.0]}, cv=2, error_score="raise", **here).fit(X, Y)


def test_an_unmodified_search_in_joblibs_backend(tmp_path: Path) -> None:
    register_hpctune()
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2, n_jobs=-1)
    with joblib.parallel_backend("hpctune", cluster="debug", storage_path=tmp_path, verbosity=0):
        search.fit(X, Y)
    same(search, GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2).fit(X, Y))
    (experiment,) = find_experiments(tmp_path)
    assert len(read_experiment(experiment).state.trials) == 4


def _searches() -> dict[str, Any]:
    """Searches as people write them, without anything of ours."""
    pipe = Pipeline([("scale", StandardScaler()), ("pca", PCA()), ("clf", SVC())])
    others = [{"pca__n_components": [2], "clf__C": [0.1, 1]}, {"clf": [LogisticRegression()], "clf__C": [1]}]
    scores = {"acc": "accuracy", "f1": make_scorer(f1_score, average="macro")}
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    forest, drawn = RandomForestClassifier(random_state=0), {"n_estimators": randint(2, 5), "max_depth": [2, None]}
    return {
        "grids of a pipeline": GridSearchCV(pipe, others, cv=3, n_jobs=-1, verbose=1),
        "scores": GridSearchCV(SVC(), {"C": [0.1, 1]}, scoring=scores, refit="f1", cv=folds, return_train_score=True),
        "random": RandomizedSearchCV(forest, drawn, n_iter=3, cv=2, random_state=1, n_jobs=-1),
        "halving": HalvingGridSearchCV(SVC(), {"C": [0.1, 1, 10]}, cv=2, random_state=0, min_resources=20),
        "a fit that fails": GridSearchCV(SVC(), {"kernel": ["linear", "nonsense"]}, cv=2, error_score=0, n_jobs=2),
    }


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_shapes_of_searches_in_joblibs_backend(tmp_path: Path) -> None:
    x, y = X[::3], Y[::3]
    theirs = {name: search.fit(x, y) for name, search in _searches().items()}
    inner = GridSearchCV(SVC(), {"C": [1, 2]}, cv=2)
    outer = cross_val_score(inner, x, y, cv=2)
    with parallel_backend(cluster="debug", storage_path=tmp_path, verbosity=0):
        for name, search in _searches().items():
            search.fit(x, y)
            assert str(search.best_params_) == str(theirs[name].best_params_)
            for key in (key for key in search.cv_results_ if key.startswith("mean_test")):
                assert search.cv_results_[key] == pytest.approx(theirs[name].cv_results_[key]), name
        assert cross_val_score(inner, x, y, cv=2, n_jobs=-1) == pytest.approx(outer)


def test_any_code_with_joblib_and_an_error_in_a_task(tmp_path: Path) -> None:
    with parallel_backend(cluster="debug", storage_path=tmp_path, verbosity=0):
        assert joblib.Parallel()(joblib.delayed(pow)(n, 2) for n in range(3)) == [0, 1, 4]
        with pytest.raises(ValueError, match="invalid literal"):
            joblib.Parallel()(joblib.delayed(int)(text) for text in ("1", "x"))
    with pytest.raises(UsageError, match="wrong_option"), parallel_backend(wrong_option=1):
        pass


@pytest.mark.nightly
def test_in_processes_of_their_own(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    script.write_text(
        "from sklearn.datasets import load_iris\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from hpctune.sklearn import TuneGridSearchCV\n"
        "class Mine(LogisticRegression):\n    pass\n"
        "X, y = load_iris(return_X_y=True)\n"
        "search = TuneGridSearchCV(Mine(max_iter=500), {'C': [0.01, 1]}, cv=2, cluster='local', storage_path='r')\n"
        "print(search.fit(X, y).best_params_)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("{'C': 1}\n")


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(here: dict[str, Any]) -> None:
    results = check_estimator(
        TuneGridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2, **here), on_fail=None, on_skip=None
    )
    failed = [(each["check_name"], each["exception"]) for each in results if each["status"] == "failed"]
    assert not failed
    assert len([each for each in results if each["status"] == "passed"]) > 40
