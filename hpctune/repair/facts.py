"""The read model of a check: an experiment folded from its journal, with what its derived files are made from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.records import ErrorInfo
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Trial
from hpctune.output.loggers.pbt_log import GLOBAL_FILE, PolicyLog
from hpctune.storage.layout import ExperimentPaths

Row = Mapping[str, Any]


@dataclass(slots=True)
class Facts:
    """``rows``: the counted results of each trial. ``failures``: its errors, with when they were recorded. ``epoch``:
    of the newest driver. ``checkpoint_rows``: by trial and name, the result with which a checkpoint was saved.
    ``policy_files``: the log of exploits as it should be, by file name."""

    state: ExperimentState
    rows: dict[str, list[Row]] = field(default_factory=dict)
    failures: dict[str, list[tuple[float, ErrorInfo]]] = field(default_factory=dict)
    checkpoint_rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    policy_files: dict[str, bytes] = field(default_factory=dict)
    epoch: int = 0
    driver_host: str = ""

    @property
    def spec(self) -> ExperimentSpec:
        return self.state.spec

    def trial(self, trial_id: str) -> Trial:
        """The trial as it is in the end."""
        return self.state.trials[trial_id]


def gather(spec: ExperimentSpec, recorded: Iterable[e.Recorded]) -> Facts:
    """Fold the journal. Raises what folding facts raises that contradict each other."""
    facts = Facts(ExperimentState(spec))
    with tempfile.TemporaryDirectory(prefix="hpctune-fsck-") as scratch:
        log = PolicyLog(ExperimentPaths(Path(scratch)))
        for each in recorded:
            facts.state.apply(each)
            log.take(each.event, facts.state)
            _note(facts, each.event)
        log.start()
        log.close()
        facts.policy_files = policy_files(Path(scratch))
    return facts


def policy_files(root: Path) -> dict[str, bytes]:
    """The log of exploits in ``root``."""
    found = [*root.glob(GLOBAL_FILE), *root.glob("pbt_policy_*.txt")]
    return {path.name: path.read_bytes() for path in sorted(found) if path.is_file()}


def _note(facts: Facts, event: e.Event) -> None:
    match event:
        case e.DriverStarted():
            facts.epoch, facts.driver_host = max(facts.epoch, event.epoch), event.host
        case e.TrialAdded():
            facts.rows[event.trial_id] = []
        case e.ResultReported():
            if event.verdict is e.Verdict.COUNTED:
                facts.rows[event.run.trial_id].append(event.row)
            if event.checkpoint is not None:
                facts.checkpoint_rows[event.run.trial_id, event.checkpoint.name] = event.row
        case e.TrialReopened(restart=True):
            facts.rows[event.trial_id].clear()
        case e.RetryScheduled() | e.TrialEnded():
            trial = facts.trial(event.trial_id)
            if trial.error is not None:
                facts.failures.setdefault(event.trial_id, []).append((facts.state.last_at, trial.error))
        case _:
            pass
