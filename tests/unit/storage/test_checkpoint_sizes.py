"""The size of a checkpoint can be found out again from its directory."""

from __future__ import annotations

from pathlib import Path

from hpctune.model.ids import RunKey
from hpctune.repair.evidence import DiskEvidence
from hpctune.storage import checkpoints
from hpctune.storage.checkpoints import Progress
from hpctune.storage.layout import ExperimentPaths


def test_bytes_of_a_saved_checkpoint(tmp_path: Path) -> None:
    trial = ExperimentPaths(tmp_path / "exp").trial("t0")
    trial.root.mkdir(parents=True)
    source = tmp_path / "model"
    (source / "layers").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"x" * 1000)
    (source / "layers" / "b.bin").write_bytes(b"y" * 234)
    (source / "last").symlink_to("a.bin")
    saved = checkpoints.persist(source, trial, RunKey("t0", 1, 0), Progress(3))
    assert saved.bytes == 1234
    assert checkpoints.bytes_in(trial.checkpoint(saved.name)) == 1234


def test_what_is_rebuilt_from_results_knows_the_size(tmp_path: Path) -> None:
    from tests.support.output_support import Recorder

    made = Recorder(tmp_path / "exp")
    made.start(made.add(x=1))
    trial = made.state.trials["1f3a9_00000"]
    folder = made.paths.trial(trial.dirname)
    run = RunKey(trial.trial_id, 1, 0)
    source = tmp_path / "model"
    source.mkdir()
    (source / "a.bin").write_bytes(b"x" * 321)
    saved = checkpoints.persist(source, folder, run, Progress(2))
    (folder.root / "result.json").write_text(
        '{"training_iteration": 1, "attempt": 1}\n{"training_iteration": 2, "attempt": 1}\n'
    )
    rows = DiskEvidence(made.paths, made.spec).reported(trial, None)
    assert [(row.checkpoint, row.checkpoint_bytes) for row in rows] == [(None, None), (saved.name, 321)]
