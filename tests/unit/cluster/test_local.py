"""Local jobs: who holds what, and what every kill in between leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.local import machine
from hpctune.cluster.local.allocation import Allocation, MachineResources
from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.local.machine import Place
from hpctune.cluster.local.records import LocalRecord, run_note
from hpctune.cluster.options import LocalOptions
from hpctune.errors import ClusterUnavailableError, RequestRejectedError, UsageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, Refused
from hpctune.model.resources import Resources

LONG = "import time; print('up', flush=True); time.sleep(600)"


class Clock:
    """Real time, which a test may hurry on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., LocalCluster]]:
    made: list[LocalCluster] = []

    def build(**options: Any) -> LocalCluster:
        made.append(LocalCluster(tmp_path, "e1", LocalOptions(**{"cpus": 4, "gpus": 0, **options}), clock))
        return made[-1]

    yield build
    planted_here = (tmp_path / "jobs" / "local-planted.json").exists()  # nothing of that runs
    for cluster in [*made, build()] if not planted_here else []:
        cluster.cancel([job.job_id for job in cluster.jobs()])
        clock.ahead += 1000  # those that ignore SIGTERM get SIGKILL
        until(lambda cluster=cluster: all(job.state.final for job in cluster.jobs()))  # type: ignore[misc]
        cluster.close()


def request(tmp_path: Path, number: int = 1, code: str = LONG, resources: object = None) -> JobRequest:
    trial = tmp_path / f"trial{number}"
    return JobRequest(
        Tag("e1", f"t{number}", 1),
        "x",
        ("python", "-c", code),
        Resources.parse(resources),
        trial / "out",
        trial / "err",
    )


def submit(cluster: LocalCluster, asked: JobRequest) -> str:
    (outcome,) = cluster.submit([asked])
    assert isinstance(outcome, Accepted), outcome
    return outcome.job_id


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def state(cluster: LocalCluster, job_id: str) -> JobState:
    return next(j.state for j in cluster.jobs() if j.job_id == job_id)


def pid_of(cluster: LocalCluster, tmp_path: Path, job_id: str) -> int:
    until(lambda: state(cluster, job_id) is JobState.RUNNING)
    note = run_note(tmp_path / "jobs" / f"{job_id}.run")
    assert note is not None
    assert note.pid is not None
    return note.pid


def share(machine_: MachineResources, request_: object, *taken: Allocation) -> Allocation | None:
    return machine_.assign(Resources.parse(request_), taken)


def test_gpus_are_given_without_overlap_and_parts_share_one() -> None:
    four = MachineResources(8, ("0", "1", "2", "3"))
    first = share(four, {"gpu": 2})
    assert first is not None
    assert first.gpus == {"0": 1.0, "1": 1.0}
    half = share(four, {"gpu": 0.5}, first)
    assert half is not None
    assert half.gpus == {"2": 0.5}
    other = share(four, {"gpu": 0.5}, first, half)
    assert other is not None
    assert other.gpus == {"2": 0.5}
    assert share(four, {"gpu": 2}, first, half, other) is None
    last = share(four, {"gpu": 1}, first, half, other)
    assert last is not None
    assert last.gpus == {"3": 1.0}
    assert share(four, {"gpu": 0.1}, first, half, other, last) is None


@pytest.mark.parametrize(("request_", "room"), [({"cpu": 1}, 8), ({"cpu": 3}, 2), ({"cpu": 0, "gpu": 0.25}, 8)])
def test_room(request_: object, room: int) -> None:
    assert MachineResources(8, ("a", "b")).room(Resources.parse(request_), ()) == room


def test_thirds_of_a_gpu_are_three() -> None:
    assert MachineResources(8, ("a",)).room(Resources.parse({"gpu": 1 / 3}), ()) == 3


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"cpu": 9}, "needs 9 CPUs, and this machine offers 8"),
        ({"gpu": 3}, "needs 3 GPUs"),
        ({"gpu": 1.5}, "must be a whole number"),
        (
            {"cpu": 1, "tpu": 1},
            r"'tpu', and this machine offers 0. Say how much there is: LocalOptions\(resources={'tpu'",
        ),
        ({"cpu": 1, "licence": 3}, "needs 3 of the resource 'licence', and this machine offers 2"),
    ],
)
def test_what_never_fits_is_rejected(request_: object, words: str) -> None:
    with pytest.raises(RequestRejectedError, match=words):
        MachineResources(8, ("a", "b"), {"licence": 2}).check(Resources.parse(request_))


