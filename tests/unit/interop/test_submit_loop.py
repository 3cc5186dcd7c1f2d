"""Scripts that call sbatch in loops: what would have been submitted are the trials."""

from __future__ import annotations

import ast
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import submissions, submit_loop
from hpctune.worker.command import Command

JOB = '#!/bin/bash\n#SBATCH -p gpu\n#SBATCH --time=10\necho "lr=$1 wd=$2 LR=${LR:-} seed=${SEED:-}"\n'


def trials(directory: Path, text: str, *arguments: str) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """The configurations, what each trial prints, and the options of the jobs."""
    (directory / "job.sh").write_text(JOB)
    path = directory / "submit.sh"
    path.write_text(text)
    assert submissions.submits(text)
    search = submit_loop.search_of(path, submissions.record(path, arguments))
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
    assert rows == [{"lr": lr, "wd": wd} for lr, wd in itertools.product((0.1, 0.2), (1, 2))]
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
    assert rows == [{"word1": 0.1, "job": 0}, {"word1": 0.2, "job": 1}]  # no name stands before the value
    assert outputs == ["it's {x} 0.1", "it's {x} 0.2"]
    assert slurm == {"partition": "main"}
    rows, outputs, _ = trials(tmp_path, 'for lr in 0.1 0.2; do sbatch -p main --wrap="echo wrapped $lr"; done')
    assert outputs == ["wrapped 0.1", "wrapped 0.2"]
    written = 'for lr in 0.1 0.2; do\nsed "s/LEARN/$lr/" template > made_$lr.sh\nsbatch made_$lr.sh\ndone\n'
    (tmp_path / "template").write_text("#!/bin/bash\n#SBATCH -t 5\necho made LEARN\n")
    assert trials(tmp_path, written)[1] == ["made 0.1", "made 0.2"]


