"""The command that starts ranks, and what they are told of each other."""

from __future__ import annotations

import json

import pytest

from hpctune.errors import TrainableError
from hpctune.worker.ranks.link import names_of_this_node
from hpctune.worker.ranks.starting import Plan, needs_srun, srun, srun_environment
from hpctune.worker.ranks.world import Hello, World, worlds


def plan(bundles: int = 2, per_bundle: int = 1, cpus: float = 1.0) -> Plan:
    return Plan(bundles, per_bundle, cpus, ["python"])


@pytest.mark.parametrize(
    ("made", "environ", "flags"),
    [
        (
            plan(),
            {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "3"},
            {"--nodes=2", "--ntasks=2", "--cpus-per-task=3"},
        ),
        (
            plan(2, 4, 1),
            {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8"},
            {"--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=2"},
        ),
        (plan(2, 1, 1.5), {}, {"--nodes=1", "--ntasks=2", "--cpus-per-task=2"}),
    ],
)
def test_the_command(made: Plan, environ: dict[str, str], flags: set[str]) -> None:
    command = srun(made, environ)
    assert flags <= set(command)
    assert command[-1] == "python"
    assert ("--ntasks-per-node" in " ".join(command)) is (made.per_bundle > 1)


def test_in_a_container_each_rank_enters_one() -> None:
    command = srun(plan(), {"HPCTUNE_CONTAINER": "apptainer exec --nv 'my image.sif'"})
    assert command[-5:] == ["sh", "-c", "exec apptainer exec --nv 'my image.sif' \"$@\"", "sh", "python"]


def test_variables_that_would_steer_srun_are_left_out() -> None:
    environ = {
        "SLURM_CPU_BIND": "x",
        "SLURM_CPU_BIND_TYPE": "x",
        "SLURM_NTASKS": "1",
        "SLURM_GPUS_PER_TASK": "1",
        "A": "b",
    }
    assert srun_environment(plan(), environ) == {"SLURM_GPUS_PER_TASK": "1", "A": "b"}
    assert srun_environment(plan(2, 2), environ) == {"A": "b"}


@pytest.mark.parametrize(
    ("made", "environ", "expected"),
    [
        (plan(), {}, False),
        (plan(), {"SLURM_JOB_ID": "7", "HPCTUNE_JOB_ID": "7"}, True),
        (plan(), {"SLURM_JOB_ID": "7", "HPCTUNE_JOB_ID": "w0001.3"}, True),
        (plan(1, 2), {"SLURM_JOB_ID": "7", "HPCTUNE_JOB_ID": "7"}, False),
        (plan(), {"SLURM_JOB_ID": "7", "HPCTUNE_JOB_ID": "debug-1"}, False),
    ],
)
def test_when_srun_is_needed(
    made: Plan, environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "HPCTUNE_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert needs_srun(made) is expected
    monkeypatch.setattr("shutil.which", lambda name: None)
    if expected:
        with pytest.raises(TrainableError, match="not on PATH"):
            needs_srun(made)


def hello(rank: int, node: int, address: str, reached: str = "10.0.0.1") -> Hello:
    return Hello(rank, "h", f"n{node}", 1, 5000 + rank, reached, address)


def test_ranks_beside_the_head_are_where_the_others_found_it() -> None:
    """On many systems a node's own name is an address of its loopback interface."""
    said = [hello(2, 1, "10.0.0.2"), hello(0, 0, "127.0.0.1", "127.0.1.1"), hello(1, 0, "127.0.0.1", "127.0.1.1")]
    made = worlds(said, [0.5, 0.5, 1])
    assert made[0].addresses == ("10.0.0.1:5000", "10.0.0.1:5001", "10.0.0.2:5002")
    assert [(w.rank, w.local_rank, w.local_size, w.nodes, w.node_rank, w.gpus) for w in made] == [
        (0, 0, 2, 2, 0, 0.5),
        (1, 1, 2, 2, 0, 0.5),
        (2, 0, 1, 2, 1, 1),
    ]
    variables = made[2].variables()
    assert (variables["MASTER_ADDR"], variables["MASTER_PORT"], variables["RANK"]) == ("10.0.0.1", "5000", "2")
    assert json.loads(variables["TF_CONFIG"])["task"] == {"type": "worker", "index": 2}
    assert World.from_json(made[1].to_json()) == made[1]


def test_on_one_node_the_loopback_will_do() -> None:
    assert worlds([hello(0, 0, "127.0.0.1")], [0])[0].addresses == ("127.0.0.1:5000",)


def test_the_parts_of_a_heterogeneous_job_may_share_a_node() -> None:
    said = [hello(0, 1, "10.0.0.1"), hello(1, 1, "10.0.0.1"), hello(2, 2, "10.0.0.2")]  # rank 1 is first of its part
    assert [(w.local_rank, w.node_rank) for w in worlds(said, [0, 1, 1])] == [(0, 0), (1, 0), (0, 1)]


def test_one_srun_over_all_parts() -> None:
    environ = {
        "SLURM_HET_SIZE": "2", "SLURM_JOB_NUM_NODES_HET_GROUP_0": "1", "SLURM_JOB_NUM_NODES_HET_GROUP_1": "2",
        "SLURM_NTASKS_HET_GROUP_0": "1", "SLURM_NTASKS_HET_GROUP_1": "2", "SLURM_CPUS_PER_TASK_HET_GROUP_0": "4",
        "SLURM_CPUS_PER_TASK_HET_GROUP_1": "2", "SLURM_CPUS_PER_TASK": "4",
    }  # fmt: skip
    words = srun(Plan(3, 2, 1.0, ["run"]), environ)
    first, second = words[: words.index(":")], words[words.index(":") + 1 :]
    assert {"--het-group=0", "--nodes=1", "--ntasks=2", "--cpus-per-task=2", "--ntasks-per-node=2"} <= {*first}
    assert {"--het-group=1", "--nodes=2", "--ntasks=4", "--cpus-per-task=1", "--ntasks-per-node=2"} <= {*second}
    assert (first[0], first[-1], second[-1]) == ("srun", "run", "run")


def test_names_of_a_node() -> None:
    assert names_of_this_node({"SLURMD_NODENAME": "n7"}, here=False)[0] == "n7"
    assert names_of_this_node({"SLURMD_NODENAME": "n7"}, here=True) == ("127.0.0.1",)
