"""status, best, logs and stop on experiments made from events."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from hpctune.cli.best import as_arguments
from hpctune.cli.main import cli
from hpctune.errors import MetricError, NotAnExperimentError, UsageError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import CheckpointRef
from hpctune.output.display.slurm_reasons import explain
from hpctune.storage import lease, spec_file
from hpctune.storage.inbox import Inbox
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from tests.support.cli_support import BIN, Maker, checksum, demo, finish, hpctune
from tests.support.output_support import Recorder


def run(*arguments: object) -> Result:
    """In this process: quick; an exception of ours comes out as it is."""
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


def text(*arguments: object) -> str:
    result = run(*arguments)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return demo(tmp_path / "mnist")


@pytest.fixture(autouse=True)
def _own_storage_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path))


def test_status_shows_everything_at_a_glance(maker: Maker) -> None:
    shown = text("status", maker.root)
    assert "Experiment mnist (train, min loss)" in shown
    assert f"running: driver is process {os.getpid()} on " in shown
    assert "1 running, 2 queued, 1 error, 2 completed" in shown
    assert "loss = 0.3 at iteration 3 of trial abcde_00001" in shown
    assert "lr=0.05, layers=1" in shown
    assert "node7" in shown
    assert "Priority: other jobs have a higher priority" in shown
    assert "QOSMaxJobsPerUserLimit: you have reached the QOS's limit of running jobs" in " ".join(shown.split())
    assert "abcde_00004 (job 104)" in shown
    assert "ValueError: bad learning rate" in shown
    assert str(maker.dir("abcde_00002") / "error.txt") in shown
    assert "Calls to slurm: 120, 4 in the last minute (at most 60 a minute), 2 put off" in shown


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"f_bavail": 1000}, "storage   4 MB free"),
        ({"f_favail": 7}, "storage   only 7 more files can be created (inodes)"),
        ({"f_flag": os.ST_RDONLY}, "storage   read-only"),
        ({}, ""),
        ({"f_files": 0, "f_favail": 0}, ""),
    ],
)
def test_status_says_that_trials_may_wait_for_room(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, seen: dict[str, int], words: str
) -> None:
    usual = {"f_bavail": 10**9, "f_frsize": 4096, "f_blocks": 10**9, "f_files": 10**9, "f_favail": 10**8, "f_flag": 0}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**{**usual, **seen}))
    shown = text("status", maker.root)
    assert (words in shown, "storage  " in shown) == (True, bool(words))
    told = json.loads(text("status", maker.root, "--json"))["storage"]
    assert told == words.removeprefix("storage   ")
    assert ("nothing is lost" in " ".join(shown.split())) == bool(words)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "3 checkpoints of 3 MB, 1 of unknown size; 4.1 TB free"),
        ({"max_total": 9}, "3 checkpoints (at most 9) of 3 MB, 1 of unknown size; 4.1 TB free"),
        ({"max_total_bytes": 5 * 10**9}, "3 checkpoints of 3 MB (at most 5 GB), 1 of unknown size; 4.1 TB free"),
    ],
)
def test_status_knows_the_size_of_checkpoints_without_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], words: str
) -> None:
    maker = Maker(tmp_path / "mnist")
    identity = maker.trial(0, lr=0.1)
    spec = read_experiment(maker.root).state.spec
    spec_file.write(ExperimentPaths(maker.root), replace(spec, checkpoint=CheckpointPolicy(**limits)))
    maker.runs(identity, "1", [0.5])
    for number, size in enumerate((10**6, 2 * 10**6, None), 2):
        row = {"training_iteration": number, "loss": 0.5}
        saved = CheckpointRef(f"checkpoint_{number:06d}", number, bytes=size)
        maker.record(e.ResultReported(RunKey(identity, 1, 0), number, row, checkpoint=saved))
    usual = {"f_bavail": 10**9, "f_frsize": 4096, "f_blocks": 10**9, "f_files": 10**9, "f_favail": 10**8, "f_flag": 0}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**usual))
    assert f"disk      {words}" in text("status", maker.root)
    told = json.loads(text("status", maker.root, "--json"))["checkpoints"]
    assert (told["count"], told["bytes"], told["unknown"]) == (3, 3 * 10**6, 1)
    assert (told["max_count"], told["max_bytes"]) == (limits.get("max_total"), limits.get("max_total_bytes"))


def test_status_as_json_is_complete_and_strict(maker: Maker) -> None:
    maker.runs("abcde_00004", "104", [float("nan")])
    data = json.loads(text("status", maker.root, "--json"), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert data["state"] == "running"
    assert {k: n for k, n in data["counts"].items() if n} == {
        "total": 6, "running": 2, "queued": 1, "terminated": 2, "error": 1
    }  # fmt: skip
    assert data["best"]["trial_id"] == "abcde_00001"
    assert data["best"]["config"] == {"lr": 0.05, "layers": 1}
    assert [t["value"] for t in data["running"]] == [0.7, None]
    assert data["failed"][0]["error"] == "ValueError: bad learning rate"
    assert data["cluster"]["calls_budget_per_minute"] == 60


def test_status_changes_nothing_even_where_it_could_not(maker: Maker) -> None:
    for path in [maker.root, *maker.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = checksum(maker.root)
    for command in (["status"], ["status", "--json"], ["best"], ["list"]):
        result = hpctune(*command, maker.root)
        assert (result.returncode, result.stderr) == (0, "")
    assert hpctune("logs", maker.root, "1").returncode == 0
    assert checksum(maker.root) == before
    for path in [maker.root, *maker.root.rglob("*")]:
        path.chmod(0o755)


def test_status_needs_no_metric(tmp_path: Path) -> None:
    demo(tmp_path / "plain", metric=None)
    assert "hpctune best --metric NAME" in text("status", tmp_path / "plain")


def test_status_of_an_experiment_without_trials(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "new")
    shown = text("status", maker.root)
    assert "not driven yet" in shown
    assert "none yet (num_samples 6)" in shown
    assert f"hpctune resume {maker.root}" in shown


def test_status_of_a_metric_that_is_never_finite(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "new")
    trial = made.add(x=1)
    made.start(trial)
    assert "no trial has reported loss yet" in text("status", made.paths.root)
    made.report(trial, [{"loss": float("nan")}])
    assert "no trial has a finite loss yet" in text("status", made.paths.root)


def test_status_knows_a_killed_driver_on_this_host(maker: Maker) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    maker.holder(victim.pid)
    assert "running: driver is" in text("status", maker.root)
    victim.kill()
    victim.wait()
    shown = text("status", maker.root)
    assert f"driver gone: process {victim.pid}" in shown
    assert f"hpctune resume {maker.root}" in shown
    assert "120 by its last driver" in shown


@pytest.mark.parametrize(("age_s", "words"), [(0.0, "running: driver is"), (600.0, "no sign of life for 600 s")])
def test_status_judges_a_driver_elsewhere_by_its_lease(
    maker: Maker, age_s: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.6)
    maker.holder(4711, "login9", age_s=age_s)
    assert words in text("status", maker.root)


def test_status_after_a_driver_has_left(maker: Maker) -> None:
    maker.record(e.DriverStopped("told to leave (SIGINT)"))
    maker.holder(1, released=True)
    shown = text("status", maker.root)
    assert "left: driver was told to leave (SIGINT)" in shown
    assert f"hpctune resume {maker.root}" in shown


def test_status_of_a_finished_experiment_offers_to_try_the_failed_again(maker: Maker) -> None:
    finish(maker)
    shown = text("status", maker.root)
    assert "finished: all trials are done" in shown
    assert f"hpctune resume {maker.root} --errored" in shown


def test_status_tells_of_an_outage_and_of_uncertain_submissions(maker: Maker) -> None:
    maker.glance(note="slurm: squeue failed (exit code 1): Unable to contact slurm controller")
    late = maker.trial(6, lr=1.0)
    maker.record(e.SubmitUnanswered(late, 1, "sbatch did not answer in time"))
    shown = text("status", maker.root)
    assert "slurm: squeue failed" in shown
    assert "no answer to its submission yet: sbatch did not answer in time" in " ".join(shown.split())


def test_status_watches_until_the_experiment_is_over(maker: Maker) -> None:
    timer = threading.Timer(0.6, finish, [maker])
    timer.start()
    looks = [json.loads(line) for line in text("status", maker.root, "--json", "--watch", "0.2").splitlines()]
    assert looks[0]["state"] == "running"
    assert looks[-1]["state"] == "finished"


def test_nothing_a_trial_says_steers_the_terminal(maker: Maker) -> None:
    wild = maker.trial(7, name="\x1b[31mred\n")
    maker.fails(wild, "\x1b]0;title\x07 multi\nline")
    shown = text("status", maker.root)
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_dir_is_found_by_name_by_place_and_by_default(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(demo(maker.root.parent / "other"))
    os.utime(maker.paths.lease, (1, 1))
    assert "Experiment other" in text("status")
    assert "Experiment mnist" in text("status", "mnist")
    monkeypatch.chdir(maker.dir("abcde_00001"))
    assert "Experiment mnist" in text("status")
    monkeypatch.chdir(maker.root.parent)
    assert "Experiment mnist" in text("status", "./mnist")


def test_wrong_directories_are_told_apart(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAnExperimentError, match="There is no directory"):
        text("status", tmp_path / "nowhere")
    with pytest.raises(NotAnExperimentError, match="no experiment 'mnits', neither here nor in"):
        text("status", "mnits")
    with pytest.raises(NotAnExperimentError, match="There is no directory"):
        text("status", maker.root / "typo")
    with pytest.raises(NotAnExperimentError, match="contains experiments: mnist"):
        text("status", tmp_path)
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "empty"))
    with pytest.raises(NotAnExperimentError, match="hpctune run"):
        text("status")


def test_list_of_experiments_says_which_have_no_driver(maker: Maker) -> None:
    finish(demo(maker.root.parent / "other"))
    lines = [line.split("  ") for line in text("list").splitlines()[1:]]
    assert [[cell.strip() for cell in line if cell][:2] for line in lines] == [
        ["mnist", "running"],
        ["other", "finished"],
    ]
    maker.holder(1, released=True)
    assert "running, no driver" in text("list", maker.root.parent)
    maker.holder(1, "login9", age_s=600)
    assert "running, driver silent" in text("list", maker.root.parent)
    assert [row["name"] for row in json.loads(text("list", "--json"))] == ["mnist", "other"]


def test_list_of_trials(maker: Maker) -> None:
    lines = [line.split() for line in text("list", "mnist").splitlines()]
    assert lines[0] == ["trial_id", "status", "training_iteration", "loss", "lr", "layers", "error"]
    assert lines[2][:6] == ["abcde_00001", "TERMINATED", "3", "0.3", "0.05", "1"]
    chosen = text("list", "mnist", "--columns", "trial_id,eval/acc", "--sort", "eval/acc", "--desc", "--limit", "1")
    assert [line.split() for line in chosen.splitlines()] == [["trial_id", "eval/acc"], ["abcde_00001", "0.7"]]
    assert len(json.loads(text("list", "mnist", "--filter", "loss < 0.6 or status == ERROR", "--json"))) == 3
    assert "config/layers" in text("list", "mnist", "--columns", "all")
    result = run("list", "mnist", "--filter", "loss > 9")
    assert (result.stdout, result.stderr) == ("", f"No trial in {maker.root} for which loss > 9.\n")


def test_list_names_the_columns_there_are(maker: Maker) -> None:
    with pytest.raises(UsageError, match=r"no column 'nope'\. Did you mean 'node'\? There are: trial_id"):
        text("list", "mnist", "--columns", "nope")
    with pytest.raises(UsageError, match="Filter 'loss <'"):
        text("list", "mnist", "--filter", "loss <")


def test_best_by_scope(maker: Maker) -> None:
    def best(*arguments: object) -> list[dict[str, object]]:
        return json.loads(text("best", maker.root, "--json", *arguments))  # type: ignore[no-any-return]

    assert [(t["value"], t["iteration"]) for t in best()] == [(0.3, 3)]
    assert [(t["value"], t["iteration"]) for t in best("--scope", "all")] == [(0.2, 2)]
    assert str(best("--scope", "all")[0]["checkpoint"]).endswith("checkpoint_000002")
    assert best("--scope", "avg")[0]["value"] == pytest.approx(1.3 / 3)
    ranked = best("--metric", "eval/acc", "--mode", "max", "-n", "9")
    assert [t["trial_id"] for t in ranked] == ["abcde_00001", "abcde_00000", "abcde_00003", "abcde_00002"]


def test_best_puts_nan_last(maker: Maker) -> None:
    maker.runs("abcde_00004", "104", [float("nan")])
    ranked = json.loads(text("best", maker.root, "--json", "-n", "9"))
    assert ranked[-1]["trial_id"] == "abcde_00004"
    assert ranked[-1]["value"] is None


def test_best_names_what_was_reported(maker: Maker) -> None:
    with pytest.raises(MetricError, match="eval/acc, loss"):
        text("best", maker.root, "--metric", "accuracy", "--mode", "max")
    with pytest.raises(UsageError, match=r"--mode min\|max.*Reported metrics: eval/acc, loss"):
        text("best", maker.root, "--metric", "eval/acc")


def test_logs_by_every_kind_of_name(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = maker.dir("abcde_00001")
    for name in ("abcde_00001", "1", "00001", "train_abcde_00001", directory.name, directory):
        assert text("logs", maker.root, name, "-n", "1") == "line 30\n"
    assert text("logs", directory, "-n", "1") == "line 30\n"
    assert text("logs", "00001", "--dir", maker.root, "-n", "2") == "line 29\nline 30\n"
    assert text("logs", "mnist", "1", "--stderr") == "a warning\n"
    assert "==> stdout <==" in text("logs", maker.root, "1", "--both")
    monkeypatch.chdir(maker.root)
    assert text("logs", "1", "-n", "1") == "line 30\n"
    assert text("logs", f"{directory.name}/", "-n", "1") == "line 30\n"


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines_of_a_huge_file_with_a_progress_bar(maker: Maker, end: str) -> None:
    out = maker.dir("abcde_00001") / "stdout"
    out.write_text("\n".join(["x" * 100_000, "1%\r50%\r100%", "é" * 70_000, "last"]) + end)
    assert text("logs", maker.root, "1", "-n", "1") == f"last{end}"
    assert text("logs", maker.root, "1", "-n", "3").startswith("1%\r50%\r100%\néé")
    assert text("logs", maker.root, "1", "-n", "9") == out.read_bytes().decode() == text("logs", maker.root, "1")
    assert text("logs", maker.root, "1", "-n", "0") == ""


def test_logs_of_a_failed_trial_end_with_its_traceback(maker: Maker) -> None:
    assert text("logs", maker.root, "2").rstrip().endswith("ValueError: bad learning rate")


def test_list_as_csv(maker: Maker) -> None:
    rows = list(csv.DictReader(text("list", maker.root, "--csv").splitlines()))
    assert [row["trial_id"] for row in rows] == [f"abcde_{n:05d}" for n in range(6)]
    assert rows[1]["loss"] == "0.3"
    assert rows[4]["loss"] == ""
    assert "config/lr" in rows[0]


def test_best_as_arguments(maker: Maker) -> None:
    assert text("best", maker.root, "--args") == "--lr 0.05 --layers 1\n"
    config = {"lr": 0.1, "name": "a b", "amp": True, "no": False, "none": None, "model": {"depth": 3}, "sizes": [1, 2]}
    assert as_arguments(config) == "--lr 0.1 --name 'a b' --amp --model.depth 3 --sizes '[1,2]'"


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "hpctune", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hpctune ")


def test_logs_names_the_stream_that_is_not_empty(maker: Maker) -> None:
    directory = maker.dir("abcde_00000")
    assert text("logs", maker.root, "0") == "Trial abcde_00000 is TERMINATED and has printed nothing to stdout.\n"
    (directory / "stderr").write_text("all went here\n")
    said = text("logs", maker.root, "0")
    command = f"hpctune logs {maker.root} abcde_00000"
    assert said == (
        "Trial abcde_00000 is TERMINATED and has printed nothing to stdout. "
        f"Its stderr is not empty: {command} --stderr\n"
    )
    assert text(*f"{command} --stderr".split()[1:]) == "all went here\n"
    (directory / "stderr").rename(directory / "stdout")
    assert f"Its stdout is not empty: {command}\n" in text("logs", maker.root, "0", "--stderr")


def test_logs_of_all_trials_say_so_if_none_has_printed(maker: Maker) -> None:
    output = maker.dir("abcde_00001") / "stdout"
    for file in maker.root.glob("*/std*"):
        file.write_text("")
    first = "4 trials began, and printed nothing to stdout."
    assert text("logs", maker.root) == f"{first}\n"
    assert text("logs", maker.root, "--both") == f"{first.replace('stdout', 'stdout or stderr')}\n"
    output.with_name("stderr").write_text("all went here\n")
    command = f"hpctune logs {maker.root} --stderr"
    assert text("logs", maker.root) == f"{first} There is something in stderr: {command}\n"
    assert text(*command.split()[1:]) == "00001 | all went here\n"
    assert text("logs", maker.root, "--both") == "00001 | all went here\n"


def test_a_folder_of_the_same_name_does_not_hide_an_experiment(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = maker.root.parent / "work"
    (elsewhere / "mnist" / "src").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert "abcde_00001" in text("best", "mnist")
    assert "Experiment mnist" in text("status", "mnist")
    assert "abcde_00003" in text("list", "mnist")
    assert "line 30" in text("logs", "mnist", "1")
    monkeypatch.chdir(maker.root.parent)
    assert "abcde_00003" in text("list", "mnist"), "the experiment that lies here is meant"


def test_a_name_that_is_no_experiment_is_refused_with_the_nearest(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = maker.root.parent / "work"
    (elsewhere / "mnits").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    for command in ("list", "best", "status"):
        with pytest.raises(
            NotAnExperimentError, match=r"mnits is not an experiment.*Did you mean 'mnist'\?.*hpctune list "
        ):
            text(command, "mnits")
        with pytest.raises(NotAnExperimentError, match=r"no experiment 'mnost', neither here.*Did you mean 'mnist'\?"):
            text(command, "mnost")


def test_the_same_failure_is_told_once_with_a_count(maker: Maker) -> None:
    for index in (3, 4, 5):
        maker.fails(f"abcde_{index:05d}", f"step {index}: bad learning rate of abcde_{index:05d}")
    shown = text("status", maker.root)
    assert "Failed (4)" in shown
    assert "abcde_00003  ValueError: step 3: bad learning rate of abcde_00003" in shown
    assert "the same: 2 other trials (abcde_00004, abcde_00005)" in shown
    assert "step 4" not in shown
    assert "abcde_00002  ValueError: bad learning rate" in shown


def test_the_end_of_a_long_error_is_shown(maker: Maker) -> None:
    maker.fails("abcde_00003", "The command ended. " + "x" * 300 + "\ncan't open file 'train.py'")
    shown = text("status", maker.root)
    assert "can't open file 'train.py'" in shown
    assert "ValueError: The" in shown
    listed = text("list", maker.root)
    assert "can't open file 'train.py'" in listed


def test_logs_says_which_trials_there_are(maker: Maker) -> None:
    with pytest.raises(UsageError, match="matches 6 trials: abcde_00000, "):
        text("logs", maker.root, "abcde")
    with pytest.raises(UsageError, match=r"no trial 'nope'.*from abcde_00000 to abcde_00005"):
        text("logs", maker.root, "nope")
    with pytest.raises(UsageError, match="Name one trial at a time"):
        text("logs", maker.root, "1", "2")


def test_logs_of_all_trials_have_their_numbers(maker: Maker) -> None:
    (maker.dir("abcde_00000") / "stdout").write_text("one\ntwo")
    shown = text("logs", maker.root).splitlines()
    assert shown[:2] == ["00000 | one", "00000 | two"]
    assert shown[2:] == [f"00001 | line {number}" for number in range(21, 31)]
    assert text("logs", maker.root, "-n", "1").splitlines() == ["00000 | two", "00001 | line 30"]
    assert text("logs", maker.root, "--stderr").splitlines() == ["00001 | a warning"]


def test_logs_of_all_trials_are_followed_until_the_end(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    running = maker.dir("abcde_00003") / "stdout"
    orders = [
        lambda: running.write_text("half a "),
        lambda: running.write_text("half a line\nthe end"),
        lambda: finish(maker),
    ]

    def sleep(seconds: float) -> None:
        """The command has looked: something happens, and it looks again."""
        if orders:
            orders.pop(0)()
        time.sleep(0.01)

    monkeypatch.setattr(
        "hpctune.cli.logsall.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic, time=time.time)
    )
    shown = CliRunner().invoke(cli, ["logs", str(maker.root), "-f", "-n", "0"]).output.splitlines()
    assert shown == ["00003 | half a line", "00003 | the end"]


def test_equal_failures_are_shown_once(maker: Maker) -> None:
    for number, said in ((6, "bad learning rate"), (7, "another")):
        identity = maker.trial(number, lr=1.0, layers=1)
        maker.runs(identity, "110", [0.9])
        maker.fails(identity, said)
    (maker.dir("abcde_00002") / "stderr").write_text("first\nit ended here\n")
    shown = text("logs", maker.root, "--failed")
    assert "2 trials: abcde_00002, abcde_00006" in shown
    assert "1 trial: abcde_00007" in shown
    assert shown.count("ValueError: bad learning rate") == 1
    assert "    it ended here" in shown
    assert "--errored" in shown
    with pytest.raises(UsageError, match="Leave the trial and -f out"):
        text("logs", maker.root, "2", "--failed")


def test_logs_follows_until_the_trial_ends(maker: Maker) -> None:
    out = maker.dir("abcde_00003") / "stdout"
    process = subprocess.Popen(
        [str(BIN), "logs", str(maker.root), "3", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "is RUNNING and has printed nothing to stdout. Waiting" in process.stderr.readline()
    out.write_text("epoch 1\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "epoch 1\n"
    with out.open("a") as file:
        file.write("epoch 2: größer\n")
    assert process.stdout.readline() == "epoch 2: größer\n"
    maker.ends("abcde_00003")
    rest, _ = process.communicate(timeout=30)
    assert (rest, process.returncode) == ("", 0)


def test_stop_posts_to_the_driver(maker: Maker) -> None:
    assert "Told the driver to stop trial abcde_00003." in text("stop", maker.root, "3")
    assert "Told the driver to stop experiment" in text("stop", maker.root)
    first, second = Inbox(maker.paths).read()
    assert (first.action, first.targets, second.targets) == ("stop", ("abcde_00003",), ())


def test_stop_without_a_driver_says_what_will_happen(maker: Maker) -> None:
    maker.holder(1, released=True)
    shown = text("stop", "--dir", maker.root)
    assert f"The next driver will stop it: hpctune resume {maker.root}" in shown
    assert "1 job may go on" not in shown
    assert "3 jobs may keep running. To cancel now, add --now." in shown


def test_stop_now_cancels_by_tag(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.holder(1, released=True)
    cancelled = _fake_cluster(monkeypatch)
    assert "Cancelled 1 job." in text("stop", maker.root, "3", "--now")
    assert cancelled == [["103"]]


def _fake_cluster(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    from hpctune.cli import canceljobs
    from hpctune.model.ids import Tag
    from hpctune.model.jobs import JobStatus

    cancelled: list[list[str]] = []

    class Fake:
        def build(self, *arguments: object) -> Fake:
            return self

        def jobs(self) -> list[JobStatus]:
            tags = {n: Tag("abcde123", f"abcde_0000{n - 100}", 1) for n in (102, 103, 104)}
            states = {102: JobState.FAILED, 103: JobState.RUNNING, 104: JobState.PENDING}
            return [JobStatus(str(n), tag, states[n]) for n, tag in tags.items()]

        def cancel(self, job_ids: list[str]) -> None:
            cancelled.append(job_ids)

        def close(self) -> None:
            pass

    monkeypatch.setattr(canceljobs, "reopen_cluster", lambda *arguments: Fake())
    return cancelled


def test_stop_now_is_refused_while_a_driver_lives(maker: Maker) -> None:
    with pytest.raises(UsageError, match="without a driver"):
        text("stop", maker.root, "--now")
    assert not maker.paths.inbox.exists()


def test_stop_now_where_the_driver_may_be_gone(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.holder(4711, "login9", age_s=600)
    cancelled = _fake_cluster(monkeypatch)
    assert "no sign of life for 600 s" in text("stop", maker.root, "--now")
    assert cancelled == [["103", "104"]]


def test_stop_of_what_is_over_changes_nothing(maker: Maker) -> None:
    assert "over already" in text("stop", maker.root, "0", "2")
    finish(maker)
    assert "over already" in text("stop", maker.root)
    assert not maker.paths.inbox.exists()


def test_stop_of_nothing_in_particular_is_refused(maker: Maker) -> None:
    with pytest.raises(UsageError, match=f"name it: hpctune stop {maker.root}"):
        text("stop")


def test_stop_waits_for_the_end(maker: Maker) -> None:
    timer = threading.Timer(0.5, finish, [maker])
    timer.start()
    began = time.monotonic()
    assert text("stop", maker.root, "--wait").endswith("Stopped.\n")
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "free nodes"),
        ("AssocGrpGRES", "your account as a whole"),
        ("AssocGrpGRESRunMinutes", "GPU minutes of running jobs"),
        ("QOSMaxCpuPerUserLimit", "the QOS's limit of CPUs"),
        ("QOSMaxWallDurationPerJobLimit", "wall time in one job"),
        ("MaxGRESPerAccount", "your account has reached the QOS's limit of GPUs"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "down, drained or reserved"),
        ("(Nodes required for job are DOWN, DRAINED or reserved)", "down, drained or reserved"),
        ("JobHeldUser", "scontrol release"),
        ("PartitionTimeLimit", "--time"),
        ("BeginTime", "earliest start"),
        ("SomethingNew", ""),
    ],
)
def test_reasons_in_words(reason: str, words: str) -> None:
    assert words in explain(reason)
    assert bool(explain(reason)) == bool(words)
