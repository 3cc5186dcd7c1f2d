"""What the tests record is what is read."""

from __future__ import annotations

from pathlib import Path

from hpctune.storage.reader import read_experiment
from tests.support.output_support import usual


def test_what_is_recorded_is_what_is_read(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    view = read_experiment(tmp_path / "exp", with_rows=True)
    assert {i: t.phase for i, t in view.state.trials.items()} == {i: t.phase for i, t in made.state.trials.items()}
    assert [len([r for r in view.rows if r.trial_id == i]) for i in view.state.trials] == [2, 2, 1, 1, 0]
