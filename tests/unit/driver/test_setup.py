"""Names and directories of trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpctune.driver.setup import DriverSetup, TrialNamer, ray_dirname
from hpctune.errors import TuneError, UsageError
from hpctune.model.events import TrialAdded
from hpctune.model.spec import ExperimentSpec
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search.base import Suggestion
from hpctune.space.tags import experiment_tag
from hpctune.storage.layout import RESERVED, ExperimentPaths


def added(root: Path, taken: set[str] | None = None, **creators: Callable[[Any], str]) -> TrialAdded:
    spec = ExperimentSpec("abcde", "exp", 0.0, "train")
    setup = DriverSetup(bind_search=lambda n, seed: None, scheduler=FIFOScheduler(), **creators)  # type: ignore[arg-type,return-value]
    namer = TrialNamer(ExperimentPaths(root), spec, setup, experiment_tag, taken or set())
    return namer(3, "abcde_00003", Suggestion({"lr": 0.1, "dir": "/a b"}, {"lr": 0.1, "dir": "/a b"}))


def test_the_usual_names(tmp_path: Path) -> None:
    trial = added(tmp_path)
    assert trial.name == "train_abcde_00003"
    assert trial.dirname == "train_abcde_00003_3_dir-a_b_lr-0.1"


def test_the_names_of_ray_tune(tmp_path: Path) -> None:
    assert added(tmp_path, trial_dirname_creator=ray_dirname).dirname == "train_abcde_00003_3_dir=a_b,lr=0.1"


def test_a_name_that_another_trial_has_is_made_unique(tmp_path: Path) -> None:
    trial = added(tmp_path, {"same"}, trial_dirname_creator=lambda t: "same")
    assert trial.dirname == "same_abcde_00003"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_trial_takes_a_name_of_the_experiments_own(tmp_path: Path, name: str) -> None:
    assert added(tmp_path, trial_dirname_creator=lambda t: name).dirname == f"{name}_abcde_00003"


@pytest.mark.parametrize("name", ["a/b", "..", ".", "x" * 201, "\N{SNOWMAN}" * 70, "a\0b"])
def test_impossible_directories(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="What trial_dirname_creator returns m"):
        added(tmp_path, trial_dirname_creator=lambda t: name)


def test_impossible_names_and_failing_creators(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trial_name_creator must return"):
        added(tmp_path, trial_name_creator=lambda t: "a\0b")
    with pytest.raises(TuneError, match="trial_name_creator failed for trial"):
        added(tmp_path, trial_name_creator=lambda t: t.nothing_of_the_kind)
