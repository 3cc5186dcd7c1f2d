"""Every kind of damage: made, found, repaired; then the experiment is the one that it was."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e
from hpctune.repair import perform
from hpctune.storage import journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from tests.support.fsck_support import copy, finished_experiment, fsck, kinds, meaning, resume, tree

pytestmark = pytest.mark.timeout(200)
EVENTS = (
    "TrialAdded", "SubmitRequested", "SubmitAcknowledged", "RunStarted", "ResultReported", "RunEnded", "RetryScheduled",
    "TrialEnded", "TrialSettled",
)  # fmt: skip
SOME = ("TrialAdded", "ResultReported", "TrialEnded")
DERIVED = ("result.json", "progress.csv", "params.json", "params.pkl", "error.txt", "events.out.tfevents.*")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undamaged experiment, with two segments of journal."""
    root = finished_experiment(tmp_path_factory.mktemp("twin"))
    done = resume(root, "--num-samples", "2")
    assert done.returncode in (0, 1), done.stderr
    assert len(list((root / "journal").iterdir())) == 2
    assert len(read_experiment(root).state.trials) == 8
    return root


@pytest.fixture
def root(twin: Path, tmp_path: Path) -> Path:
    return copy(twin, tmp_path / "exp")


def first_trial(root: Path) -> Path:
    return min(p for p in root.iterdir() if "_00000_" in p.name)


def derived_files(root: Path) -> list[Path]:
    return sorted(p for pattern in DERIVED for p in root.glob(f"*/{pattern}"))


def clean(root: Path) -> None:
    """A second run finds nothing, and changes nothing."""
    before = tree(root)
    code, report = fsck(root)
    assert (code, report["repaired"], report["left"]) == (0, [], [])
    assert tree(root) == before


def test_nothing_wrong_nothing_done(root: Path) -> None:
    clean(root)
    assert not (root / "quarantine").exists()


def test_all_derived_files_come_back_byte_for_byte(root: Path, twin: Path) -> None:
    for path in derived_files(root):
        path.unlink()
    (root / "driver.json").unlink()
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"derived files"})
    assert tree(root) == tree(twin)
    assert not (root / "quarantine").exists()
    clean(root)


def test_rebuild_makes_the_same_files(root: Path, twin: Path) -> None:
    assert fsck(root, "--rebuild")[0] == 1
    assert tree(root) == tree(twin)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_of_derived_files(root: Path, twin: Path, seed: int) -> None:
    rng = random.Random(seed)
    damaged = 0
    for path in derived_files(root):
        how = rng.choice(("none", "flip", "cut", "delete", "zero", "double"))
        data = path.read_bytes()
        at = rng.randrange(50 if path.name == "error.txt" else 0, len(data))  # its times may be of another zone
        match how:
            case "flip":
                path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
            case "cut":
                path.write_bytes(data[:at])
            case "delete":
                path.unlink()
            case "zero":
                path.write_bytes(bytes(len(data)))
            case "double":
                path.write_bytes(data + data)
        damaged += how != "none"
    assert damaged > 5
    code, _ = fsck(root)
    assert code == 1
    assert tree(root) == tree(twin)
    clean(root)


def test_dry_run_changes_nothing(root: Path) -> None:
    for path in derived_files(root)[::2]:
        path.unlink()
    before = tree(root)
    lease = (root / "lease.json").read_bytes()
    code, report = fsck(root, "--dry-run")
    assert (code, report["repaired"], kinds(report, "left")) == (1, [], {"derived files"})
    assert tree(root) == before
    assert (root / "lease.json").read_bytes() == lease


def test_what_a_wrong_file_held_is_kept(root: Path) -> None:
    path = first_trial(root) / "result.json"
    path.write_text('{"mine": 1}\n')
    _, report = fsck(root)
    kept = Path(report["quarantine"])
    assert (kept / path.relative_to(root)).read_text() == '{"mine": 1}\n'
    (reason,) = [json.loads(line) for line in (kept / "reasons.jsonl").read_text().splitlines()]
    assert reason["path"] == reason["kept"] == str(path.relative_to(root))
    assert "does not agree with the journal" in reason["why"]


# -- the journal ------------------------------------------------------------------------------------------------------


def segment(root: Path, number: int = 1) -> Path:
    return root / "journal" / f"{number:06d}.jsonl"


def test_a_torn_tail_is_cut_off(root: Path, twin: Path) -> None:
    path = segment(root, 2)
    path.write_bytes(path.read_bytes() + b'{"at":17,"eve')
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"torn tail"})
    assert tree(root) == tree(twin)
    assert next(Path(report["quarantine"]).glob("journal/*")).read_bytes() == b'{"at":17,"eve'
    clean(root)


