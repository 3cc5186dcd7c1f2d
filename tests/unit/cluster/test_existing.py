"""Batch scripts that people have."""

from __future__ import annotations

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.existing import read_script
from hpctune.errors import UsageError

SCRIPT = """#!/bin/bash
#SBATCH --job-name=train
#SBATCH -p gpu,long --time 2:00:00
#SBATCH --mem=16G   # enough
#SBATCH --gres=gpu:1
#SBATCH -c4
#SBATCH --output logs/%j.out
#SBATCH --mail-type=FAIL
#SBATCH --hint=nomultithread --no-requeue
# a comment
set -e
module purge
module load cuda/12
source ~/venv/bin/activate
export OMP_NUM_THREADS=4 \\
    MKL_NUM_THREADS=4
cd ~/project
echo "start"
#SBATCH --qos=too_late
srun -n 1 --cpu-bind=none python train.py --data /d \\
    --epochs 10
"""


def test_everything_is_found() -> None:
    found = read_script(SCRIPT)
    assert found.options == {
        "partition": "gpu,long", "time": "2:00:00", "mem": "16G", "gres": "gpu:1", "cpus_per_task": 4,
        "mail_type": "FAIL", "requeue": False, "additional_parameters": {"hint": "nomultithread"},
    }  # fmt: skip
    SlurmOptions.from_mapping(found.options)
    assert found.setup == [
        "set -e", "module purge", "module load cuda/12", "source ~/venv/bin/activate",
        "export OMP_NUM_THREADS=4 MKL_NUM_THREADS=4", 'echo "start"',
    ]  # fmt: skip
    assert found.command == "python train.py --data /d --epochs 10"
    assert found.directory == "~/project"
    assert found.dropped == ["job-name", "output"]


@pytest.mark.parametrize(
    ("directive", "options"),
    [
        ("--gpus=2", {"gres": "gpu:2"}),
        ("-G a100:2", {"gres": "gpu:a100:2"}),
        ("--gpus-per-node=a100:4", {"gpus_per_node": 4, "gpu_type": "a100"}),
        ("-N 2 --ntasks-per-node=4", {"nodes": 2, "ntasks_per_node": 4}),
        ("--exclusive", {"exclusive": True}),
        ("--requeue", {"requeue": True}),
        ("-t 30", {"time": "30"}),
        ("-A=mine", {"account": "mine"}),
        ("--comment='two words'", {"comment": "two words"}),
    ],
)
def test_directives(directive: str, options: dict[str, object]) -> None:
    found = read_script(f"#!/bin/sh\n#SBATCH {directive}\n./prog\n")
    assert found.options == options
    SlurmOptions.from_mapping(found.options)
    assert found.command == "./prog"


@pytest.mark.parametrize("directive", ["partition=gpu", "--comment='open"])
def test_what_is_no_directive(directive: str) -> None:
    with pytest.raises(UsageError, match="#SBATCH"):
        read_script(f"#SBATCH {directive}\n")


@pytest.mark.parametrize(
    "line", ["mpirun -np 4 ./prog a", "exec srun --mpi=pmix ./prog a", "mpiexec -n 2 ./prog a", "./prog a"]
)
def test_the_launcher_is_left_out(line: str) -> None:
    assert read_script(line).command == "./prog a"


@pytest.mark.parametrize(
    ("line", "directory"),
    [
        ("cd $SLURM_SUBMIT_DIR", None),
        ('cd "${SLURM_SUBMIT_DIR}/code" || exit 1', "code"),
        ('cd "$SLURM_SUBMIT_DIR"/code && pwd', "code"),
        ("cd '/my code'; pwd  # there", "/my code"),
    ],
)
def test_where_a_script_goes(line: str, directory: str | None) -> None:
    """It was submitted from where somebody is."""
    assert read_script(f"#!/bin/bash\n{line}\npython train.py\n").directory == directory
