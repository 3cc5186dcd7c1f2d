"""From facts about a site to findings: pure functions, one situation each."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hpctune.cluster.slurm.sinfo import NodeGroup
from hpctune.site.findings import Advice, Check, Setting, seconds, together
from hpctune.site.node import job, program
from hpctune.site.node.checks import judge_node
from hpctune.site.node.facts import NodeFacts
from hpctune.site.slurm.checks import (
    accounting,
    ends_of_jobs,
    gpus,
    judge_slurm,
    latency,
    limits,
    tools,
    which_partition,
)
from hpctune.site.slurm.facts import (
    TOOLS,
    Partition,
    SlurmFacts,
    leading_number,
    parse_config,
    parse_partitions,
    parse_rows,
)
from hpctune.site.storage import facts as storagefacts, pingpong
from hpctune.site.storage.checks import Visibility, judge_shared, judge_storage
from hpctune.site.storage.facts import StorageFacts
from hpctune.storage.quota import mount_of
from hpctune.version import VERSION

MAIN = Partition("main", True, "UP", "1-00:00:00", "OFF", 0, 10)
SCAVENGE = Partition("scavenge", False, "UP", "UNLIMITED", "REQUEUE", 0, 10)
CONFIG = {
    "MaxJobCount": "10000", "MaxArraySize": "1001", "MinJobAge": "300 sec", "KillWait": "30 sec", "JobRequeue": "1",
    "SlurmdTimeout": "300 sec", "PreemptType": "preempt/partition_prio", "AccountingStorageType": "(null)",
}  # fmt: skip
FACTS = SlurmFacts(
    {name: f"/usr/bin/{name}" for name in TOOLS}, "slurm 23.11.4", 0.02, "", CONFIG, (MAIN, SCAVENGE),
    (NodeGroup("main", True, 1440, 10, 64, 256000, {"": 0}, True),),
)  # fmt: skip
DBD = replace(FACTS, config=CONFIG | {"AccountingStorageType": "accounting_storage/slurmdbd"})


def words(advice: Advice, *marks: str) -> str:
    return "\n".join(f"{c.found} {c.meaning}".strip() for c in advice.checks if not marks or c.mark in marks)


def settings(advice: Advice) -> dict[str, object]:
    return {s.name: s.value for s in advice.settings}


def test_a_good_site_has_nothing_to_complain_of() -> None:
    advice = together(judge_slurm(FACTS, None, None))
    assert words(advice, "warn", "fail") == ""
    assert settings(advice) == {"time": "1-00:00:00"}


def test_tools_that_are_missing() -> None:
    few = replace(FACTS, tools=dict.fromkeys(TOOLS) | {"sbatch": "/usr/bin/sbatch"})
    assert "squeue is not on PATH It shows where they are." in words(tools(few), "fail")
    assert "srun is not on PATH" in words(tools(few), "warn")
    assert "scontrol is not on PATH" in words(tools(few), "warn")


def test_no_controller_ends_the_questions() -> None:
    silent = replace(FACTS, ping_s=None, trouble="Unable to contact slurm controller")
    (only,) = judge_slurm(silent, None, None)
    assert "slurmctld does not answer: Unable to contact slurm controller" in words(only, "fail")


@pytest.mark.parametrize(
    ("took", "mark", "advised"),
    [
        (0.05, "ok", {}),
        (2.0, "warn", {"quiet_poll_s": 60.0, "calls_per_minute": 30}),
        (9.0, "warn", {"quiet_poll_s": 120.0, "calls_per_minute": 20, "timeout_s": 180.0}),
    ],
)
def test_a_slow_controller(took: float, mark: str, advised: dict[str, object]) -> None:
    advice = latency(replace(FACTS, ping_s=took))
    assert [c.mark for c in advice.checks] == [mark]
    assert settings(advice) == advised


def test_settings_are_options_of_slurm() -> None:
    """What is recommended can be pasted."""
    from hpctune.cluster.options import SlurmOptions

    slow = replace(FACTS, ping_s=9.0, config=CONFIG | {"MinJobAge": "20 sec"})
    limited = replace(slow, assocs=({"account": "a", "maxsubmit": "50"},))
    advised = settings(together(judge_slurm(limited, "main", None)))
    assert set(advised) == {"quiet_poll_s", "calls_per_minute", "timeout_s", "time", "partition", "max_submitted"}
    assert SlurmOptions.from_mapping(advised).max_submitted == 40


def test_accounts() -> None:
    assert "None is needed" in words(accounting(FACTS, None), "ok")
    two = replace(DBD, assocs=({"account": "physics"}, {"account": "biology"}))
    assert "several accounts" in words(accounting(two, None), "info")
    assert "'chemistry' is not one of your accounts Choose one of: biology, physics." in words(
        accounting(two, "chemistry"), "fail"
    )
    strict = replace(DBD, config=dict(DBD.config) | {"AccountingStorageEnforce": "associations,limits"})
    assert "you have no account" in words(accounting(strict, None), "fail")
    broken = replace(DBD, accounting_trouble="Connection refused")
    assert "does not answer: Connection refused" in words(accounting(broken, None), "warn")


def test_partitions() -> None:
    assert "there is no partition 'gpu' There are: main, scavenge." in words(which_partition(FACTS, "gpu"), "fail")
    none = replace(FACTS, partitions=(SCAVENGE,))
    assert "no partition is the default Say which one with -p. There are: scavenge." in words(
        which_partition(none, None), "fail"
    )
    down = replace(FACTS, partitions=(replace(MAIN, state="DRAIN"),))
    assert "main takes no jobs now (drain)" in words(which_partition(down, "main"), "warn")
    assert settings(which_partition(FACTS, "scavenge")) == {"partition": "scavenge"}


def test_limits_on_submitted_jobs() -> None:
    rows = ({"account": "a", "maxsubmit": "100", "grpsubmit": "", "defaultqos": "normal"},)
    qos = ({"name": "normal", "maxsubmitpu": "60"}, {"name": "other", "maxsubmitpu": "5"})
    advice = limits(replace(DBD, assocs=rows, qos=qos, queued=10))
    assert "at most 60 of your jobs at a time (maxsubmitpu of QOS normal); 10 are there now" in words(advice, "warn")
    assert settings(advice) == {"max_submitted": 40}
    generous = limits(replace(DBD, assocs=({"account": "a", "maxsubmit": "5000"},)))
    assert "at most 5000" in words(generous, "ok")
    assert settings(generous) == {}


def test_a_full_queue_leaves_one() -> None:
    full = limits(replace(DBD, assocs=({"account": "a", "maxsubmit": "10"},), queued=30))
    assert settings(full) == {"max_submitted": 1}


def test_jobs_that_are_soon_forgotten() -> None:
    advice = limits(replace(FACTS, config=CONFIG | {"MinJobAge": "15 sec"}))
    assert "forgotten after 15 s" in words(advice, "warn")
    assert settings(advice) == {"quiet_poll_s": 5.0}


def test_ends_of_jobs() -> None:
    assert "preempted" not in words(ends_of_jobs(FACTS, "main"))
    assert "jobs in scavenge can be preempted (requeue), without notice" in words(
        ends_of_jobs(FACTS, "scavenge"), "warn"
    )
    off = replace(FACTS, config=CONFIG | {"PreemptType": "preempt/none"})
    assert "preempted" not in words(ends_of_jobs(off, "scavenge"))
    never = replace(FACTS, config=CONFIG | {"JobRequeue": "0", "SlurmdTimeout": "0 sec"})
    assert "jobs are not requeued here" in words(ends_of_jobs(never, None), "info")
    assert "never given up" in words(ends_of_jobs(never, None), "warn")


def test_gpus_and_where_they_are() -> None:
    assert "no node has GPUs" in words(gpus(FACTS, None))
    group = NodeGroup("gpu", False, None, 3, 64, 1000, {"": 4, "a100": 4}, True)
    assert "gpu: 3 nodes with 4 x a100" in words(gpus(replace(FACTS, groups=(group,)), None))
    assert "main has none For trials with GPUs: -p gpu." in words(gpus(replace(FACTS, groups=(group,)), None))


def test_parsing() -> None:
    assert parse_config("Configuration data as of x\nKillWait                = 30 sec\nA = b = c\n") == {
        "KillWait": "30 sec", "A": "b = c",
    }  # fmt: skip
    (p,) = parse_partitions("PartitionName=gpu AllowGroups=ALL Default=YES GraceTime=60 MaxTime=2-00:00:00 "
                            "PreemptMode=REQUEUE State=UP TotalCPUs=8 TotalNodes=2\n\n")  # fmt: skip
    assert p == Partition("gpu", True, "UP", "2-00:00:00", "REQUEUE", 60, 2)
    assert parse_rows("a|b\n\nc|\n", ("x", "y")) == [{"x": "a", "y": "b"}, {"x": "c", "y": ""}]
    assert (leading_number("300 sec"), leading_number("(null)")) == (300, None)
    assert (seconds(0.0004), seconds(0.05), seconds(3.14), seconds(61)) == ("0.001 s", "0.05 s", "3.1 s", "61 s")


def test_of_two_settings_of_one_name_the_first_counts() -> None:
    parts = [Advice((), (Setting("time", 1, "a"),)), Advice((Check("x", "ok", "y"),), (Setting("time", 2, "b"),))]
    assert settings(together(parts)) == {"time": 1}


# -- the filesystem ---------------------------------------------------------------------------------------------------

GOOD = StorageFacts(
    Path("/shared"), "nfs4", "server:/x", "rw,relatime", 10**12, 10**13, 10**7, 10**8,
    locks={"flock": "blocked", "fcntl": "blocked"}, sync_s=0.002,
)  # fmt: skip


def test_a_good_filesystem() -> None:
    assert words(judge_storage(GOOD, shared=True), "warn", "fail") == ""


@pytest.mark.parametrize(
    ("change", "mark", "said"),
    [
        ({"kind": "tmpfs"}, "fail", "It is memory"),
        ({"kind": "ext4"}, "info", "looks like a disk of this machine"),
        ({"options": "rw,nolock"}, "warn", "mounted with nolock"),
        ({"rename": "Permission denied"}, "fail", "rename does not work: Permission denied"),
        ({"exclusive": "a file that existed was created once more"}, "fail", "exclusive create does not work"),
        ({"links": "Operation not supported"}, "info", "no hard links"),
        ({"locks": {"flock": "acquired"}}, "warn", "granted twice"),
        ({"locks": {"flock": "error: Function not implemented"}}, "fail", "do not work: Function not implemented"),
        ({"free_bytes": 10**9}, "warn", "1 GB of 10 TB free"),
        ({"free_inodes": 300}, "warn", "300 inodes free"),
        ({"clock_ahead_s": -90.0}, "info", "clock is 90 s behind"),
        ({"sync_s": 0.5}, "warn", "a synced append takes 0.5 s"),
        ({"quota": "used 9G of 10G"}, "info", "quota: used 9G of 10G"),
        ({"trouble": "Cannot write in /shared: Read-only file system"}, "fail", "Read-only file system Choose another"),
    ],
)
def test_a_bad_filesystem(change: dict[str, object], mark: str, said: str) -> None:
    assert said in words(judge_storage(replace(GOOD, **change), shared=True), mark)  # type: ignore[arg-type]


def test_a_disk_of_this_machine_is_fine_for_this_machine() -> None:
    assert words(judge_storage(replace(GOOD, kind="ext4"), shared=False), "info", "warn", "fail") == ""


def test_which_mount() -> None:
    text = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:5 / /shared rw - nfs4 srv:/a rw,vers=4.2\n"
        "31 30 0:6 / /shared/with\\040space rw - lustre mds:/b rw,flock\nnonsense\n"
    )
    assert mount_of(Path("/shared/me"), text) == ("nfs4", "srv:/a", "rw,vers=4.2")
    assert mount_of(Path("/shared/with space/x"), text)[0] == "lustre"
    assert mount_of(Path("/sharedness"), text)[0] == "ext4"


def test_tried_out_for_real(tmp_path: Path) -> None:
    facts = storagefacts.gather(tmp_path)
    assert (facts.rename, facts.exclusive, facts.links) == ("", "", "")
    assert facts.locks == {"flock": "blocked", "fcntl": "blocked"}
    assert facts.total_bytes > facts.free_bytes > 0


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    from hpctune.errors import StorageError

    with pytest.raises(StorageError, match="Cannot write in"), job.scratch_in(tmp_path / "file" / "x"):
        pass


def test_scratch_leaves_nothing_and_takes_only_its_own(tmp_path: Path) -> None:
    with job.scratch_in(tmp_path / "a" / "b") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with job.scratch_in(tmp_path / "mine"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


# -- a node -----------------------------------------------------------------------------------------------------------

HERE = NodeFacts("login", "3.11.7", "/env/bin/python", {"numpy": "2.0", "torch": ""}, 0.2, version=VERSION)
THERE = NodeFacts(
    "node1", "3.11.7", "/env/bin/python", {"numpy": "2.0", "torch": ""}, 0.4, "", VERSION,
    {"scontrol": True, "sbatch": True, "srun": True}, skew_s=0.01, skew_error_s=0.02,
    locks={"flock": "blocked", "fcntl": "blocked"}, races=40,
)  # fmt: skip


def test_a_good_node() -> None:
    assert words(judge_node(THERE, HERE, gpus_asked=0), "info", "warn", "fail") == ""
    assert words(judge_shared(None, THERE), "info", "warn", "fail") == ""


@pytest.mark.parametrize(
    ("change", "mark", "said"),
    [
        ({"python": "3.12.1"}, "fail", "Python 3.12.1"),
        ({"imported_s": None, "import_error": "No module named 'hpctune'"}, "fail", "fails there: No module named"),
        ({"version": "0.0.9"}, "fail", "hpctune 0.0.9 there"),
        ({"imported_s": 12.0}, "warn", "takes 12 s there"),
        ({"packages": {"numpy": "1.26"}}, "warn", "other versions there: numpy 1.26 (here 2.0)"),
        ({"packages": {"numpy": ""}}, "warn", "numpy missing (here 2.0)"),
        ({"skew_s": -300.0}, "warn", "300 s behind"),
        ({"skew_s": 12.0}, "info", "12 s ahead"),
        ({"leaked": ("SBATCH_QOS",)}, "warn", "SBATCH_QOS"),
        ({"tools": {"srun": False}}, "warn", "srun is not on PATH there"),
        ({"tools": {"srun": True, "scontrol": False}}, "ok", "hpctune needs no command of Slurm on nodes"),
        ({"visible_gpus": "0"}, "info", "without being asked for"),
    ],
)
def test_a_bad_node(change: dict[str, object], mark: str, said: str) -> None:
    assert said in words(judge_node(replace(THERE, **change), HERE, gpus_asked=0), mark)  # type: ignore[arg-type]


def test_gpus_that_were_asked_for() -> None:
    assert "no GPU is visible (CUDA_VISIBLE_DEVICES=not set)" in words(judge_node(THERE, HERE, gpus_asked=1), "fail")
    sees = replace(THERE, visible_gpus="3", listed_gpus=1)
    assert "sees its GPU (CUDA_VISIBLE_DEVICES=3, nvidia-smi lists 1)" in words(
        judge_node(sees, HERE, gpus_asked=1), "ok"
    )


@pytest.mark.parametrize(
    ("seen", "mark"), [(0.1, "ok"), (15.0, "warn"), (61.0, "fail"), (None, "fail")]
)  # fmt: skip
def test_visibility(seen: float | None, mark: str) -> None:
    advice = judge_shared(Visibility({"create": seen, "append": 0.1}, {"create": 0.2}), THERE)
    assert advice.checks[0].mark == mark


def test_what_does_not_reach_the_node() -> None:
    far = replace(THERE, locks={"flock": "acquired", "fcntl": "error: x"}, races_twice=3)
    advice = judge_shared(None, far)
    assert "3 of 40 files were created exclusively by both sides" in words(advice, "fail")
    assert "a lock held here (flock) is not seen there: acquired" in words(advice, "warn")
    assert "fcntl" in words(advice, "info")


# -- the game ---------------------------------------------------------------------------------------------------------


def test_delays_and_skew_are_told_apart() -> None:
    """The node's clock is 100 s ahead; what we do is seen after 3 s there, what it does after 1 s here."""
    there = {"create": 1103.0, "append": 1100.5, "rename": 1100.5, "listing": 1100.5}
    here = dict.fromkeys(there, 1005.5)
    visibility, skew = pingpong.judge([pingpong.Round(1000.0, there, 1105.0, here)])
    assert skew == (100.0, 0.5)
    assert visibility is not None
    assert visibility.there == {"create": 3.0, "append": 0.5, "rename": 0.5, "listing": 0.5}
    assert visibility.back["create"] == 0.5


