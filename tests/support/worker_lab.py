"""One trial whose driver is the test, run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.model.ids import RunKey
from hpctune.model.records import Control, Exit, ResultRow, RunRecord
from hpctune.model.resources import Resources
from hpctune.storage import bundle, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail
from hpctune.worker.main import run_attempt


class Lab:
    """An experiment directory with one trial."""

    def __init__(self, root: Path) -> None:
        self.paths = ExperimentPaths(root / "experiment")
        self.trial = self.paths.trial("trial")
        self.trial.root.mkdir(parents=True)

    def publish(
        self, trainable: Any, config: Mapping[str, Any] | None = None, attempt: int = 1, **control: Any
    ) -> None:
        """Write the bundle and the control file."""
        bundle.save(self.paths, trainable, None)
        given = {"config": dict(config or {}), "resources": Resources().to_json(), **control}
        control_file.publish(self.trial.control, Control("e", "t_00000", "name", "0", attempt, **given))

    def run(self, trainable: Any, config: Mapping[str, Any] | None = None, attempt: int = 1, **control: Any) -> Exit:
        """Run an attempt to its end."""
        self.publish(trainable, config, attempt, **control)
        assert run_attempt(self.paths.root, "trial", attempt) == 0
        return self.exit(attempt)

    def exit(self, attempt: int = 1) -> Exit:
        """The attempt's exit record; fails where there is none."""
        end = self.records(attempt)[-1]
        assert isinstance(end, Exit), end
        return end

    def records(self, attempt: int = 1) -> list[RunRecord]:
        """All that the attempt's first run wrote."""
        return RunTail(self.trial.run(attempt, 0), RunKey("t_00000", attempt, 0)).read()

    def results(self, attempt: int = 1) -> list[ResultRow]:
        """Its results."""
        return [r for r in self.records(attempt) if isinstance(r, ResultRow)]

    def column(self, name: str, attempt: int = 1) -> list[Any]:
        """One field of its results."""
        return [r.row[name] for r in self.results(attempt)]
