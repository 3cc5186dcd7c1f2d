"""Aim, with the real package and a repository on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.searches import killed_and_resumed

pytest.importorskip("aim")


@pytest.mark.filterwarnings("ignore")
def test_a_killed_driver_and_a_failed_trial_go_on_in_the_same_runs(tmp_path: Path) -> None:
    import aim
    from aim.sdk.index_manager import RepoIndexManager

    callback = """from hpctune.integration.aim import AimLoggerCallback
callback = AimLoggerCallback(metrics=["loss", "nested/a"])"""
    killed_and_resumed(tmp_path, callback, {})
    repo = aim.Repo(str(tmp_path / "exp"))
    manager = RepoIndexManager.get_index_manager(repo)  # `aim up` does this
    for name in repo.list_all_runs():
        manager.index(name)
    runs = [aim.Run(name, repo=str(tmp_path / "exp")) for name in repo.list_all_runs()]
    assert sorted(run["hparams"]["x"] for run in runs) == [1, 2]
    for run in runs:
        assert run.experiment == "exp"
        assert run["status"] == "TERMINATED"
        tracked = {metric.name: sorted(metric.values.sparse_list()[1]) for metric in run.metrics()}
        own = {name: values for name, values in tracked.items() if not name.startswith("__system__")}
        assert set(own) == {"loss", "nested/a"}
        assert own["nested/a"] == list(range(1, 9))
        assert own["loss"] == sorted(run["hparams"]["x"] / step for step in range(1, 9))
        run.close()
