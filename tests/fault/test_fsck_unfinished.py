"""fsck on experiments that are not over: a driver at work, a driver and jobs that were killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hpctune.model.trial import Phase
from hpctune.storage.reader import read_experiment
from tests.support.driver_support import ITERATIONS, Make, Search
from tests.support.fsck_support import fsck, kinds

pytestmark = pytest.mark.timeout(200)


def workers(root: Path) -> list[int]:
    """Process ids of the local jobs that live."""
    found = []
    for record in root.glob("jobs/*.run"):
        words = record.read_text().split()
        if words[:1] == ["started"] and "exited" not in words and Path(f"/proc/{words[1]}").exists():
            found.append(int(words[1]))
    return found


def killed_driver(search: Search, *, jobs: bool, await_jobs: bool = True) -> None:
    """A search whose driver is killed in the middle; ``jobs``: its jobs as well, else they go on to their end."""
    (search.side / "hold").unlink(missing_ok=True)
    driver = search.start()

    def half_way() -> bool:
        trials = read_experiment(search.root, peek=False).state.trials.values() if search.view() is not None else ()
        return any(t.phase is Phase.RUNNING and 2 <= t.results < ITERATIONS - 1 for t in trials)

    search.wait(half_way, "a trial half way")
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    if jobs:
        for session in workers(search.root):
            os.killpg(session, signal.SIGKILL)
    if await_jobs:
        search.wait(lambda: not workers(search.root), "the jobs' end")


def test_while_a_driver_works_nothing_is_touched(make: Make) -> None:
    search = make(trials=3)
    (search.side / "hold_00002").touch()
    driver = search.start()

    def settled() -> list[Path]:
        view = search.view()
        done = [t for t in view.state.trials.values() if t.finalized] if view is not None else []
        return [search.root / t.dirname for t in done]

    search.wait(lambda: search.results_so_far() >= 1, "a result")
    search.wait(settled, "a trial that is over")
    gone = settled()[0]
    (gone / "result.json").unlink()
    code, report = fsck(search.root)
    assert (code, report["repaired"], kinds(report, "left")) == (2, [], {"derived files"}), report
    assert f"a driver is at work (process {driver.pid} on " in report["refused"]
    assert not (search.root / "quarantine").exists()
    assert not (gone / "result.json").exists()
    assert json.loads((search.root / "lease.json").read_bytes())["pid"] == driver.pid
    (search.side / "hold_00002").unlink()
    output, errors = driver.communicate(timeout=90)
    assert output == "finished\n", errors
    assert fsck(search.root)[0] == 1
    search.check()


@pytest.mark.parametrize("jobs", [False, True], ids=["jobs went on", "jobs killed"])
def test_killed_and_damaged_and_resumed(make: Make, jobs: bool) -> None:
    """Everything that does not hold results of its own is damaged: the search ends as if nothing had been."""
    search = make(trials=3, pause_s=0.25)
    killed_driver(search, jobs=jobs)
    live = [t for t in read_experiment(search.root, peek=False).state.trials.values() if t.phase is Phase.RUNNING]
    assert live
    for trial in live:
        root = search.root / trial.dirname
        for path in root.glob("run-*.jsonl"):
            first, *rest = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join([first, b'{"seq":1,"r\xff\n', *rest, b'{"seq":']))
        (root / "control.json").write_text("{")
        (root / "result.json").write_text("{")
        (root / "params.pkl").unlink()
        (root / ".checkpoint_staging_0123456789ab").mkdir()
    code, report = fsck(search.root)
    expected = {"stale lease", "control file", "derived files", "half-made checkpoint"}
    assert code == 1, report
    assert expected < kinds(report)
    assert kinds(report) - expected == {"garbled line"}
    clean = fsck(search.root)
    assert (clean[0], clean[1]["repaired"], clean[1]["left"]) == (0, [], [])
    quarantined = [p.read_bytes() for p in (search.root / "quarantine").rglob("run-*.jsonl")]
    assert quarantined == [b'{"seq":1,"r\xff\n{"seq":\n'] * len(live)
    search.finish()


def test_a_run_that_may_live_is_left_alone(make: Make) -> None:
    search = make(trials=2)
    (search.side / "hold").touch()
    driver = search.start()
    # A run tidies its directory between its claim and the user's code, which leaves a note beside "hold".
    search.wait(lambda: len(list(search.side.iterdir())) == 3, "two runs")
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert workers(search.root)
    run = next(search.root.glob("*/run-1.0.jsonl"))
    staging = run.parent / ".checkpoint_staging_0123456789ab"
    staging.mkdir()
    with run.open("ab") as file:
        file.write(b'{"seq":99,"ro')
    before = run.read_bytes()
    assert fsck(search.root)[0] == 1
    assert staging.is_dir()
    assert run.read_bytes() == before
    with run.open("rb+") as file:  # as the run would have gone on, had it been its own line
        file.truncate(len(before) - 13)
    (search.side / "hold").unlink()
    search.finish()


def test_a_lost_run_file_costs_its_last_results_only(make: Make) -> None:
    """A trial directory goes while nobody looks: its trial begins anew, with the results that are in the journal."""
    search = make(trials=2, pause_s=0.25)
    killed_driver(search, jobs=True)
    trial = next(
        t
        for t in read_experiment(search.root, peek=False).state.trials.values()
        if t.phase is Phase.RUNNING and t.results
    )
    shutil.rmtree(search.root / trial.dirname)
    code, report = fsck(search.root)
    assert code == 1
    assert "deleted trial" in kinds(report, "notes")
    output, errors = search.start().communicate(timeout=90)
    assert output == "finished\n", errors
    view = read_experiment(search.root, with_rows=True)
    assert [r.row["i"] for r in view.rows if r.trial_id == trial.trial_id] == list(range(1, ITERATIONS + 1))


def test_jobs_that_nobody_wants(make: Make, tmp_path: Path) -> None:
    """A local job whose attempt is over by the journal is reported, and cancelled when that is asked for."""
    search = make(trials=1)
    (search.side / "hold").touch()
    driver = search.start()
    search.wait(lambda: workers(search.root), "a job")
    search.wait(lambda: (v := search.view()) is not None and v.state.phases[Phase.RUNNING], "its claim")
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    record = next(search.root.glob("jobs/local-*.json"))
    data = json.loads(record.read_text())
    record.write_text(json.dumps(data | {"tag": data["tag"][:-1] + "7"}))
    fsck(search.root)
    code, report = fsck(search.root)
    assert (code, kinds(report, "left")) == (1, {"orphaned job"})
    assert "--cancel-orphans" in report["left"][0]["action"]
    assert workers(search.root)
    code, report = fsck(search.root, "--cancel-orphans")
    assert kinds(report) == {"orphaned job"}
    search.wait(lambda: not workers(search.root), "the job's end")


def test_the_report_for_people(make: Make) -> None:
    search = make(trials=2, pause_s=0.25)
    killed_driver(search, jobs=True)
    for path in search.root.glob("*/result.json"):
        path.write_bytes(path.read_bytes()[:-5])
    for width in (80, 120):
        done = subprocess.run(
            ["hpctune", "fsck", str(search.root), "--dry-run"],
            capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": str(width)}, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].endswith("problems found, nothing changed")
        assert "  Found: stale lease" in lines
        assert lines[-1] == f"To repair: hpctune fsck {search.root}"
        assert all(len(line) <= width for line in lines if str(search.root) not in line)


@pytest.mark.parametrize("jobs", [False, True], ids=["workers live", "workers killed"])
def test_workers_that_stay_with_damaged_files(make: Make, jobs: bool) -> None:
    search = make(trials=4, pause_s=0.25, more="workers=2")
    killed_driver(search, jobs=jobs, await_jobs=jobs)
    first, second = (search.root / "workers" / name for name in ("w0001", "w0002"))
    (first / "worker.json").write_text("{")
    (first / ".orders.json.4711.tmp").write_text("{")
    (second / "orders.json").write_text("{")
    with (second / "run-0.jsonl").open("ab") as file:
        file.write(b"garbage\n")
    (search.root / "workers" / "w0003").mkdir()
    drivers = search.root / "drivers"
    drivers.mkdir()
    for name in ("options.json", "17.json"):
        (drivers / name).write_text("{")
    code, report = fsck(search.root)
    expected = {"stale lease", "damaged worker", "orders", "driver jobs", "left over"}
    assert (code, expected - kinds(report)) == (1, set())
    assert "garbled line" in kinds(report, "notes")
    kept = search.root / "quarantine" / "0001"
    quarantined = {str(p.relative_to(kept)) for p in kept.rglob("*")}
    assert {"workers/w0001", "workers/w0002/orders.json", "drivers/options.json", "drivers/17.json"} <= quarantined
    assert not (search.root / "workers" / "w0003").exists()
    clean = fsck(search.root)
    assert clean[1]["repaired"] == []
    assert kinds(clean[1], "left") == (set() if jobs else {"orphaned job"}), "the next driver cancels it"
    search.finish()
    search.wait(lambda: not workers(search.root), "the workers' end")
