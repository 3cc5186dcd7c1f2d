"""Real worker processes: claims, fencing, checkpoints and ends, whatever happens around them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.model.records import Outcome
from hpctune.storage.layout import CHECKPOINT_PREFIX
from tests.support.worker_support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(trainable: Any, config: dict[str, Any] | None = None, **control: Any) -> Bench:
        made.append(Bench(tmp_path / str(len(made)), trainable, config, **control))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _endless() -> Callable[[dict[str, Any]], None]:
    """A trainable that reports every 20 ms and saves a checkpoint each time."""

    def train(config: dict[str, Any]) -> None:
        import tempfile
        import time
        from pathlib import Path

        import hpctune

        start = hpctune.get_checkpoint()
        step = 0
        if start is not None:
            with start.as_directory() as directory:
                step = int((Path(directory) / "step").read_text())
        while True:
            step += 1
            with tempfile.TemporaryDirectory() as directory:
                (Path(directory) / "step").write_text(str(step))
                hpctune.report({"step": step}, checkpoint=hpctune.Checkpoint.from_directory(directory))
            time.sleep(0.02)

    return train


def _checkpoints(bench: Bench) -> list[Path]:
    return sorted(p for p in bench.trial.root.iterdir() if p.name.startswith(CHECKPOINT_PREFIX))


def test_a_function_runs_to_its_end(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune

        for step in range(3):
            hpctune.report(loss=config["lr"] / (step + 1))

    b = bench(train, {"lr": 0.5})
    code, output = b.run(HPCTUNE_JOB_ID="job-7")
    assert code == 0, output
    assert [r.row["loss"] for r in b.rows()] == [0.5, 0.25, 0.5 / 3]
    assert [r.row["training_iteration"] for r in b.rows()] == [1, 2, 3]
    assert b.rows()[0].row["config"] == {"lr": 0.5}
    assert b.exit().outcome is Outcome.COMPLETED
    assert b.claim().job_id == "job-7"


def test_one_of_two_workers_wins_the_claim(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import os

        import hpctune

        hpctune.report(who=os.getpid())

    b = bench(train)
    ended = [b.end(p) for p in [b.start(), b.start(), b.start()]]
    assert [code for code, _ in ended] == [0, 0, 0]
    assert len(b.rows()) == 1
    assert b.rows()[0].row["who"] == b.claim().pid


def test_a_superseded_attempt_leaves_without_a_trace(bench: Callable[..., Bench]) -> None:
    b = bench(_endless())
    b.publish(attempt=2)
    code, output = b.run(attempt=1)
    assert (code, "supersed" in output) == (0, True), output
    assert not Path(b.trial.run(1, 0)).exists()


def test_a_trial_that_is_over_leaves_at_once(bench: Callable[..., Bench]) -> None:
    b = bench(_endless())
    Path(b.trial.control).unlink()
    code, _ = b.run()
    assert code == 0
    assert not Path(b.trial.run(1, 0)).exists()


@pytest.mark.parametrize("how", ["gone", "newer attempt", "restarted"])
def test_a_fenced_run_stops_writing(bench: Callable[..., Bench], how: str) -> None:
    b = bench(_endless())
    process = b.start()
    b.wait_for_rows(2)
    if how == "gone":
        Path(b.trial.control).unlink()
    elif how == "newer attempt":
        b.publish(attempt=2)
    else:
        Path(b.trial.run(1, 1)).touch()
    code, _ = b.end(process)
    assert code == 0
    assert b.rows()[-1] == b.records()[-1], "a fenced run leaves no exit record"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_ends_the_run_at_the_next_report(bench: Callable[..., Bench], number: signal.Signals) -> None:
    b = bench(_endless())
    process = b.start()
    b.wait_for_rows(2)
    process.send_signal(signal.SIGCONT)
    process.send_signal(number)
    b.end(process)
    assert b.exit().outcome is Outcome.INTERRUPTED
    assert b.rows()[-1].checkpoint == _checkpoints(b)[-1].name


def test_a_second_sigterm_leaves_at_once(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import time

        import hpctune

        hpctune.report(x=1)
        time.sleep(600)

    b = bench(train)
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    b.end(process)
    assert b.exit().outcome is Outcome.INTERRUPTED


def test_a_requeued_run_goes_on_from_the_newest_checkpoint(bench: Callable[..., Bench]) -> None:
    b = bench(_endless(), criteria={"training_iteration": 40})
    slurm = {"SLURM_JOB_ID": "77", "HPCTUNE_JOB_ID": "77"}
    process = b.start(**slurm)
    b.wait_for_rows(5)
    process.kill()
    b.end(process)
    before = b.rows()
    code, output = b.run(**slurm, SLURM_RESTART_COUNT="1")
    assert code == 0, output
    after = b.rows(restart=1)
    newest = max(int(p.name[len(CHECKPOINT_PREFIX) :]) for p in _checkpoints(b) if "-" not in p.name)
    assert after[0].row["training_iteration"] in (len(before) + 1, newest + 1)
    assert after[0].row["step"] == after[0].row["training_iteration"]
    assert after[-1].row["training_iteration"] == 40
    assert b.exit(restart=1).outcome is Outcome.COMPLETED


def test_a_killed_run_leaves_only_whole_checkpoints(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import tempfile
        from pathlib import Path

        import hpctune

        while True:
            with tempfile.TemporaryDirectory() as directory:
                for part in range(40):
                    (Path(directory) / str(part)).write_text("x" * 1000)
                hpctune.report({"x": 1}, checkpoint=hpctune.Checkpoint.from_directory(directory))

    b = bench(train)
    for attempt in range(1, 6):
        b.publish(attempt=attempt)
        process = b.start(attempt)
        b.wait_for_rows(attempt, attempt)
        process.kill()
        b.end(process)
    for checkpoint in _checkpoints(b):
        assert len([p for p in checkpoint.iterdir() if not p.name.startswith(".")]) == 40
    named = {r.checkpoint for attempt in range(1, 6) for r in b.rows(attempt)}
    assert named <= {p.name for p in _checkpoints(b)}


def test_what_killed_runs_left_is_tidied(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune

        hpctune.report(x=1)

    b = bench(train)
    (b.trial.root / ".checkpoint_staging_abc").mkdir()
    b.publish(attempt=2)
    b.run(attempt=2)
    assert [p.name for p in b.trial.root.iterdir() if p.name.startswith(".")] == []


def test_an_exception_is_recorded_with_its_traceback(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        raise RuntimeError("no such data")

    b = bench(train)
    code, output = b.run()
    assert code == 0, "the exit record says it all"
    end = b.exit()
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert (end.error.kind, end.error.message) == ("RuntimeError", "no such data")
    assert "in train" in end.error.traceback
    assert "no such data" in output


@pytest.mark.parametrize("code", [3, "broken"])
def test_a_bad_sys_exit_is_a_failure(bench: Callable[..., Bench], code: int | str) -> None:
    def train(config: dict[str, Any]) -> None:
        import sys

        sys.exit(code)

    b = bench(train)
    b.run()
    assert b.exit().outcome is Outcome.FAILED


def test_a_good_sys_exit_is_an_end(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import sys

        import hpctune

        hpctune.report(x=1)
        sys.exit(0)

    b = bench(train)
    b.run()
    assert b.exit().outcome is Outcome.COMPLETED


def test_a_trainable_that_cannot_be_loaded_is_a_failure(bench: Callable[..., Bench]) -> None:
    b = bench(_endless())
    Path(b.paths.trainable).write_bytes(b"rubbish")
    b.run()
    assert b.exit().outcome is Outcome.FAILED


def test_threads_and_children_left_behind_do_not_keep_the_job(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import multiprocessing
        import threading
        import time

        import hpctune

        threading.Thread(target=time.sleep, args=(600,)).start()
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        hpctune.report(x=1, child=child.pid)

    b = bench(train)
    process = b.start()
    assert process.wait(30) == 0
    assert b.exit().outcome is Outcome.COMPLETED
    os.kill(b.rows()[0].row["child"], signal.SIGKILL)  # it is nobody's business but the test's


def test_a_swallowed_end_comes_again(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune

        for step in range(100):
            try:
                hpctune.report(step=step)
            except Exception:
                raise AssertionError("except Exception must not see it") from None
            except BaseException:
                if step > 5:
                    raise

    b = bench(train, criteria={"step": 3})
    b.run()
    assert [r.row["step"] for r in b.rows()] == [0, 1, 2, 3]
    assert b.exit().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("order", ["stop", "pause"])
def test_orders_are_obeyed_at_a_report(bench: Callable[..., Bench], order: str) -> None:
    b = bench(_endless())
    process = b.start()
    b.wait_for_rows(1)
    b.publish(**{"stop": "too slow"} if order == "stop" else {"leave": "pause"})
    b.end(process)
    end = b.exit()
    assert end.outcome is (Outcome.STOPPED if order == "stop" else Outcome.PAUSED)
    assert order == "pause" or end.reason == "too slow"


def test_a_milestone_waits_for_its_answer(bench: Callable[..., Bench]) -> None:
    b = bench(_endless(), milestone=3.0, decision_timeout_s=60.0)
    process = b.start()
    b.wait_for_rows(3)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert len(b.rows()) == 3
    b.publish(answered=3.0, milestone=5.0)
    b.wait_for_rows(5)
    b.publish(stop="enough")
    b.end(process)
    assert len(b.rows()) == 5
    assert b.exit().outcome is Outcome.STOPPED


def test_a_milestone_without_an_answer_is_passed(bench: Callable[..., Bench]) -> None:
    b = bench(_endless(), milestone=2.0, decision_timeout_s=0.3, criteria={"training_iteration": 6})
    b.run()
    assert len(b.rows()) == 6


def test_children_report_through_the_trial(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import subprocess
        import sys

        program = "import hpctune\nfor i in range(9): hpctune.report(i=i)\n"
        subprocess.run([sys.executable, "-c", program], check=False)

    b = bench(train, criteria={"i": 4})
    code, output = b.run()
    assert code == 0, output
    assert [r.row["i"] for r in b.rows()] == [0, 1, 2, 3, 4]
    assert b.exit().outcome is Outcome.COMPLETED


def test_a_forked_child_reports_through_the_trial(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import multiprocessing

        import hpctune

        child = multiprocessing.get_context("fork").Process(target=lambda: hpctune.report(child=1))
        child.start()
        child.join()
        hpctune.report(child=0)

    b = bench(train)
    _, output = b.run()
    assert [r.row["child"] for r in b.rows()] == [1, 0], output
    assert [r.seq for r in b.rows()] == [1, 2]


def test_a_torn_line_is_not_there(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune

        hpctune.report(x=1)

    b = bench(train)
    b.run()
    path = Path(b.trial.run(1, 0))
    whole = path.read_bytes()
    for cut in range(len(whole) - 200, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(b.records()) == whole[:cut].count(b"\n")


def test_a_full_disk_fails_the_trial_and_leaves_no_half_checkpoint(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import resource
        import tempfile
        from pathlib import Path

        import hpctune

        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "big").write_bytes(b"x" * 1_000_000)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk: EFBIG
            hpctune.report({"x": 1}, checkpoint=hpctune.Checkpoint.from_directory(directory))

    b = bench(train)
    b.run()
    end = b.exit()
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert end.error.kind == "CheckpointError"
    assert _checkpoints(b) == []
    assert not [p for p in b.trial.root.iterdir() if "staging" in p.name]


def test_an_unknown_stop_key_fails_the_trial_and_names_what_there_is(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune

        hpctune.report(loss=1)

    b = bench(train, criteria={"los": 0.5})
    b.run()
    end = b.exit()
    assert end.error is not None
    assert end.error.kind == "MetricError"
    assert "'los'" in end.error.message
    assert "loss" in end.error.message


def test_the_trial_runs_in_its_own_directory(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import os
        from pathlib import Path

        import hpctune

        hpctune.report(cwd=str(Path.cwd()), origin=os.environ["TUNE_ORIG_WORKING_DIR"])

    b = bench(train)
    b.run()
    row = b.rows()[0].row
    assert row["cwd"] == os.path.realpath(b.trial.root)
    assert row["origin"] == str(Path.cwd())  # where the experiment was started
    other = bench(train)
    other.run(RAY_CHDIR_TO_TRIAL_DIR="0")
    assert other.rows()[0].row["cwd"] != os.path.realpath(other.trial.root)


def test_children_report_where_the_temporary_directory_is_long_or_missing(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", "import hpctune; hpctune.report(x=1)"], check=True)

    long = tmp_path / ("x" * 100)
    long.mkdir()
    for directory in (long, tmp_path / "missing"):
        b = bench(train)
        _, output = b.run(TMPDIR=str(directory))
        assert b.exit().outcome is Outcome.COMPLETED, output
        assert len(b.rows()) == 1


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_program_gets_the_signal_and_may_save(bench: Callable[..., Bench]) -> None:
    import hpctune

    script = "trap 'echo hpctune: saved=1; exit 0' TERM; echo hpctune: up=1; while :; do sleep 0.05; done"
    b = bench(hpctune.Command(script))
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(signal.SIGTERM)
    b.end(process)
    assert [r.row.get("saved") for r in b.rows()] == [None, 1]
    assert b.exit().outcome is Outcome.INTERRUPTED


def test_a_second_sigterm_leaves_no_program_behind(bench: Callable[..., Bench]) -> None:
    import hpctune

    b = bench(hpctune.Command("trap '' TERM; echo hpctune: program=$$; while :; do sleep 0.05; done"))
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    b.end(process)
    assert b.exit().outcome is Outcome.INTERRUPTED
    b.wait_for(lambda: _gone(b.rows()[0].row["program"]))


def test_an_exit_record_survives_a_line_that_a_full_disk_cut_off(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import resource
        import signal
        from pathlib import Path

        import hpctune

        hpctune.report(x=1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        full = Path("run-1.0.jsonl").stat().st_size + 50
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        try:
            hpctune.report(x="y" * 1000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    b = bench(train)
    b.run()
    end = b.exit()
    assert (end.outcome, len(b.rows())) == (Outcome.FAILED, 1)
    assert end.error is not None
    assert end.error.kind == "StorageError"