def line_of(data: bytes, event: str, skip: int = 0) -> tuple[int, int]:
    """Where the line of such an event begins and ends."""
    position = 0
    for line in data.splitlines(keepends=True):
        if f'"event":"{event}"'.encode() in line:
            if skip == 0:
                return position, position + len(line)
            skip -= 1
        position += len(line)
    raise AssertionError(f"no {event}")


def results(root: Path) -> list[Any]:
    """All results of all trials, and each trial's phase and checkpoints."""
    view = read_experiment(root, with_rows=True, peek=False)
    trials = [
        (t.trial_id, t.dirname, t.phase, t.results, dict(t.config), [c.name for c in t.checkpoints])
        for t in view.state.trials.values()
    ]
    rows = sorted((r.trial_id, json.dumps(dict(r.row))) for r in view.rows)
    return [trials, rows]


@pytest.mark.parametrize(
    ("how", "event"),
    [
        pytest.param(how, event, marks=[pytest.mark.nightly] if how == "zeros" and event not in SOME else [])
        for how in ("zeros", "noise", "merged")
        for event in EVENTS
    ],
)
def test_a_garbled_line_of_the_journal(root: Path, twin: Path, event: str, how: str) -> None:
    """What it said is put back from the other files: not a result is lost."""
    path = segment(root)
    data = path.read_bytes()
    begin, end = line_of(data, event)
    garbage = {"zeros": bytes(end - begin - 1) + b"\n", "noise": b"\x93\xff{]" * 9 + b"\n", "merged": b""}[how]
    if how == "merged":  # it has lost its end, and runs into the next one
        end -= 1
        garbage = data[begin : end - 5]
    path.write_bytes(data[:begin] + garbage + data[end:])
    _fix_seal(root, len(garbage) - (end - begin))
    code, report = fsck(root)
    assert (code, kinds(report) - {"derived files"}) == (1, {"garbled line"})
    assert results(root) == results(twin)
    kept = Path(report["quarantine"]) / "journal" / path.name
    assert garbage.strip() in kept.read_bytes()
    clean(root)
    if how == "zeros":
        again = resume(root, "--num-samples", "3")
        assert again.returncode in (0, 1), again.stderr
        assert len(read_experiment(root).state.trials) == 12


def _fix_seal(root: Path, grown: int) -> None:
    """As if the later driver had found the earlier segment as it is now."""
    path = segment(root, 2)
    head, rest = path.read_bytes().split(b"\n", 1)
    header = json.loads(head)
    header["bytes"] += grown
    path.write_bytes(json.dumps(header, separators=(",", ":")).encode() + b"\n" + rest)


def test_every_other_line_garbled(root: Path, twin: Path) -> None:
    path = segment(root)
    lines = path.read_bytes().splitlines(keepends=True)
    bad = [bytes(len(line) - 1) + b"\n" if i % 2 and i else line for i, line in enumerate(lines)]
    path.write_bytes(b"".join(bad))
    code, _ = fsck(root)
    assert code == 1
    assert results(root)[1] == results(twin)[1], "every result is there"
    clean(root)
    assert resume(root, "--num-samples", "3").returncode in (0, 1)


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_segment(root: Path, twin: Path, number: int) -> None:
    segment(root, number).unlink()
    code, report = fsck(root)
    assert code == 1
    assert kinds(report) - {"derived files"} == ({"missing segment"} if number == 1 else {"contradiction"})
    assert results(root)[1] == results(twin)[1], "every result is there"
    assert [t[:2] for t in results(root)[0]] == [t[:2] for t in results(twin)[0]]
    clean(root)
    again = resume(root, "--num-samples", "3")
    assert again.returncode in (0, 1), again.stderr


def test_a_truncated_segment(root: Path, twin: Path) -> None:
    path = segment(root)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, report = fsck(root)
    consequences = {"derived files", "lost checkpoint", "control file"}  # by what the half that is left says
    assert (code, kinds(report) - consequences) == (1, {"truncated segment"})
    assert results(root)[1] == results(twin)[1]
    clean(root)


def test_no_result_is_lost_wherever_a_segment_is_cut(twin: Path, tmp_path: Path) -> None:
    """In the middle of any line: each fourth here."""
    lines, wanted = segment(twin).read_bytes().splitlines(keepends=True), results(twin)[1]
    for number in range(0, len(lines), 4):
        root = copy(twin, tmp_path / str(number))
        segment(root).write_bytes(b"".join(lines[:number]) + lines[number][: len(lines[number]) // 2])
        assert fsck(root)[0] == 1
        assert results(root)[1] == wanted, lines[number]


def test_segments_that_do_not_belong_there(root: Path, twin: Path) -> None:
    shutil.copy(segment(root), root / "journal" / "000007.jsonl")
    (root / "journal" / "000001 (conflicted copy).jsonl").write_text("{}\n")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"foreign segment"})
    assert tree(root) == tree(twin)
    clean(root)