SHAPES: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "a script that is written, submitted and removed": (
        ("for lr in 0.1 0.2; do for s in 1 2; do\ncat > made.sh <<EOF\n#!/bin/bash\n#SBATCH -J r${lr}_$s -o $lr.out\n"
        "echo --lr $lr --seed $s\nEOF\nsbatch made.sh && rm made.sh; done; done"),
        [{"lr": lr, "seed": s, "job": n} for n, (lr, s) in enumerate(itertools.product((0.1, 0.2), (1, 2)))],
        [f"--lr {lr} --seed {s}" for lr, s in itertools.product((0.1, 0.2), (1, 2))],
    ),
    "options of sbatch, with a command": (
        "for lr in 1 2; do sbatch -J r-$lr -o $lr.log --time=9 --wrap \"echo --lr $lr; echo end\"; done",
        [{"lr": 1, "job": 0}, {"lr": 2, "job": 1}],
        ["--lr 1\nend", "--lr 2\nend"],
    ),
    "a directory for each": (
        "for d in a b; do mkdir $d; cd $d; cp ../job.sh mine.sh; sbatch mine.sh $d 0; cd ..; done",
        [{"lr": "a", "directory": "a"}, {"lr": "b", "directory": "b"}],
        ["lr=a wd=0 LR= seed=", "lr=b wd=0 LR= seed="],
    ),
    "arrays in a loop": (
        ("for lr in 1 2; do sbatch --array=3-5:2%1 --export=ALL,LR=$lr --wrap='echo $LR $SLURM_ARRAY_TASK_ID of "
        "$SLURM_ARRAY_TASK_COUNT'; done"),
        [{"LR": lr, "SLURM_ARRAY_TASK_ID": n} for lr, n in itertools.product((1, 2), (3, 5))],
        [f"{lr} {n} of 2" for lr, n in itertools.product((1, 2), (3, 5))],
    ),
    "a piped script with an array": (
        "sbatch <<'EOF'\n#!/bin/bash\n#SBATCH -a 1,2\necho $SLURM_ARRAY_TASK_ID\nEOF",
        [{"SLURM_ARRAY_TASK_ID": 1}, {"SLURM_ARRAY_TASK_ID": 2}],
        ["1", "2"],
    ),
    "a script that submits itself": (
        ('#!/bin/bash\n#SBATCH -t 5\nif [ -z "$SLURM_ARRAY_TASK_ID" ]; then sbatch --array=1-2%9 "$0"; exit; fi\n'
        "echo task $SLURM_ARRAY_TASK_ID"),
        [{"SLURM_ARRAY_TASK_ID": 1}, {"SLURM_ARRAY_TASK_ID": 2}],
        ["task 1", "task 2"],
    ),
    "xargs with a file of arguments": (
        "printf '%s\n' '--lr 1 --name=a' '--lr 2 --name=b' | xargs -L 1 sbatch own.sh",
        [{"lr": 1, "name": "a"}, {"lr": 2, "name": "b"}],
        ["--lr 1 --name=a", "--lr 2 --name=b"],
    ),
    "a table that is read line by line": (
        ("printf 'lr,seed\n0.1,1\n' | while IFS=, read -r lr s; do [ $lr = lr ] && continue; "
        "for x in 5 6; do LR=$lr SEED=$x sbatch job.sh $s $x; done; done"),
        [{"SEED": 5, "wd": 5}, {"SEED": 6, "wd": 6}],
        ["lr=1 wd=5 LR=0.1 seed=5", "lr=1 wd=6 LR=0.1 seed=6"],
    ),
    "values as they are written": (
        "for v in 1e-3 true 007; do LR=$v sbatch -J 'a b' job.sh $v 0; done",
        [{"LR": v, "lr": v, "job": n} for n, v in enumerate((0.001, True, 7.0))],
        [f"lr={v} wd=0 LR={v} seed=" for v in ("1e-3", "true", "007")],
    ),
    "different numbers of arguments": (
        "for n in 1 2; do sbatch job.sh $(seq $n); done",
        [{"arguments": "1", "job": 0}, {"arguments": "1 2", "job": 1}],
        ["lr=1 wd= LR= seed=", "lr=1 wd=2 LR= seed="],
    ),
    "words without a name": (
        "for m in a b; do for d in 1 2; do sbatch --wrap=\"echo $m $d; echo $m > $m.txt\"; done; done",
        [{"word1": m, "word2": d, "job": n} for n, (m, d) in enumerate(itertools.product("ab", (1, 2)))],
        [f"{m} {d}" for m, d in itertools.product("ab", (1, 2))],
    ),
    "an option that not all jobs have": (
        "for o in '--lr 1' '--lr 2' '--lr 2 --fast'; do sbatch --wrap=\"echo $o\"; done",
        [{"lr": n, "words": w, "job": j} for j, (n, w) in enumerate([(1, "1"), (2, "2"), (2, "2 --fast")])],
        ["--lr 1", "--lr 2", "--lr 2 --fast"],
    ),
    "scripts of different names": (
        "for n in 1 2; do { echo '#!/bin/bash'; seq -f 'echo %g' $n; } > fit_$n.sh; sbatch fit_$n.sh; done",
        [{"script": "fit_1.sh", "job": 0}, {"script": "fit_2.sh", "job": 1}],
        ["1", "1\n2"],
    ),
    "options named as what the loop itself adds": (
        ("for n in 007 8; do mkdir d$n; cd d$n; sbatch ../own.sh --job $n --directory o$n; cd ..; done"),
        [{"job": int(n), "directory": f"o{n}", "submitted_directory": f"d{n}", "submitted_job": j}
         for j, n in enumerate(("007", "8"))],
        ["--job 007 --directory o007", "--job 8 --directory o8"],
    ),
    "an option named directory": (
        "for n in 1 2; do sbatch own.sh --directory /none/$n; done",
        [{"directory": "/none/1"}, {"directory": "/none/2"}],
        ["--directory /none/1", "--directory /none/2"],
    ),
    "arguments that the script names by an option": (
        "echo 'echo --rate \"$2\" --seed=${3} $1' > by.sh; for n in 1 2; do sbatch by.sh a$n $n 5$n; done",
        [{"arg1": f"a{n}", "rate": n, "seed": int(f"5{n}")} for n in (1, 2)],
        [f"--rate {n} --seed=5{n} a{n}" for n in (1, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_people_write(tmp_path: Path, shape: str) -> None:
    text, rows, outputs = SHAPES[shape]
    (tmp_path / "own.sh").write_text('#!/bin/bash\necho "$@"\n')
    found = trials(tmp_path, text)
    assert found[:2] == (rows, outputs)


def test_what_is_said_of_arrays_and_variables_is_kept(tmp_path: Path) -> None:
    job = "#!/bin/bash\n#SBATCH --array=0-3%2 --export=ALL,KIND=a\necho $KIND\n"
    (tmp_path / "own.sh").write_text(job)
    path = tmp_path / "submit.sh"
    for text, limit in (("sbatch own.sh", 2), ("for n in 1 2 3; do sbatch --array=5-6%1 own.sh $n; done", 3)):
        path.write_text(text)
        search = submit_loop.search_of(path, submissions.record(path))
        assert search.tune == {"max_concurrent_trials": limit}
        assert search.env["KIND"] == "a"
    path.write_text("sbatch own.sh; sbatch --array=7,8 own.sh")
    assert submit_loop.search_of(path, submissions.record(path)).tune == {}


def test_a_loop_that_has_options_of_sbatch_itself(tmp_path: Path) -> None:
    text = (
        '#!/bin/bash\n#SBATCH -t 1\nnames=()  # of the data\nwhile [[ $1 != --* && $# -gt 0 ]]; do\n  names+=("$1")\n'
        '  shift\ndone\nrest="$@"\nfor n in "${names[@]}"; do\n  echo "for $n"\n  sbatch own.sh \\\n  $n $rest\ndone\n'
    )
    (tmp_path / "own.sh").write_text('#!/bin/bash\nname=$1\necho "$@"\n')
    rows, outputs, _ = trials(tmp_path, text, "a", "b", "--fast")
    assert rows == [{"name": "a"}, {"name": "b"}]
    assert outputs == ["a --fast", "b --fast"]


def test_a_number_sign_in_a_word_begins_no_comment() -> None:
    assert submissions.submits("a=(1 2)\nfor ((i = 0; i < ${#a[@]}; i++)); do sbatch job.sh $i; done\n")
    assert not submissions.submits("python train.py # then sbatch eval.sh\n")


def test_many_long_scripts_that_differ_in_a_line(tmp_path: Path) -> None:
    same = "# a comment of this length, as scripts have\n" * 40
    text = f"for n in $(seq 90); do sbatch <<EOF\n#!/bin/bash\n{same}echo n=$n; echo\nEOF\ndone"
    rows, outputs, _ = trials(tmp_path, text)
    assert rows[89] == {"n": 90, "job": 89}
    assert outputs[89] == "n=90"


@pytest.mark.parametrize(
    "body",
    [
        "subprocess.run(['sbatch', '--time=10', 'own.sh', f'--lr={lr}'], check=True)",
        "os.system(f'sbatch --time=10 own.sh --lr={lr}')",
    ],
)
def test_a_python_script_that_submits(tmp_path: Path, body: str) -> None:
    (tmp_path / "own.sh").write_text('#!/bin/bash\necho "$@"\n')
    path = tmp_path / "submit.py"
    path.write_text(f"import os, subprocess\nfor lr in (0.1, 0.2):\n    {body}\n")
    assert submissions.submits_in_python(ast.parse(path.read_text()))
    assert not submissions.submits_in_python(ast.parse("print('sbatch is a program of Slurm')"))
    search = submit_loop.search_of(path, submissions.record(path))
    assert search.rows == [{"lr": 0.1}, {"lr": 0.2}]
    assert search.command[-1] == "--lr={lr}"


def test_a_loop_does_not_wait_for_the_queue_nor_cancel_jobs(tmp_path: Path) -> None:
    text = (
        "set -e\nfor lr in 1 2; do\n  while [ $(squeue -u me -h | wc -l) -ge 1 ]; do sleep 600; done\n"
        "  id=$(sbatch --parsable job.sh $lr 0)\n  sleep 600\ndone\nscancel $id\nsqueue\n"
    )
    assert [row["lr"] for row in trials(tmp_path, text)[0]] == [1, 2]


def test_arguments_of_the_loop_and_ids_of_jobs(tmp_path: Path) -> None:
    text = 'for lr in "$@"; do id=$(sbatch --parsable job.sh $lr 0); [ "$id" -gt 0 ]; done'
    rows, _, _ = trials(tmp_path, text, "3", "4")
    assert rows == [{"lr": 3}, {"lr": 4}]


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    for text, error, said in (
        ("for p in a b; do sbatch -p $p --wrap=true; done", UsageError, "different options"),
        ("id=$(sbatch --parsable job.sh); sbatch -d afterok:$id job.sh", UsageError, "waits for another one"),
        ("x=$(printf '%090000d' 1)\nfor n in 1 2; do sbatch --wrap=\"echo $n$x\"; done", UsageError, "too much text"),
        ("sbatch none.sh", ConfigFileError, "cannot be read"),
        ("false && sbatch job.sh", ConfigFileError, "failed with code 1"),
        ("if false; then sbatch job.sh; fi", ConfigFileError, "has not called sbatch"),
    ):
        with pytest.raises(error, match=said):
            trials(tmp_path, text)
    assert not submissions.submits("#!/bin/bash\n#SBATCH -t 1\nsbatch other.sh\n")
    assert not submissions.submits("# sbatch this\npython x.py\n")
    for last in ("python x.py", "sbatch $0", "./prepare"):
        assert not submissions.submits(f"#!/bin/bash\n#SBATCH -t 1\nfor n in 1 2; do sbatch job.sh $n; done\n{last}\n")
    assert submissions.resubmits("#!/bin/bash\n#SBATCH -t 1\n[ -e done ] || sbatch $0\n")
    assert not submissions.resubmits("#!/bin/bash\n#SBATCH -t 1\necho sbatch job.sh again\n")