def test_what_is_never_seen() -> None:
    seen = dict.fromkeys(("append", "rename", "listing"), 1.0)
    visibility, _ = pingpong.judge([pingpong.Round(0.5, seen, 1.0, seen)])
    assert visibility is not None
    assert visibility.there["create"] is None
    assert visibility.longest is None
    assert pingpong.judge([]) == (None, None)


def test_both_sides_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's program, in a thread, against our side."""
    pingpong.set_up(tmp_path, ["click"], ["LEAKED"])
    monkeypatch.setenv("LEAKED", "1")
    monkeypatch.setattr("sys.argv", ["program", str(tmp_path)])
    with pingpong.Locks(tmp_path):
        other = threading.Thread(target=program.main)
        other.start()
        text = pingpong.await_file(tmp_path, "facts.json", 60, other.is_alive)
        assert text is not None
        node = NodeFacts.from_json(json.loads(text))
        rounds = pingpong.play(tmp_path, other.is_alive, lambda _: None)
        node = pingpong.race(tmp_path, node, other.is_alive)
        other.join()
    assert node.leaked == ("LEAKED",)
    assert set(node.packages) == {"click"}
    assert node.locks["flock"] == "blocked"
    assert (node.races, node.races_twice) == (program.RACES, 0)
    assert len(rounds) == pingpong.ROUNDS
    visibility, skew = pingpong.judge(rounds)
    assert visibility is not None
    assert visibility.longest is not None
    assert skew is not None
    assert abs(skew[0]) <= skew[1] + 0.2


def test_nobody_answers(tmp_path: Path) -> None:
    assert pingpong.await_file(tmp_path, "facts.json", 60, lambda: False) is None
    assert os.listdir(tmp_path) == []  # noqa: PTH208