def test_a_trial_that_is_nowhere_any_more_is_not_guessed(root: Path) -> None:
    path = segment(root)
    data = path.read_bytes()
    begin, end = line_of(data, "TrialAdded", skip=1)
    path.write_bytes(data[:begin] + bytes(end - begin - 1) + b"\n" + data[end:])
    shutil.rmtree(next(root.glob("*_00001_*")))
    before = tree(root)
    code, report = fsck(root)
    assert (code, kinds(report, "left")) == (2, {"garbled line", "lost trial"})
    assert tree(root) == before


def test_killed_between_the_two_renames_of_a_mended_journal(
    root: Path, twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = segment(root)
    begin, end = line_of(path.read_bytes(), "ResultReported")
    data = path.read_bytes()
    path.write_bytes(data[:begin] + bytes(end - begin - 1) + b"\n" + data[end:])

    class Killed(BaseException):
        pass

    def killed(_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(perform, "finish_replacing", killed)
        with pytest.raises(Killed):
            fsck(root)
    assert not (root / "journal").exists()
    assert fsck(root, "--dry-run")[0] == 1
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"unfinished repair"})
    assert results(root) == results(twin)
    clean(root)


# -- trials and checkpoints -------------------------------------------------------------------------------------------


def test_a_deleted_trial_directory(root: Path, twin: Path) -> None:
    gone = first_trial(root)
    shutil.rmtree(gone)
    code, report = fsck(root)
    assert (code, kinds(report), kinds(report, "notes")) == (1, {"derived files", "lost checkpoint"}, {"deleted trial"})
    assert meaning(root)[1] == meaning(twin)[1]
    assert read_experiment(root).state.trials[_id(gone)].checkpoints == ()
    assert {p.name: p.read_bytes() for p in gone.iterdir()} == {
        p.name: p.read_bytes()
        for p in first_trial(twin).iterdir()
        if p.is_file() and p.name not in ("stdout", "stderr")
    }
    clean(root)
    assert resume(root, "--num-samples", "3").returncode in (0, 1)


def _id(directory: Path) -> str:
    return "_".join(directory.name.split("_")[1:3])


def test_a_checkpoint_that_is_gone_is_noted(root: Path) -> None:
    shutil.rmtree(first_trial(root) / "checkpoint_000005")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"lost checkpoint"})
    trial = read_experiment(root).state.trials[_id(first_trial(root))]
    assert [c.name for c in trial.checkpoints] == ["checkpoint_000004"]
    *_, last = journal.read(root / "journal")
    assert last.event == e.CheckpointDeleted(trial.trial_id, "checkpoint_000005")
    clean(root)


@pytest.mark.parametrize("damage", ["gone", "garbled"])
def test_a_checkpoints_progress_is_made_anew(root: Path, twin: Path, damage: str) -> None:
    path = first_trial(root) / "checkpoint_000005" / ".hpctune.json"
    path.unlink() if damage == "gone" else path.write_text("{")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"checkpoint's progress"})
    assert tree(root) == tree(twin)
    clean(root)


def test_an_unknown_checkpoint_is_left_alone(root: Path) -> None:
    mine = first_trial(root) / "checkpoint_mine"
    mine.mkdir()
    (mine / "weights").write_text("dear")
    code, report = fsck(root)
    assert (code, kinds(report, "notes")) == (0, {"unknown checkpoint"})
    assert (mine / "weights").read_text() == "dear"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".checkpoint_staging_0123456789ab", "half-made checkpoint"),
        (".checkpoint_doomed_0123456789ab", "doomed checkpoint"),
    ],
)
def test_checkpoints_in_the_making(root: Path, twin: Path, name: str, kind: str) -> None:
    (first_trial(root) / name).mkdir()
    (first_trial(root) / name / "half").write_text("x")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {kind})
    assert tree(root) == tree(twin)


def test_what_killed_writers_left(root: Path, twin: Path) -> None:
    for name in (".lease.json.4711.tmp", ".renewed-4711/x", f"{first_trial(root).name}/.params.json.12.tmp",
                 "jobs/.0123456789abcdef0123456789abcdef.sh",
                 f"{first_trial(root).name}/run-1.0.jsonl"):  # fmt: skip
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"left over"})
    assert tree(root) == tree(twin)
    clean(root)


# -- the experiment's own files ---------------------------------------------------------------------------------------


def test_a_lease_that_cannot_be_read(root: Path, twin: Path) -> None:
    (root / "lease.json").write_text('{"host": "log')
    assert resume(root, "--num-samples", "3").returncode == 1
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"lease"})
    lease = json.loads((root / "lease.json").read_bytes())
    assert lease["released"]
    assert lease["epoch"] > 2
    assert tree(root) == tree(twin)
    clean(root)
    assert resume(root, "--num-samples", "3").returncode in (0, 1)


