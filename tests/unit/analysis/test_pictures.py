"""The numbers of each picture, and the pictures themselves."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.analysis import ExperimentAnalysis, ResultGrid
from hpctune.analysis.pictures.axes import axes_of, axis
from hpctune.analysis.pictures.curves import history, learning_curves, thinned
from hpctune.analysis.pictures.importance import importance
from hpctune.analysis.pictures.parameters import MAX_AXES, parallel, slices, surface
from hpctune.analysis.pictures.pareto import front, pareto
from hpctune.analysis.pictures.trials import PlotData, State, plot_data, state_of
from hpctune.analysis.pictures.write import figure, save
from hpctune.errors import MetricError, MissingPackageError, UsageError
from hpctune.model.resources import Resources
from hpctune.model.trial import Phase, Trial
from hpctune.space.describe import described
from tests.support.output_support import usual
from tests.support.picture_support import data_of, search

EMPTY = PlotData("exp", [], "loss", "min")


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> ExperimentAnalysis:
    return ExperimentAnalysis(search(tmp_path_factory.mktemp("pictures") / "exp"))


# -- how a trial stands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"phase": Phase.TERMINATED}, State.COMPLETED),
        ({"phase": Phase.TERMINATED, "stop": "worse than the cutoff"}, State.STOPPED),
        (
            {
                "phase": Phase.TERMINATED,
                "stop": "has reached max_t",
                "ends_at_value": 9.0,
                "last": {"training_iteration": 9},
            },
            State.COMPLETED,
        ),
        (
            {"phase": Phase.TERMINATED, "stop": "rung", "ends_at_value": 9.0, "last": {"training_iteration": 3}},
            State.STOPPED,
        ),
        ({"phase": Phase.ERROR, "stop": "enough"}, State.FAILED),
        ({"phase": Phase.RUNNING}, State.RUNNING),
        ({"phase": Phase.PAUSED}, State.WAITING),
    ],
)
def test_how_a_trial_stands(given: dict[str, Any], state: State) -> None:
    assert state_of(Trial("t", 0, "t", "t", "", {}, {}, Resources(), 1.0, **given)) is state


# -- history and curves ------------------------------------------------------------------------------------------------


def test_the_best_so_far_skips_what_is_no_number() -> None:
    data = data_of(({}, 3.0), ({}, math.nan), ({}, 1.0), ({}, "broken"), ({}, 2.0), ({}, math.inf))
    assert [(p.x, p.value, p.best, p.trial) for p in history(data).points] == [
        (1.0, 3.0, 3.0, "t0"),
        (2.0, 1.0, 1.0, "t2"),
        (3.0, 2.0, 1.0, "t4"),
    ]
    assert [p.best for p in history(data, mode="max").points] == [3.0, 3.0, 3.0]
    assert history(data, by="time").points[2].x == pytest.approx(4.0 / 3600)
    with pytest.raises(UsageError, match="by must be 'trials' or 'time'"):
        history(data, by="week")


def test_curves_leave_gaps_and_name_the_best(tmp_path: Path) -> None:
    made = learning_curves(ExperimentAnalysis(usual(tmp_path / "exp").paths.root).plot_data())
    assert {c.trial[-1]: c.points for c in made.curves} == {
        "0": [(1.0, 3.0), (2.0, 1.0)],
        "1": [(1.0, 0.25), (2.0, 2.0)],
        "3": [(1.0, 5.0)],
    }, "the third reported NaN only, the last nothing"
    assert made.best == "1f3a9_00000"
    other = learning_curves(ExperimentAnalysis(tmp_path / "exp").plot_data(), "eval/acc", step="time_total_s")
    assert other.curves[0].points == [(2.0, 0.1), (4.0, 0.6)]
    assert other.best is None, "nobody said whether a high eval/acc is better"


def test_a_thinned_curve_keeps_its_ends_and_its_peaks() -> None:
    points = [(float(n), 0.0) for n in range(10_000)]
    points[5_432] = (5_432.0, 9.0)
    points[77] = (77.0, -9.0)
    kept = thinned(points, 100)
    assert len(kept) <= 100
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert {points[77], points[5_432]} <= set(kept)
    assert kept == sorted(kept)
    assert thinned(points[:3], 2) == [points[0], points[2]]


# -- parameters --------------------------------------------------------------------------------------------------------


def test_the_search_space_says_which_axes_are_logarithmic() -> None:
    space = {"lr": tune.loguniform(1e-5, 1e-1), "net": {"drop": tune.uniform(0, 1)}, "odd": tune.sample_from(len)}
    trials = [({"lr": 2e-3, "net": {"drop": d}, "odd": d}, 1.0) for d in (0.001, 0.5)]
    trials.append(({"lr": 3e-3, "net": {"drop": 0.2}, "odd": 0.1}, 2.0))
    drawn = {a.name: a.log for a in axes_of(data_of(*trials, search_space=described(space)))}
    assert drawn == {"lr": True, "net/drop": False, "odd": True}
    assert {a.name: a.log for a in axes_of(data_of(*trials))} == {"lr": False, "net/drop": True, "odd": True}


def test_axes_of_all_kinds_of_values() -> None:
    assert axis("lr", [1e-5, 1e-2, 1e-1]).log
    assert not axis("lr", [1e-5, -1e-2]).log
    assert not axis("x", [0, 10**400]).log, "greater than any float"
    mixed = axis("x", ["b", 2, True, 10, None, [1, 2], math.nan])
    assert mixed.categories == ["2", "10", "None", "True", "[1, 2]", "b", "nan"]
    assert mixed.places == [5.0, 0.0, 3.0, 1.0, 2.0, 4.0, 6.0]
    assert axis("x", [1.0, math.nan, math.inf, 2.0]).places == [1.0, None, None, 2.0]
    assert axis("x", [True, False]).categories == ["False", "True"]
    assert len(axis("x", ["long" * 99]).categories or [""]) == 1
    assert not axis("x", [3, 3]).varies
    log = axis("x", [1e-4, 1.0])
    assert (log.unit(1e-2), log.place(0.5)) == (pytest.approx(0.5), pytest.approx(1e-2))
    assert axis("x", [3, 3]).unit(3) == 0.5


def test_parallel_coordinates_show_what_varies_and_the_metric_last() -> None:
    data = data_of(
        ({"a": 1, "net": {"w": 8}, "same": "x"}, 1.0),
        ({"a": 2, "net": {"w": 8}, "same": "x", "extra": 1}, 2.0),
        ({"a": 3, "net": {"w": 9}, "same": "x"}, None),
    )
    shown = parallel(data)
    assert [(a.name, a.places) for a in shown.axes] == [("a", [1.0, 2.0]), ("extra", [None, 1.0]), ("loss", [1.0, 2.0])]
    assert [a.name for a in parallel(data, params=["same", "net/w"]).axes] == ["same", "net/w", "loss"]
    assert [a.name for a in slices(data).axes] == ["a", "extra"]
    with pytest.raises(UsageError, match=r"no parameter 'w'. Did you mean 'net/w'. There are: a, net/w, same, extra\."):
        parallel(data, params=["w"])


def test_a_parameter_of_trials_without_a_value_leaves_an_empty_picture() -> None:
    data = data_of(({"a": 1}, 1.0), ({"a": 2, "b": 3}, None))
    assert parallel(data, params=["b"]).axes[0].places == [None]
    assert slices(data, params=["b"]).axes[0].places == [None]
    assert surface(data, "a", "b").grid == []
    for picture in (parallel(data, params=["b"]), slices(data, params=["b"]), surface(data, "a", "b")):
        assert figure(picture).axes


def test_of_many_parameters_the_important_ones_are_shown() -> None:
    rng = random.Random(2)
    configs = [{f"p{k}": rng.random() for k in range(MAX_AXES + 30)} for _ in range(100)]
    data = data_of(*((c, c["p45"] + 0.2 * rng.random()) for c in configs))
    for picture in (parallel(data), slices(data)):
        assert "p45" in [a.name for a in picture.axes]
        assert picture.left_out == 30
    names = [f"p{k}" for k in range(25)]
    assert [a.name for a in slices(data, params=names).axes] == names, "named ones are all shown"
    assert "the 20 most important of 50 parameters" in figure(parallel(data)).axes[0].get_title()


def test_a_surface_goes_through_the_trials() -> None:
    data = data_of(*(({"x": x, "y": y}, x + 2 * y) for x in (0.0, 1.0) for y in (0.0, 1.0)), ({"x": 5}, 1.0))
    made = surface(data, "x", "y", size=3)
    assert len(made.values) == 4, "the last trial has no y"
    corners = [made.grid[0][0], made.grid[0][-1], made.grid[-1][0], made.grid[-1][-1]]
    assert corners == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=0.01)
    assert made.grid[1][1] == pytest.approx(1.5)
    with pytest.raises(UsageError, match="two different parameters"):
        surface(data, "x", "x")


# -- importance --------------------------------------------------------------------------------------------------------


def test_importance_finds_what_matters_whatever_its_shape() -> None:
    rng = random.Random(3)
    configs = [
        {"line": rng.random(), "hill": rng.uniform(-1, 1), "kind": rng.choice("abc"), "noise": rng.random()}
        for _ in range(400)
    ]
    trials = [(c, 0.5 * c["line"] + c["hill"] ** 2 + (0.4 if c["kind"] == "b" else 0.0)) for c in configs]
    trials[5] = (configs[5], 1e30)
    shares = dict(importance(data_of(*trials)).shares)
    assert shares["hill"] > shares["line"] > 0.05
    assert shares["kind"] > 0.1
    assert shares["noise"] < 0.03
    assert 0.8 < sum(shares.values()) < 1.1


def test_importance_of_too_little() -> None:
    assert importance(data_of(({"x": 1}, 1.0), ({"x": 2}, 2.0))).shares == []
    assert importance(data_of(*(({"x": n}, 1.0) for n in range(9)))).shares == [("x", 0.0)], "the metric is constant"
    every = importance(data_of(*(({"id": f"run{n}", "x": 0}, float(n)) for n in range(12))))
    assert [name for name, _ in every.shares] == ["id"], "x is the same everywhere"
    assert importance(EMPTY).trials == 0


# -- Pareto fronts -----------------------------------------------------------------------------------------------------


def test_the_front_of_two_metrics() -> None:
    points = [(1.0, 5.0), (2.0, 2.0), (3.0, 3.0), (5.0, 1.0), (2.0, 2.0), (1.0, 6.0)]
    assert front(points, ["min", "min"]) == [0, 1, 4, 3], "equal ones do not beat each other"
    assert front(points, ["max", "max"]) == [5, 2, 3]
    rng = random.Random(1)
    many = [(rng.randint(0, 9), rng.randint(0, 9)) for _ in range(200)]
    beaten = {n for n, a in enumerate(many) for b in many if b != a and b[0] >= a[0] and b[1] <= a[1]}
    assert set(front(many, ["max", "min"])) == set(range(200)) - beaten


def test_a_front_needs_two_metrics_and_their_modes(analysis: ExperimentAnalysis) -> None:
    data = analysis.plot_data()
    assert pareto(data, ["loss", "latency"], [None, "min"]).modes == ("min", "min")
    with pytest.raises(UsageError, match="mode for 'latency'"):
        pareto(data, ["loss", "latency"])
    with pytest.raises(UsageError, match="two different metrics, not loss, loss"):
        pareto(data, ["loss", "loss"])
    with pytest.raises(UsageError, match="a mode for each of its two metrics, not 1"):
        pareto(data, ["loss", "latency"], ["min"])


# -- drawn -------------------------------------------------------------------------------------------------------------


def _all_of(data: PlotData) -> list[object]:
    names = list(data.trials[0].params)[:2] if data.trials else []
    return [
        history(data),
        learning_curves(data),
        importance(data),
        parallel(data),
        slices(data),
        pareto(data, ["loss", "training_iteration"], ["min", "min"]),
        *([surface(data, *names)] if len(names) == 2 else []),
    ]


HARD = [
    EMPTY,
    pytest.param(data_of(({"a": 1, "b": 2}, None)), marks=pytest.mark.nightly),
    pytest.param(data_of(({"a": 1, "b": "$x_{$ <b>"}, 1.0)), marks=pytest.mark.nightly),
    data_of(
        *(({"a": n % 2, "b": ["x", None, 3, math.nan][n % 4]}, math.inf if n == 3 else float(n)) for n in range(9))
    ),
    data_of(({"a$": True, "<i>b</i>": {}}, 1.0), ({"a$": False, "c": [1]}, 1.0)),
]


@pytest.mark.parametrize("interactive", [False, True], ids=["static", "interactive"])
@pytest.mark.parametrize("data", HARD, ids=["empty", "no-value", "one", "mixed", "odd-names"])
def test_every_picture_of_hard_data(data: PlotData, interactive: bool, tmp_path: Path) -> None:
    if interactive:
        pytest.importorskip("plotly")
    for picture in _all_of(data):
        made = figure(picture, interactive=interactive)
        assert made.to_json() if interactive else made.canvas.draw() is None


def test_the_methods_of_an_analysis_and_a_grid(analysis: ExperimentAnalysis, tmp_path: Path) -> None:
    grid = ResultGrid(analysis)
    for shown in (
        analysis.plot_history(by="time"),
        analysis.plot_parallel_coordinates(params=["lr", "net/act"]),
        grid.plot_learning_curves(),
        grid.plot_importance(),
        grid.plot_slices(),
        grid.plot_contour("lr", "dropout"),
        grid.plot_pareto_front(["loss", "latency"], ["min", "min"]),
        grid.plot_timeline(),
    ):
        assert shown.axes
    assert shown._repr_png_().startswith(b"\x89PNG")
    pytest.importorskip("plotly")
    assert analysis.plot_contour("lr", "net/act", interactive=True).data


def test_files_by_their_names(analysis: ExperimentAnalysis, tmp_path: Path) -> None:
    picture = importance(analysis.plot_data())
    starts = {"a.png": b"\x89PNG", "b.SVG": b"<?xml", "c.pdf": b"%PDF"}
    for name, start in starts.items():
        assert save(picture, tmp_path / name).read_bytes().startswith(start)
    for name, why in (("a.bmp", "one of these endings"), ("a", "one of these endings"), ("no/a.png", "no folder")):
        with pytest.raises(UsageError, match=why):
            save(picture, tmp_path / name)


def test_what_is_missing_is_told(analysis: ExperimentAnalysis, monkeypatch: pytest.MonkeyPatch) -> None:
    data = analysis.plot_data()
    with pytest.raises(MetricError, match="lost"):
        history(data, "lost", "min")
    with pytest.raises(UsageError, match=r"needs a metric.*Reported: loss"):
        history(plot_data("exp", [t.value for t in data.trials], {}))
    with pytest.raises(UsageError, match="mode must be 'min' or 'max', not 'up'"):
        history(data, mode="up")
    for other in (learning_curves, parallel):
        with pytest.raises(UsageError, match="mode must be 'min' or 'max', not 'up'"):
            other(data, mode="up")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "plotly", None)
    for interactive in (False, True):
        with pytest.raises(MissingPackageError, match="hpctune\\[plots\\]"):
            figure(history(data), interactive=interactive)
