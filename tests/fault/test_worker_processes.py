"""Real worker processes that are killed at the worst moment, or whose user code does the worst."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.model.records import Claim, Outcome
from hpctune.worker import scratch
from tests.support.filesystem_support import small_disk
from tests.support.worker_support import Bench

SLURM = {"SLURM_JOB_ID": "77", "HPCTUNE_JOB_ID": "77"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(trainable: Any, config: dict[str, Any] | None = None, **control: Any) -> Bench:
        made.append(Bench(tmp_path / str(len(made)), trainable, config, **control))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _dies(moment: str, step: int) -> Callable[[dict[str, Any]], None]:
    """A trainable that saves itself at each step, and whose first run is killed at ``step``, at this ``moment``."""

    def train(config: dict[str, Any]) -> None:
        import os
        import signal
        import tempfile
        from pathlib import Path

        import hpctune
        from hpctune.storage import checkpoints, run_file

        def die(*args: Any, **kwargs: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        done, start = 0, hpctune.get_checkpoint()
        if start is not None:
            parts = [Path(start.path, str(i)).read_text() for i in range(20)]
            assert len(set(parts)) == 1, f"half a checkpoint: {parts}"
            done = int(parts[0])
        while done < 5:
            done += 1
            if done == step and os.environ.get("SLURM_RESTART_COUNT") is None:
                place = run_file.RunFile if moment == "result_text" else checkpoints
                setattr(place, moment, die)
            with tempfile.TemporaryDirectory() as directory:
                for i in range(20):
                    Path(directory, str(i)).write_text(str(done))
                hpctune.report({"done_here": done}, checkpoint=hpctune.Checkpoint(directory))

    return train


@pytest.mark.parametrize("moment", ["write_progress", "_sync_tree", "sync_directory", "result_text"])
def test_a_run_killed_while_it_saves_goes_on_from_the_last_whole_checkpoint(
    bench: Callable[..., Bench], moment: str
) -> None:
    b = bench(_dies(moment, 3))
    code, output = b.run(**SLURM)
    assert code == -signal.SIGKILL, output
    assert [r.row["done_here"] for r in b.rows()] == [1, 2]
    code, output = b.run(**SLURM, SLURM_RESTART_COUNT="1")
    assert code == 0, output
    rows = b.rows(restart=1)
    assert [r.row["done_here"] for r in rows] == [3, 4, 5], output
    assert [r.row["training_iteration"] for r in rows] == [3, 4, 5]
    for row in rows:
        assert Path(b.trial.root, row.checkpoint or "-", "19").read_text() == str(row.row["done_here"])
    assert b.exit(restart=1).outcome is Outcome.COMPLETED
    assert not [p.name for p in b.trial.root.iterdir() if p.name.startswith(".checkpoint")]


def test_a_requeued_run_of_a_job_that_has_ended_does_nothing(bench: Callable[..., Bench]) -> None:
    b = bench(lambda config: {"loss": 1})
    b.run(**SLURM)
    code, output = b.run(**SLURM, SLURM_RESTART_COUNT="1")
    assert (code, "nothing to do" in output) == (0, True)
    assert not Path(b.trial.run(1, 1)).exists()


@pytest.fixture
def node() -> Iterator[Path]:
    """A node's own temporary directory, with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as directory:
        yield Path(directory)


def test_a_process_that_leaves_by_itself_has_left_no_word(bench: Callable[..., Bench], node: Path) -> None:
    """The next worker on the node removes what was left there."""

    def train(config: dict[str, Any]) -> None:
        import os

        import hpctune

        hpctune.report(x=1)
        os._exit(7)

    b = bench(train)
    code, _ = b.run(TMPDIR=str(node))
    assert code == 7
    assert b.records()[-1] == b.rows()[-1]
    claim = b.records()[0]
    assert isinstance(claim, Claim)
    places = [Path(parent or node) for parent in scratch.PARENTS]

    def left() -> list[Path]:
        return [path for place in places for path in place.glob(f"hpctune-*-{claim.pid}-*")]

    assert len(left()) == 1
    other = bench(lambda config: {"x": 1})
    other.run(TMPDIR=str(node))
    assert left() == []


