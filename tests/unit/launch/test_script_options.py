"""SlurmOptions at the top level of a script."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.launch import script_options
from hpctune.launch.options import RunOptions
from hpctune.launch.script_options import with_top_level_options

DEFINED = SlurmOptions(partition="gpu", time=60)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(script_options, "slurm_is_here", lambda environ: True)
    return module


def test_they_hold_if_nothing_else_is_given(script: ModuleType) -> None:
    script.slurm = DEFINED  # type: ignore[attr-defined]
    for options in (RunOptions(), RunOptions(cluster="slurm"), RunOptions(cluster="auto")):
        assert with_top_level_options(options, None).slurm is DEFINED
    assert with_top_level_options(RunOptions(cluster="local"), "slurm").slurm is DEFINED


def test_what_is_passed_wins(script: ModuleType) -> None:
    script.slurm = DEFINED  # type: ignore[attr-defined]
    own = SlurmOptions(partition="other")
    assert with_top_level_options(RunOptions(slurm=own), None).slurm is own
    assert with_top_level_options(RunOptions(cluster=own), None).slurm is None


def test_elsewhere_than_on_slurm_they_mean_nothing(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    script.slurm = DEFINED  # type: ignore[attr-defined]
    for options in (RunOptions(cluster="local"), RunOptions(cluster=LocalOptions())):
        assert with_top_level_options(options, None).slurm is None
    assert with_top_level_options(RunOptions(), "debug").slurm is None
    monkeypatch.setattr(script_options, "slurm_is_here", lambda environ: False)
    assert with_top_level_options(RunOptions(), None).slurm is None


def test_other_names_are_told(script: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    script.gpu_jobs = DEFINED  # type: ignore[attr-defined]
    assert with_top_level_options(RunOptions(), None).slurm is None
    assert "The SlurmOptions in 'gpu_jobs' have no effect. Pass them: Tuner(slurm=gpu_jobs)." in caplog.text
