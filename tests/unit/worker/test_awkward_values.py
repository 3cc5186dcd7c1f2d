"""Results, errors and definitions that are awkward: in themselves, too deep, without a text, in need of an argument."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import StorageError, TrainableError, UsageError
from hpctune.model.records import Outcome
from hpctune.schedulers import PopulationBasedTraining
from hpctune.storage import values
from hpctune.worker import form_of
from tests.support.worker_lab import Lab


def _in_itself() -> Any:
    found: dict[str, Any] = {"a": [1]}
    found["a"].append(found)
    found["b"] = found
    return found


def _deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = {"in": found}
    return found


class _Shy:
    def __str__(self) -> str:
        raise RuntimeError("not me")


@pytest.mark.parametrize("value", [_in_itself(), _deep(5000), [_deep(5000)], _Shy(), {"a": {_Shy()}}])
def test_any_value_becomes_a_line_of_text(value: Any) -> None:
    line = values.dumps({"x": value, "y": 1})
    assert "\n" not in line
    assert json.loads(line)["y"] == 1


def test_what_is_deep_and_sound_is_kept() -> None:
    assert json.loads(values.dumps(_deep(90))) == _deep(90)
    twice = [1]
    assert values.plain((twice, twice)) == [[1], [1]]


@pytest.mark.parametrize("criteria", [{}, {"loss": 2}])
@pytest.mark.parametrize("value", [_in_itself(), _deep(5000), _Shy()])
def test_a_trial_may_report_it(tmp_path: Path, value: Any, criteria: dict[str, Any]) -> None:
    lab = Lab(tmp_path)
    ODD["value"] = value
    end = lab.run(_reports, criteria=criteria)
    assert end.outcome is Outcome.COMPLETED, end
    assert lab.column("loss") == [1, 2]


def test_stop_criteria_look_into_it(tmp_path: Path) -> None:
    for number, value in enumerate((_in_itself(), _deep(5000))):
        ODD["value"] = value
        end = Lab(tmp_path / str(number)).run(_reports, criteria={"odd/none": 2})
        assert end.error is not None
        assert "odd/none" in end.error.message


ODD: dict[str, Any] = {}


def _reports(config: dict[str, Any]) -> None:
    for loss in (1, 2):
        tune.report(loss=loss, odd=ODD["value"])


class _ShyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not me")


def _raises(config: dict[str, Any]) -> None:
    raise _ShyError


def test_an_error_without_a_text_keeps_its_traceback(tmp_path: Path) -> None:
    end = Lab(tmp_path).run(_raises)
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert "in _raises" in end.error.traceback
    assert "RuntimeError" in end.error.message


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StorageError, match="The working directory is gone"):
        tune.run(lambda config: None, storage_path=str(tmp_path / "results"), verbose=0, cluster="local")
    os.chdir(tmp_path)


@pytest.mark.parametrize("draw", [lambda spec, other: 1, lambda spec, *, seed: 1, int.__add__])
def test_a_mutation_that_needs_two_arguments_is_refused(draw: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="a function without arguments"):
        PopulationBasedTraining(hyperparam_mutations={"m": {"lr": draw}})


def test_mutations_without_needs_are_taken() -> None:
    for draw in (lambda: 1, lambda _: 1, lambda x=1: x, lambda *args: 1, dict):
        PopulationBasedTraining(hyperparam_mutations={"lr": draw})


class StatusReporter:
    """As Ray Tune 0.x calls it."""


def _named(config: Any, reporter: Any) -> None: ...
def _annotated(config: Any, rep: StatusReporter) -> None: ...
def _by_text(config: Any, rep: "tune.StatusReporter") -> None: ...  # type: ignore[name-defined]  # noqa: UP037
def _keyword(config: Any, *, reporter: Any) -> None: ...
def _optional(config: Any, reporter: Any = None) -> None: ...


@pytest.mark.parametrize("train", [_named, _annotated, _by_text, _keyword, _optional])
def test_the_old_form_says_that_it_is(train: Any) -> None:
    assert form_of(train) == "reporter"


def _data(config: Any, data: Any) -> None: ...
def _keyword_data(config: Any, *, data: Any) -> None: ...
def _more(config: Any, data: Any, reporter: Any) -> None: ...


@pytest.mark.parametrize("train", [_data, _keyword_data, _more])
def test_an_argument_that_nobody_gives_is_refused(train: Any) -> None:
    with pytest.raises(TrainableError, match=rf"hpctune.with_parameters\({train.__name__}, data=...\)"):
        form_of(train)
    assert form_of(tune.with_parameters(train, data=1)) in ("config", "reporter")


def test_defaults_are_no_needs() -> None:
    assert form_of(lambda config, data=None: None) == "config"


class OfSeveral:
    """As a column of other libraries: one item can only be taken out of one."""

    def item(self) -> None:
        raise ValueError("there are two")

    def __str__(self) -> str:
        return "two"


def test_a_table_is_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert values.plain({"t": table, "s": table["a"]}) == {"t": {"a": [1, 2], "b": ["x", "y"]}, "s": [1, 2]}
    assert values.plain(OfSeveral()) == "two"