@pytest.mark.parametrize("ending", ["", "raise RuntimeError('in the child')", "sys.exit(0)"])
def test_a_forked_child_that_comes_back_does_not_speak_for_the_run(bench: Callable[..., Bench], ending: str) -> None:
    def train(config: dict[str, Any]) -> None:
        import os
        import sys  # noqa: F401

        import hpctune

        child = os.fork()
        if child == 0:
            exec(ending)
            return
        os.waitpid(child, 0)
        hpctune.report(x=1)

    b = bench(train)
    code, output = b.run()
    assert (code, len(b.rows()), len(b.records())) == (0, 1, 3), output
    assert b.exit().outcome is Outcome.COMPLETED


@pytest.mark.parametrize("code", [0, 3, "that was it"])
def test_a_forked_child_leaves_with_its_own_exit_code(bench: Callable[..., Bench], code: int | str) -> None:
    def train(config: dict[str, Any]) -> None:
        import os
        import sys

        import hpctune

        child = os.fork()
        if child == 0:
            sys.exit(config["code"])
        hpctune.report(code=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    b = bench(train, {"code": code})
    _, output = b.run()
    assert [r.row["code"] for r in b.rows()] == [code if isinstance(code, int) else 1]
    assert ("that was it" in output) is (code == "that was it")


@pytest.mark.parametrize("word", ["return", "yield"])
def test_what_a_forked_child_returns_or_yields_is_no_result(bench: Callable[..., Bench], word: str) -> None:
    source = f"""
def train(config):
    import os
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    {word} {{"child": child == 0}}
"""
    names: dict[str, Any] = {}
    exec(source, names)
    b = bench(names["train"])
    _, output = b.run()
    assert [r.row["child"] for r in b.rows()] == [False], output
    assert b.exit().outcome is Outcome.COMPLETED
    assert "Traceback" not in output


def _uses_processes(config: dict[str, Any]) -> None:
    """As data loaders do: children are ended, and pools come one after another."""
    import multiprocessing
    import os
    import signal
    import time

    import hpctune

    fork = multiprocessing.get_context("fork")
    codes = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        child = fork.Process(target=time.sleep, args=(60,))
        child.start()
        assert child.pid is not None
        os.kill(child.pid, number)
        child.join()
        codes.append(-(child.exitcode or 0))
    sums = []
    for _ in range(4):
        with fork.Pool(2) as pool:
            sums.append(sum(pool.map(abs, [-1, 2, -3])))
    hpctune.report(codes=codes, sums=sums)


def test_children_can_be_ended_and_pools_come_to_their_end(bench: Callable[..., Bench]) -> None:
    b = bench(_uses_processes)
    code, output = b.run()
    assert code == 0, output
    assert [(r.row["codes"], r.row["sums"]) for r in b.rows()] == [([15, 12], [6] * 4)]


def test_a_signal_to_the_whole_job_ends_the_children_and_interrupts_the_run(bench: Callable[..., Bench]) -> None:
    """What it raises then, since its process is gone, is no failure of the trial."""

    def train(config: dict[str, Any]) -> None:
        import multiprocessing
        import time

        import hpctune

        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        hpctune.report(x=1)
        child.join()
        raise RuntimeError(f"the loader was killed: {child.exitcode}")

    b = bench(train)
    process = b.start()
    b.wait_for_rows(1)
    os.killpg(process.pid, signal.SIGTERM)
    code, output = b.end(process)
    assert (code, b.exit().outcome) == (0, Outcome.INTERRUPTED), output
    assert "the loader was killed: -15" in output
    assert b.exit().reason == "SIGTERM received, then the trainable raised"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_any_kind_report(bench: Callable[..., Bench], method: str) -> None:
    def train(config: dict[str, Any]) -> None:
        import functools
        import multiprocessing

        import hpctune

        child = multiprocessing.get_context(method).Process(target=functools.partial(hpctune.report, child=1))
        child.start()
        child.join()
        hpctune.report(child=child.exitcode)

    b = bench(train)
    _, output = b.run()
    assert [r.row["child"] for r in b.rows()] == [1, 0], output


def test_closed_descriptors_do_not_cost_the_record(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import os
        import sys

        import hpctune

        hpctune.report(x=1)
        sys.stdout.close()
        os.close(2)
        raise RuntimeError("gone wrong")

    b = bench(train)
    code, _ = b.run()
    assert (code, b.exit().outcome) == (0, Outcome.FAILED)


def test_a_child_that_holds_the_output_does_not_keep_the_job(bench: Callable[..., Bench]) -> None:
    def train(config: dict[str, Any]) -> None:
        import subprocess

        subprocess.Popen(["sleep", "60"])

    b = bench(train)
    process = b.start()
    assert process.wait(30) == 0
    os.killpg(process.pid, signal.SIGKILL)


# -- programs ----------------------------------------------------------------------------------------------------------

SAVES_ON_SIGNAL = """
trap 'mkdir ck; echo saved > ck/model; hpctune report last=1 --checkpoint ck; exit 0' TERM USR2
echo hpctune: ready=1
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_program_may_save_itself_on_a_signal(bench: Callable[..., Bench], number: signal.Signals) -> None:
    b = bench(hpctune.Command(SAVES_ON_SIGNAL))
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(number)
    _, output = b.end(process)
    assert b.exit().outcome is Outcome.INTERRUPTED, output
    assert b.rows()[-1].row.get("last") == 1, output
    assert Path(b.trial.root, b.rows()[-1].checkpoint or "-", "model").read_text() == "saved\n"


TALKS_WHILE_IT_SAVES = """
trap 'leave=1' TERM USR2
echo hpctune: ready=1
while [ -z "$leave" ]; do sleep 0.05; done
for i in 1 2 3 4 5 6 7 8 9 10; do echo hpctune: saving=$i; sleep 0.05; done
mkdir ck; echo saved > ck/model; test "$(hpctune report last=1 --checkpoint ck)" = stop || exit 1
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_what_a_program_prints_after_a_signal_does_not_end_it_before_it_has_saved(
    bench: Callable[..., Bench], number: signal.Signals
) -> None:
    b = bench(hpctune.Command(TALKS_WHILE_IT_SAVES))
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(number)
    code, output = b.end(process)
    assert (code, b.exit().outcome) == (0, Outcome.INTERRUPTED), output
    assert [r.row.get("saving") for r in b.rows()[1:-1]] == list(range(1, 11)), output
    assert Path(b.trial.root, b.rows()[-1].checkpoint or "-", "model").read_text() == "saved\n"


def test_a_second_sigterm_ends_a_stubborn_program_at_once(bench: Callable[..., Bench]) -> None:
    b = bench(hpctune.Command("trap '' TERM; echo hpctune: child=$$; while :; do sleep 0.05; done"))
    process = b.start()
    b.wait_for_rows(1)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    b.end(process)
    assert time.monotonic() - began < 8
    assert b.exit().outcome is Outcome.INTERRUPTED
    b.wait_for(lambda: not Path(f"/proc/{b.rows()[0].row['child']}").exists())


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("1m") as place:
        yield place


def test_a_full_disk_costs_the_checkpoint_and_not_the_result(disk: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        import tempfile
        from pathlib import Path

        import hpctune

        told: list[str] = []
        for step in range(3):
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "model").write_bytes(b"x" * (2_000_000 if step == 1 else 1000))
                try:
                    hpctune.report({"step": step}, checkpoint=hpctune.Checkpoint(directory))
                except hpctune.TuneError as error:
                    told.append(str(error))
        hpctune.report(told=told)

    b = Bench(disk / "experiment", train)
    try:
        code, output = b.run(HPCTUNE_STORAGE_PATIENCE_S="0.3")
        assert (code, b.exit().outcome) == (0, Outcome.COMPLETED), output
        assert [(r.row["step"], bool(r.checkpoint)) for r in b.rows()[:3]] == [(0, True), (1, False), (2, True)]
        assert ["No space left" in words for words in b.rows()[3].row["told"]] == [True]
        assert not [p.name for p in b.trial.root.iterdir() if p.name.startswith(".checkpoint")]
    finally:
        b.close()