def test_a_stale_lease_is_given_back(root: Path) -> None:
    lease = json.loads((root / "lease.json").read_bytes())
    (root / "lease.json").write_text(json.dumps(lease | {"released": False, "pid": 2**22 + 5}))
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"stale lease"})
    assert json.loads((root / "lease.json").read_bytes())["released"]
    clean(root)


def test_inbox_and_glance(root: Path, twin: Path) -> None:
    good = '{"id":"1","action":"stop","targets":[]}\n'
    (root / "inbox.jsonl").write_text(f'{good}{{"id":"2","act\n{good}{{"id":')
    (root / "driver.json").write_text("{")
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"garbled line", "driver status"})
    assert (root / "inbox.jsonl").read_text() == good + good
    (root / "inbox.jsonl").unlink()
    assert tree(root) == tree(twin)


def test_permissions(root: Path, twin: Path) -> None:
    segment(root).chmod(0o666)
    (first_trial(root) / "params.pkl").chmod(0o000)
    (root / "driver.pkl").chmod(0o620)
    root.chmod(0o750)
    first_trial(root).chmod(0o770)
    assert resume(root, "--num-samples", "3").returncode == 1
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"permissions"})
    modes = [p.stat().st_mode & 0o777 for p in (segment(root), first_trial(root) / "params.pkl", root / "driver.pkl")]
    assert modes == [0o644, 0o600, 0o600]
    assert first_trial(root).stat().st_mode & 0o777 == 0o750
    assert kinds(report, "notes") == {"permissions"}, "that the group can enter may be meant"
    assert tree(root) == tree(twin)
    clean(root)


@pytest.mark.parametrize("name", ["driver.pkl", "trainable.pkl"])
@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-9])])
def test_code_that_is_lost_is_said(root: Path, name: str, damage: Callable[[Path], object]) -> None:
    """It cannot be made again; all the rest is repaired."""
    damage(root / name)
    (first_trial(root) / "result.json").unlink()
    code, report = fsck(root)
    assert (code, kinds(report, "left"), kinds(report)) == (2, {"code"}, {"derived files"})
    assert (first_trial(root) / "result.json").exists()


def test_a_lost_definition_is_said_and_nothing_touched(root: Path) -> None:
    (root / "experiment.json").write_text("{")
    before = tree(root)
    code, report = fsck(root)
    assert (code, kinds(report, "left")) == (2, {"unreadable"})
    assert tree(root) == before


def test_all_experiments_of_a_storage_directory(root: Path, twin: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from hpctune.cli.main import cli

    copy(twin, tmp_path / "sound")
    (tmp_path / "notes").mkdir()
    (first_trial(root) / "result.json").unlink()
    result = CliRunner().invoke(cli, ["fsck", str(tmp_path)], standalone_mode=False)
    assert result.return_value == 1
    assert "exp: 1 problem repaired" in result.output
    assert "sound: nothing is wrong" in result.output
    assert "notes" not in result.output
    assert ExperimentPaths(root).root.is_dir()


PBT = """
import json, os
import hpctune as tune

def climb(config):
    checkpoint, done, value = tune.get_checkpoint(), 0, 0.0
    if checkpoint is not None:
        done, value = json.loads(open(os.path.join(checkpoint.path, "s")).read())
    for i in range(done + 1, 13):
        value += config["rate"]
        with tune.checkpoint_dir(i) as directory:
            with open(os.path.join(directory, "s"), "w") as file:
                file.write(json.dumps([i, value]))
        tune.report(value=value)

if __name__ == "__main__":
    from hpctune.schedulers import PopulationBasedTraining
    pbt = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=3, hyperparam_mutations={"rate": tune.uniform(0, 1)},
        synch=True, log_config=LOG,
    )
    tune.run(
        climb, config={"rate": tune.grid_search([0.1, 0.4, 0.8])}, scheduler=pbt, metric="value", mode="max",
        name="exp", verbose=0, cluster=tune.LocalOptions(cpus=3),
    )
"""


@pytest.mark.parametrize("logged", [True, False])
def test_population_based_training(tmp_path: Path, logged: bool) -> None:
    """Configurations that changed on the way, and the log of exploits."""
    twin = finished_experiment(tmp_path, PBT.replace("LOG", str(logged)))
    events = [r.event for r in journal.read(twin / "journal")]
    assert any(isinstance(event, e.ExploitRequested) for event in events)
    assert (twin / "pbt_global.txt").exists() is logged
    clean(twin)
    root = copy(twin, tmp_path / "copy")
    for path in [*derived_files(root), *root.glob("pbt_*.txt")]:
        path.unlink()
    code, report = fsck(root)
    assert (code, kinds(report)) == (1, {"derived files"})
    assert tree(root) == tree(twin)
    clean(root)