def test_other_resources_are_shared(tmp_path: Path) -> None:
    eight = MachineResources(8, custom={"licence": 2, "slot": 1})
    assert eight.room(Resources.parse({"cpu": 1, "licence": 1}), ()) == 2
    assert eight.room(Resources.parse({"cpu": 1, "licence": 0.5}), ()) == 4
    assert eight.room(Resources.parse({"cpu": 1, "custom_resources": {"slot": 1}}), ()) == 1
    held = share(eight, {"cpu": 1, "licence": 2})
    assert held is not None
    assert share(eight, {"cpu": 1, "licence": 1}, held) is None
    assert share(eight, {"cpu": 1, "slot": 1}, held) is not None
    record = LocalRecord("local-1", Tag("e", "t", 1), Place("h", "b", 1), held, path=tmp_path / "local-1.json")
    record.write()
    again = LocalRecord.read(record.path)
    assert again is not None
    assert again.share == held


@pytest.mark.parametrize("given", [3, {"a": -1}, {"a": "many"}, {"a": True}, {1: 1}, {"CPU": 2}, {"a": float("inf")}])
def test_amounts_of_other_resources_are_checked(given: Any) -> None:
    with pytest.raises(UsageError, match="resources"):
        LocalOptions(resources=given)


def test_gpus_are_those_the_environment_names(tmp_path: Path) -> None:
    assert machine.gpu_ids({"CUDA_VISIBLE_DEVICES": "2,GPU-8a,MIG-1"}) == ("2", "GPU-8a", "MIG-1")
    assert machine.gpu_ids({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert machine.gpu_ids({"PATH": str(tmp_path)}) == ()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    assert machine.gpu_ids({"PATH": str(tmp_path)}) == ("0", "1")
    program.write_text("#!/bin/sh\necho 'no driver' >&2; exit 9\n")
    assert machine.gpu_ids({"PATH": str(tmp_path)}) == ()


def test_each_job_sees_its_own_gpus(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make(gpus=["3", "5"])
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    asked = [{"gpu": 1, "cpu": 2}, {"gpu": 1}, {"cpu": 1}]
    for number, resources in enumerate(asked):
        submit(cluster, request(tmp_path, number, code, resources))
    until(lambda: all(j.state is JobState.COMPLETED for j in cluster.jobs()))
    seen = [(tmp_path / f"trial{n}" / "out").read_text().strip("\n") for n in range(3)]
    assert [s.split(" ")[0] for s in seen] == ["3", "5", ""]
    assert seen[0].endswith(" 2") or "OMP_NUM_THREADS" in os.environ


def test_what_does_not_fit_now_is_refused_for_now(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make(cpus=2)
    submit(cluster, request(tmp_path, 1, resources={"cpu": 2}))
    now, never = cluster.submit([request(tmp_path, 2), request(tmp_path, 3, resources={"cpu": 3})])
    assert isinstance(now, Refused)
    assert isinstance(never, Refused)
    assert (now.permanent, never.permanent) == (False, True)
    assert len(cluster.jobs()) == 1


def test_setup_runs_before_the_chosen_python(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make(setup=["export FROM_SETUP=yes"], python=f"env EXTRA=1 {sys.executable}", env={"MINE": "$x"})
    code = "import os; print(*(os.environ[n] for n in ('FROM_SETUP', 'EXTRA', 'MINE', 'HPCTUNE_JOB_ID')))"
    job_id = submit(cluster, request(tmp_path, 1, code))
    until(lambda: state(cluster, job_id) is JobState.COMPLETED)
    assert (tmp_path / "trial1" / "out").read_text() == f"yes 1 $x {job_id}\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [("raise SystemExit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL")],
)
def test_bad_ends_say_why(make: Callable[..., LocalCluster], tmp_path: Path, code: str, reason: str) -> None:
    cluster = make()
    submit(cluster, request(tmp_path, 1, code))
    until(lambda: cluster.jobs()[0].state is JobState.FAILED)
    assert cluster.jobs()[0].reason == reason


DRIVER = """
import sys; sys.path.insert(0, {here!r})
from pathlib import Path
from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.options import LocalOptions
from tests.unit.cluster.test_local import Clock, request
cluster = LocalCluster(Path({root!r}), "e1", LocalOptions(cpus=4, gpus=["0", "1"]), Clock())
print(cluster.submit([request(Path({root!r}), 1, resources={{"gpu": 1}})])[0].job_id, flush=True)
import os, signal; os.killpg(0, signal.{signal}) if "{signal}" != "SIGKILL" else os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGHUP"])
def test_jobs_survive_their_driver_and_are_adopted(make: Callable[..., LocalCluster], tmp_path: Path, how: str) -> None:
    here = str(Path(__file__).resolve().parents[3])
    code = DRIVER.format(here=here, root=str(tmp_path), signal=how)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True)
    assert died.returncode != 0
    job_id = died.stdout.strip()
    cluster = make(gpus=["0", "1"])
    assert cluster.room(Resources.parse({"gpu": 1})) == 1, "the adopted job's GPU is taken"
    until(lambda: state(cluster, job_id) is JobState.RUNNING)
    assert cluster.jobs()[0].tag == Tag("e1", "t1", 1)
    cluster.cancel([job_id])
    until(lambda: state(cluster, job_id) is JobState.CANCELLED)
    assert cluster.room(Resources.parse({"gpu": 1})) == 2


def planted(tmp_path: Path, **changes: Any) -> LocalRecord:
    """A record whose driver died before anything was started."""
    (tmp_path / "jobs").mkdir(exist_ok=True)
    path = tmp_path / "jobs" / "local-planted.json"
    made = LocalRecord("local-planted", Tag("e1", "t9", 1), Place.here(), Allocation(1.0), (2**22 + 1, "1"), None, path)
    made = replace(made, **changes)
    made.write()
    return made


def test_a_start_that_never_happened_is_given_up_for_good(
    make: Callable[..., LocalCluster], tmp_path: Path, clock: Clock
) -> None:
    record, cluster = planted(tmp_path), make()
    assert [j.state for j in cluster.jobs()] == [JobState.PENDING]
    clock.ahead += 3
    assert [j.state for j in cluster.jobs()] == [JobState.LOST]
    assert record.run_path.read_text() == "revoked\n"


def test_a_process_that_comes_too_late_runs_nothing(
    make: Callable[..., LocalCluster], tmp_path: Path, clock: Clock
) -> None:
    from hpctune.cluster.local.process import start

    record, cluster = planted(tmp_path), make()
    cluster.jobs()
    clock.ahead += 3
    cluster.jobs()
    process = start(request(tmp_path, 1, "print('ran')"), record, LocalOptions(), ())
    until(lambda: process.get_info()["jobState"] != "RUNNING")
    assert (tmp_path / "trial1" / "out").read_text() == ""


def test_while_the_starter_lives_it_is_waited_for(
    make: Callable[..., LocalCluster], tmp_path: Path, clock: Clock
) -> None:
    planted(tmp_path, driver=(os.getpid(), machine.start_time(os.getpid())))
    cluster = make()
    for ahead, expected in ((0, JobState.PENDING), (5, JobState.PENDING), (6, JobState.LOST)):
        clock.ahead += ahead
        assert [j.state for j in cluster.jobs()] == [expected]


def test_a_note_that_stays_empty_is_a_killed_process(
    make: Callable[..., LocalCluster], tmp_path: Path, clock: Clock
) -> None:
    planted(tmp_path).run_path.touch()
    cluster = make()
    assert [j.state for j in cluster.jobs()] == [JobState.PENDING]
    clock.ahead += 11
    assert [j.state for j in cluster.jobs()] == [JobState.LOST]


def test_jobs_of_another_machine_are_not_known_to_be_gone(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    record = planted(tmp_path, place=Place("elsewhere", "other boot", "pid:[1]"))
    with pytest.raises(ClusterUnavailableError, match=r"elsewhere.*Resume there"):
        make().jobs()
    record.run_path.write_text("started 1 1\nexited 0\n")
    assert [j.state for j in make().jobs()] == [JobState.COMPLETED], "it has ended, wherever it ran"


def test_a_restarted_machine_has_lost_its_jobs(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    here = Place.here()
    planted(tmp_path, place=replace(here, boot="the one before")).run_path.write_text(f"started {os.getpid()} 1\n")
    assert [j.state for j in make().jobs()] == [JobState.LOST]


def test_a_reused_process_id_is_not_the_job(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    planted(tmp_path).run_path.write_text(f"started {os.getpid()} 1\n")
    cluster = make()
    job = cluster.jobs()[0]
    if not machine.session_lives(os.getpid()):
        assert job.state is JobState.LOST


def test_the_work_goes_on_when_only_the_keeper_is_killed(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make()
    job_id = submit(cluster, request(tmp_path))
    keeper = pid_of(cluster, tmp_path, job_id)
    until(lambda: (tmp_path / "trial1" / "out").read_text() == "up\n")
    os.kill(keeper, signal.SIGKILL)
    until(lambda: cluster.jobs()[0].reason == "its wrapper process is gone")
    assert cluster.jobs()[0].state is JobState.RUNNING
    cluster.cancel([job_id])
    until(lambda: state(cluster, job_id) is JobState.CANCELLED)


def test_all_killed_at_once_is_lost(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make()
    job_id = submit(cluster, request(tmp_path))
    os.killpg(pid_of(cluster, tmp_path, job_id), signal.SIGKILL)
    until(lambda: state(cluster, job_id) is JobState.LOST)


STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


def test_who_ignores_sigterm_is_killed_when_its_time_is_up_also_by_a_later_driver(
    make: Callable[..., LocalCluster], tmp_path: Path, clock: Clock
) -> None:
    cluster = make(kill_wait_s=20)
    job_id = submit(cluster, request(tmp_path, 1, STUBBORN))
    until(lambda: state(cluster, job_id) is JobState.RUNNING and (tmp_path / "trial1" / "out").read_text() == "up\n")
    cluster.cancel([job_id])
    cluster.cancel([job_id])
    assert state(cluster, job_id) is JobState.RUNNING
    cluster.close()
    later = make(kill_wait_s=20)
    assert state(later, job_id) is JobState.RUNNING
    clock.ahead += 21
    until(lambda: state(later, job_id) is JobState.CANCELLED)


def test_children_left_behind_are_ended(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make()
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    job_id = submit(cluster, request(tmp_path, 1, code))
    until(lambda: state(cluster, job_id) is JobState.COMPLETED)
    child = int((tmp_path / "trial1" / "out").read_text())
    until(lambda: machine.start_time(child) is None)


def test_sigterm_reaches_user_code_which_may_finish(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make()
    code = (
        "import signal,sys,time\nsignal.signal(15, lambda *a: (print('bye', flush=True), sys.exit(0)))\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    job_id = submit(cluster, request(tmp_path, 1, code))
    out = tmp_path / "trial1" / "out"
    until(lambda: out.exists() and out.read_text() == "up\n")
    cluster.cancel([job_id])
    until(lambda: state(cluster, job_id) is JobState.CANCELLED)
    assert out.read_text() == "up\nbye\n"


def test_a_running_job_is_not_tidied(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make()
    job_id = submit(cluster, request(tmp_path))
    cluster.tidy([job_id])
    assert [j.job_id for j in cluster.jobs()] == [job_id]


def test_foreign_files_in_jobs_are_left_alone(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "local-x.json").write_text('{"tag": 3}')
    (tmp_path / "jobs" / "local-y.json").write_text(json.dumps({"tag": "hpctune:other:t:1"}))
    assert make().jobs() == []


def test_a_sigterm_before_the_command_runs_is_not_lost(make: Callable[..., LocalCluster], tmp_path: Path) -> None:
    cluster = make(cpus=100)
    for number in range(20):
        job_id = submit(cluster, request(tmp_path, number))
        until((tmp_path / "jobs" / f"{job_id}.run").exists)
        cluster.cancel([job_id])
    until(lambda: all(job.state is JobState.CANCELLED for job in cluster.jobs()))
