"""The parts of fsck that are functions of what they are given."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.records import ResultRow
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Trial
from hpctune.repair.checks.job import JobsSeen, check_jobs
from hpctune.repair.checks.own import Entry, check_ownership
from hpctune.repair.checks.trial import Liveness, check_trial, progress_of
from hpctune.repair.facts import Facts, gather
from hpctune.repair.findings import CancelJobs, Finding, RevokeRun, SetMode
from hpctune.repair.mend import JournalRepairer, Mended
from hpctune.repair.perform import Repairer
from hpctune.repair.quarantine import Quarantine
from hpctune.repair.segments import read
from hpctune.storage import codec, journal, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail

JOURNALS = Path(__file__).parents[2] / "journals"
FROZEN = sorted(p.parent for p in JOURNALS.glob("*/expected.json"))


class Nothing:
    """No other file knows anything."""

    def added(self, index: int, identity: str) -> e.TrialAdded | None:
        return None

    def finalized(self, trial: Trial) -> bool:
        return False

    def reported(self, trial: Trial, run: RunKey | None) -> Sequence[ResultRow]:
        return []


def mended(spec: ExperimentSpec, facts: Sequence[e.Recorded]) -> Mended:
    mender = JournalRepairer(spec, Nothing())
    mender.part(facts)
    return mender.finish()


@pytest.fixture(params=FROZEN, ids=lambda p: p.name)
def frozen(request: pytest.FixtureRequest) -> tuple[ExperimentSpec, list[e.Recorded]]:
    paths = ExperimentPaths(request.param)
    facts = list(journal.read(paths.journal, sealed_ok=True))
    return spec_file.read(paths), facts[:400]


def test_a_sound_journal_is_left_as_it_is(frozen: tuple[ExperimentSpec, list[e.Recorded]]) -> None:
    spec, facts = frozen
    result = mended(spec, facts)
    assert result.parts == [facts]
    assert (result.restored, result.left_out) == (0, [])


def holes(facts: list[e.Recorded]) -> Iterator[list[e.Recorded]]:
    """The journal without each one of its facts, and without many pairs and runs of them."""
    for i in range(len(facts)):
        yield facts[:i] + facts[i + 1 :]
        yield facts[:i] + facts[i + 7 :]
    for i, k in list(combinations(range(0, len(facts), 5), 2))[:100]:
        yield [f for n, f in enumerate(facts) if n not in (i, k)]


def test_whatever_is_lost_the_rest_can_be_folded(frozen: tuple[ExperimentSpec, list[e.Recorded]]) -> None:
    """No fact that is there is lost, unless it is about a trial of which nothing is known any more."""
    spec, facts = frozen
    for damaged in holes(facts):
        result = mended(spec, damaged)
        state = ExperimentState.fold(spec, (r for part in result.parts for r in part))
        if result.lost_trials:
            continue
        rows = [r.event for r in damaged if isinstance(r.event, e.ResultReported)]
        kept = [r.event for r in result.parts[0] if isinstance(r.event, e.ResultReported)]
        assert kept == rows
        ends = {r.event.trial_id: r.event.phase for r in damaged if isinstance(r.event, e.TrialEnded)}
        reopened = {r.event.trial_id for r in facts if isinstance(r.event, e.TrialReopened)}
        for identity, phase in ends.items():
            assert identity in reopened or state.trials[identity].phase is phase


def test_a_journal_of_a_newer_version_is_not_called_garbled(tmp_path: Path) -> None:
    from hpctune.errors import JournalError

    root = tmp_path / "journal"
    shutil.copytree(FROZEN[0] / "journal", root)
    path = max(root.iterdir())
    started = codec.encode(e.Recorded(1.0, e.DriverStarted(9, "h", 1, "9.0.0")))
    path.write_text(f'{path.read_text()}{started}\n{{"at":1,"event":"FromTheFuture"}}\n')
    with pytest.raises(JournalError, match="pip install --upgrade"):
        read(root)


# -- whose files ------------------------------------------------------------------------------------------------------

FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (FILE | 0o600, None), (FILE | 0o644, None), (FILE | 0o664, 0o644), (FILE | 0o602, 0o600), (FILE | 0o400, 0o600),
        (FILE | 0o044, 0o644), (FOLDER | 0o700, None), (FOLDER | 0o770, 0o750), (FOLDER | 0o500, 0o700),
    ],
)  # fmt: skip
def test_modes(mode: int, wanted: int | None) -> None:
    path = Path("/x/y")
    public, private = Entry(Path("/x"), ".", 7, FOLDER | 0o711), Entry(Path("/x"), ".", 7, FOLDER | 0o700)
    expected = [SetMode(path, wanted)] if wanted is not None else []
    assert [f.fix for f in check_ownership([public, Entry(path, "y", 7, mode)], 7) if not f.note] == expected
    assert [f.fix for f in check_ownership([private, Entry(path, "d/params.pkl", 7, mode)], 7)] == expected


def test_a_group_that_may_write_what_it_cannot_reach_is_no_problem() -> None:
    root = Entry(Path("/x"), ".", 7, FOLDER | 0o700)
    assert (
        check_ownership(
            [root, Entry(Path("/x/d"), "d", 7, FOLDER | 0o775), Entry(Path("/x/o"), "d/stdout", 7, FILE | 0o664)], 7
        )
        == []
    )


def test_an_experiment_that_others_can_read_is_only_noted() -> None:
    assert check_ownership([Entry(Path("/x"), ".", 7, FOLDER | 0o2750)], 7, shared=True) == []
    (found,) = check_ownership([Entry(Path("/x"), ".", 7, FOLDER | 0o755)], 7)
    assert (found.note, found.fix) == (True, None)
    assert "chmod 700 /x" in found.action


def test_files_of_somebody_else() -> None:
    entries = [
        Entry(Path(f"/x/{i}"), str(i), 8 if i < 5 else 7, FILE | 0o666 if i < 5 else FILE | 0o600) for i in range(9)
    ]
    (found,) = check_ownership(entries, 7)
    assert (found.kind, found.fix, found.note) == ("owner", None, False)
    assert "belongs to user 8, not to you: 0, 1, 2 and 2 more" in found.what


# -- jobs -------------------------------------------------------------------------------------------------------------

SPEC = ExperimentSpec("abcde123", "x", 0.0, "train", cluster="slurm")


def running() -> ExperimentState:
    added = e.TrialAdded("abcde_00000", 0, "t", "d", "0", {}, {}, Resources())
    facts = [added, e.SubmitRequested("abcde_00000", 1), e.SubmitAcknowledged("abcde_00000", 1, "17")]
    return ExperimentState.fold(SPEC, [e.Recorded(1.0, fact) for fact in facts])


def job(number: str, trial: str, attempt: int, state: JobState = JobState.PENDING) -> JobStatus:
    return JobStatus(number, Tag("abcde123", trial, attempt), state)


def test_jobs_of_no_attempt_are_orphans() -> None:
    jobs = [job("17", "abcde_00000", 1), job("18", "abcde_00000", 2), job("19", "abcde_00009", 1),
            job("20", "abcde_00000", 3, JobState.COMPLETED)]  # fmt: skip
    (found,) = check_jobs(running(), JobsSeen(jobs, 1e6), "slurm", cancel=False)
    assert found.action == "Cancel them with --cancel-orphans, or: scancel 18 19"
    assert (found.fix, found.held) == (CancelJobs(("18", "19")), True)
    (found,) = check_jobs(running(), JobsSeen(jobs, 1e6), "slurm", cancel=True)
    assert not found.held


def test_an_attempt_without_a_job_mends_itself() -> None:
    (found,) = check_jobs(running(), JobsSeen([], 1e6), "slurm", cancel=False)
    assert (found.kind, found.note) == ("attempt without a job", True)


def test_no_answer_says_nothing_about_jobs() -> None:
    seen = JobsSeen(None, why="squeue failed")
    (found,) = check_jobs(running(), seen, "slurm", cancel=True)
    assert (found.kind, found.note, found.fix) == ("jobs", True, None)
    assert seen.live.may_run(running().trials["abcde_00000"])


# -- trials -----------------------------------------------------------------------------------------------------------


def look(root: Path, live: Liveness) -> list[Finding]:
    facts = Facts(running())
    return list(check_trial(facts, facts.trial("abcde_00000"), ExperimentPaths(root), live))


def test_a_run_file_that_says_nothing_keeps_every_job_out(tmp_path: Path) -> None:
    """Its key is claimed, by nobody: the driver could neither run nor revoke the attempt."""
    path = tmp_path / "d" / "run-1.0.jsonl"
    path.parent.mkdir()
    path.write_bytes(bytes(300))
    alive = Liveness(True, frozenset({("abcde_00000", 1)}))
    assert {f.kind for f in look(tmp_path, alive)} == {"control file"}
    assert {f.kind for f in look(tmp_path, Liveness(False))} == {"control file"}
    found = {f.kind: f for f in look(tmp_path, Liveness(True))}
    assert set(found) == {"control file", "unclaimed attempt"}
    run = RunKey("abcde_00000", 1, 0)
    fix = found["unclaimed attempt"].fix
    assert fix == RevokeRun(path, run)
    mechanic = Repairer(ExperimentPaths(tmp_path), Quarantine(tmp_path))
    mechanic.facts = Facts(running())
    mechanic.mend(list(found.values()))
    assert len(RunTail(path, run).read()) == 2
    assert (tmp_path / "quarantine/0001/d/run-1.0.jsonl").read_bytes() == bytes(300)
    assert look(tmp_path, Liveness(True)) == []


def test_a_start_that_is_gone_is_said(tmp_path: Path) -> None:
    added = e.TrialAdded("abcde_00000", 0, "t", "d", "0", {}, {}, Resources(), restore="other/checkpoint_000001")
    facts = gather(SPEC, [e.Recorded(1.0, added)])
    trial = facts.trial("abcde_00000")
    (found,) = check_trial(facts, trial, ExperimentPaths(tmp_path), Liveness(True))
    assert "is to start from other/checkpoint_000001, which is gone" in found.what
    assert found.fix is None
    (tmp_path / "other" / "checkpoint_000001").mkdir(parents=True)
    assert list(check_trial(facts, trial, ExperimentPaths(tmp_path), Liveness(True))) == []


def test_progress_from_the_result_that_belongs_to_it() -> None:
    row = {"time_total_s": 12.5, "timesteps_total": 300, "episodes_total": None}
    progress = progress_of(CheckpointRef("checkpoint_000004", 4), row)
    assert (progress.iteration, progress.time_total_s, progress.timesteps_total) == (4, 12.5, 300)
    assert progress.episodes_total is None
    assert progress_of(CheckpointRef("checkpoint_000004", 4), None).iteration == 4


def test_quarantine_numbers_its_folders_and_loses_nothing(tmp_path: Path) -> None:
    for text in ("one", "two"):
        quarantine = Quarantine(tmp_path)
        for _ in range(2):
            (tmp_path / "a").write_text(text)
            quarantine.keep(tmp_path / "a", "because")
    kept = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("a*"))
    assert kept == [f"quarantine/000{n}/{name}" for n in (1, 2) for name in ("a", "a.2")]
    assert (tmp_path / "quarantine").stat().st_mode & 0o777 == 0o700


def test_every_kind_of_damage_is_documented() -> None:
    root = Path(__file__).parents[3]
    source = "\n".join(path.read_text() for path in sorted((root / "hpctune" / "repair").rglob("*.py")))
    calls = re.findall(r"(?:Finding|_found)\(\s*\"([a-z' -]+)\"", source)
    others = re.findall(r"(?:yield|kinds\.append\() ?\"([a-z ]+)\"", source)
    table = re.findall(r"^\| (`.*?`) \| .* \| .* \|$", (root / "docs" / "how-to" / "fsck.md").read_text(), re.MULTILINE)
    documented = {kind for cell in table for kind in re.findall(r"`([a-z' -]+)`", cell) if not kind.startswith("--")}
    assert documented == {*calls, *others}
