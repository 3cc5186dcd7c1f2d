"""What is put back into a journal with a hole, and what is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import Outcome, ResultRow
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.repair.mend import Mended, mend

SPEC = ExperimentSpec("abcde", "exp", 0.0, "train", metric="loss", mode="min", num_samples=1)
ID = "abcde_00000"
FIRST, SECOND = RunKey(ID, 1, 0), RunKey(ID, 2, 0)
ADDED = e.TrialAdded(ID, 0, "train", "dir", "0", {}, {}, Resources())


def row(run: RunKey, iteration: int) -> ResultRow:
    return ResultRow(run, 0, {"training_iteration": iteration, "attempt": run.attempt, "loss": 1.0})


@dataclass
class Files:
    """What the files say: ``rows`` is result.json, ``runs`` the run files; ``over``: no run or control file is left."""

    rows: Sequence[ResultRow] = ()
    runs: dict[RunKey, Sequence[ResultRow]] = field(default_factory=dict)
    over: bool = False

    def added(self, index: int, identity: str) -> e.TrialAdded | None:
        return None

    def finalized(self, trial: Trial) -> bool:
        return self.over

    def reported(self, trial: Trial, run: RunKey | None) -> Sequence[ResultRow]:
        return self.rows if run is None else self.runs.get(run, ())


def mended(files: Files, *events: e.Event) -> Mended:
    return mend(SPEC, [lambda: [e.Recorded(float(at), event) for at, event in enumerate(events)]], files)


QUEUED = (ADDED, e.SubmitRequested(ID, 1), e.SubmitAcknowledged(ID, 1, "7"))
TAKEN_OVER = (
    *QUEUED, e.RunStarted(FIRST, "7", "n", 1), *(e.ResultReported(FIRST, n, row(FIRST, n).row) for n in (1, 2, 3)),
    e.ExploitRequested(ID, "abcde_00001", "other/checkpoint_000001", 1, {}, {}, "", "0"),
    e.RunEnded(FIRST, Outcome.REPLACED, ""), e.RetryScheduled(ID, "it goes on from another trial's", False),
    e.SubmitRequested(ID, 2), e.SubmitAcknowledged(ID, 2, "8"),
)  # fmt: skip
"""Its second attempt waits, and goes on from an iteration behind those that were counted."""


def put_back(result: Mended, wanted: type[e.Event]) -> list[e.Event]:
    return [recorded.event for recorded in result.parts[0] if isinstance(recorded.event, wanted)]


def test_a_trial_of_whose_run_nothing_is_left_gets_its_results_back() -> None:
    result = mended(Files([row(FIRST, 1), row(FIRST, 2)], over=True), *QUEUED)
    assert [r.row["training_iteration"] for r in put_back(result, e.ResultReported)] == [1, 2]  # type: ignore[attr-defined]
    (end,) = put_back(result, e.TrialEnded)
    assert end == e.TrialEnded(ID, Phase.TERMINATED, "its end was lost from the journal")


def test_a_run_whose_file_is_there_speaks_for_itself() -> None:
    result = mended(Files([row(FIRST, 1)], {FIRST: [row(FIRST, 1)]}), *QUEUED)
    assert result.restored == 0


def test_a_job_that_waits_is_left_in_peace() -> None:
    """What an earlier attempt has reported, and the trial went back behind, is no sign that anything is lost."""
    result = mended(Files([row(FIRST, n) for n in (1, 2, 3)]), *TAKEN_OVER)
    assert (result.restored, result.left_out) == (0, [])


def test_results_of_an_attempt_whose_beginning_is_lost_come_back() -> None:
    counted = [*(row(FIRST, n) for n in (1, 2, 3)), row(SECOND, 2), row(SECOND, 3)]
    result = mended(Files(counted, over=True), *TAKEN_OVER)
    found = [(r.run, r.row["training_iteration"]) for r in put_back(result, e.ResultReported)]  # type: ignore[attr-defined]
    assert found == [(FIRST, 1), (FIRST, 2), (FIRST, 3), (SECOND, 2), (SECOND, 3)]
