"""Scripts that call sbatch in loops: what would have been submitted are the trials."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import submit_loop
from hpctune.worker.command import Command

JOB = '#!/bin/bash\n#SBATCH -p gpu\n#SBATCH --time=10\necho "lr=$1 wd=$2 LR=${LR:-} seed=${SEED:-}"\n'


def trials(directory: Path, text: str, *arguments: str) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """The configurations, what each trial prints, and the options of the jobs."""
    (directory / "job.sh").write_text(JOB)
    path = directory / "submit.sh"
    path.write_text(text)
    assert submit_loop.submits(text)
    search = submit_loop.search_of(path, submit_loop.record(path, arguments))
    rows = [dict(row) for row in search.rows or ()]
    outputs = []
    for row in rows:
        words, _ = Command(search.command).arguments(row)
        env = {"PATH": "/usr/bin:/bin", **search.env}
        done = subprocess.run(words, env=env, cwd=search.cwd, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.strip())
    return rows, outputs, dict(search.slurm)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nested_loops_with_arguments(tmp_path: Path) -> None:
    text = "for lr in 0.1 0.2; do\n  for wd in 1 2; do\n    sbatch --mem=2G job.sh $lr $wd\n  done\ndone\n"
    rows, outputs, slurm = trials(tmp_path, text)
    assert rows == [{"arg1": lr, "arg2": wd} for lr, wd in itertools.product((0.1, 0.2), (1, 2))]
    assert outputs == [f"lr={lr} wd={wd} LR= seed=" for lr, wd in itertools.product((0.1, 0.2), (1, 2))]
    assert slurm == {"partition": "gpu", "time": "10", "mem": "2G"}


def test_options_of_the_script_name_the_parameters(tmp_path: Path) -> None:
    (tmp_path / "own.sh").write_text('#!/bin/bash\necho "$@"\n')
    rows, outputs, _ = trials(tmp_path, "for n in 1 2; do sbatch -J run-$n own.sh --hidden-size $n --fast; done")
    assert rows == [{"hidden_size": 1}, {"hidden_size": 2}]
    assert outputs == ["--hidden-size 1 --fast", "--hidden-size 2 --fast"]


@pytest.mark.parametrize(
    "line",
    [
        "sbatch --export=ALL,LR=$lr,SEED=7 job.sh 1 2",
        "sbatch --export LR=$lr,SEED=7 job.sh 1 2",
        "LR=$lr SEED=7 sbatch job.sh 1 2",
        "export LR=$lr SEED=7; sbatch -t 10 job.sh 1 2",
    ],
)
def test_variables(tmp_path: Path, line: str) -> None:
    rows, outputs, _ = trials(tmp_path, f"for lr in 0.1 0.2; do {line}; done")
    assert rows == [{"LR": 0.1}, {"LR": 0.2}]
    assert outputs == ["lr=1 wd=2 LR=0.1 seed=7", "lr=1 wd=2 LR=0.2 seed=7"]


def test_scripts_that_are_written_or_piped(tmp_path: Path) -> None:
    piped = 'for lr in 0.1 0.2; do\nsbatch <<EOF\n#!/bin/bash\n#SBATCH -p main\necho "it\'s {x} $lr"\nEOF\ndone\n'
    rows, outputs, slurm = trials(tmp_path, piped)
    assert rows == [{"job": 0}, {"job": 1}]
    assert outputs == ["it's {x} 0.1", "it's {x} 0.2"]
    assert slurm == {"partition": "main"}
    rows, outputs, _ = trials(tmp_path, 'for lr in 0.1 0.2; do sbatch -p main --wrap="echo wrapped $lr"; done')
    assert outputs == ["wrapped 0.1", "wrapped 0.2"]
    written = 'for lr in 0.1 0.2; do\nsed "s/LEARN/$lr/" template > made_$lr.sh\nsbatch made_$lr.sh\ndone\n'
    (tmp_path / "template").write_text("#!/bin/bash\n#SBATCH -t 5\necho made LEARN\n")
    assert trials(tmp_path, written)[1] == ["made 0.1", "made 0.2"]


def test_arguments_of_the_loop_and_ids_of_jobs(tmp_path: Path) -> None:
    text = 'for lr in "$@"; do id=$(sbatch --parsable job.sh $lr 0); [ "$id" -gt 0 ]; done'
    rows, _, _ = trials(tmp_path, text, "3", "4")
    assert rows == [{"arg1": 3}, {"arg1": 4}]


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    for text, error, said in (
        ("for p in a b; do sbatch -p $p --wrap=true; done", UsageError, "different options"),
        ("for n in 1 2; do sbatch job.sh $(seq $n); done", UsageError, "with 1 and with 2 arguments"),
        ("sbatch none.sh", ConfigFileError, "cannot be read"),
        ("false && sbatch job.sh", ConfigFileError, "failed with code 1"),
        ("if false; then sbatch job.sh; fi", ConfigFileError, "has not called sbatch"),
    ):
        with pytest.raises(error, match=said):
            trials(tmp_path, text)
    assert not submit_loop.submits("#!/bin/bash\n#SBATCH -t 1\nsbatch other.sh\n")
    assert not submit_loop.submits("# sbatch this\npython x.py\n")
