"""Batch scripts of people, as programs of a search: what a trial's shell really runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import batch_script
from hpctune.space import choice
from hpctune.worker.command import Command

ECHO = "import sys, os\nprint('ARGS', *sys.argv[1:], 'ENV', os.environ.get('WIDTH', '-'))\n"
NO_SLURM = "srun: this is no Slurm job, so the program runs once, on this machine"


def printed(directory: Path, text: str, config: dict[str, Any], style: str | None = None) -> str:
    """What the script prints in a trial with ``config``."""
    (directory / "train.py").write_text(ECHO)
    (directory / "job.sbatch").write_text(text)
    script = batch_script.read(directory / "job.sbatch", {name: choice([value]) for name, value in config.items()})
    search = script.search(style=style)
    words, variables = Command(search.command).arguments(config)
    done = subprocess.run(
        words, cwd=directory, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "config", "expected"),
    [
        ("python3 train.py --lr $lr", {"lr": 0.5}, "ARGS --lr 0.5 ENV -"),
        ("python3 train.py --lr ${lr}", {"lr": 0.5}, "ARGS --lr 0.5 ENV -"),
        ("python3 train.py --lr={lr}", {"lr": 0.5}, "ARGS --lr=0.5 ENV -"),
        ("python3 train.py ${lr:-0.1}", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("lr=0.1\npython3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("export WIDTH=3\npython3 train.py", {"WIDTH": 7}, "ARGS ENV 7"),
        ("lr=${lr:-0.1}\npython3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("for lr in 0.1 0.2; do\npython3 train.py $lr\ndone", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("python3 train.py", {"lr": 0.5, "n": 2}, "ARGS --lr 0.5 --n 2 ENV -"),
        ("python3 train.py --seed 1 > out.txt; cat out.txt", {"lr": 0.5}, "ARGS --seed 1 --lr 0.5 ENV -"),
        ("python3 train.py --seed 1 2>&1 | tee log", {"lr": 0.5}, "ARGS --seed 1 --lr 0.5 ENV -"),
        ("python3 train.py \\\n  --seed 1 \\\n  --x '{}'", {"lr": 0.5}, "ARGS --seed 1 --x {} --lr 0.5 ENV -"),
        ('python3 train.py "$@"', {"lr": 0.5}, "ARGS --lr 0.5 ENV -"),
        ('a=$1; shift\npython3 train.py --a $a "$@"', {"a": 0.5, "n": 2}, "ARGS --a 0.5 --n 2 ENV -"),
        ('a=${1}\nshift\npython3 train.py --a $a "$@"', {"x": 0.5, "n": 2}, "ARGS --a 0.5 --n 2 ENV -"),
        ("lr=0.1; WIDTH=3 # both\nexport WIDTH\npython3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV 3"),
        ("export lr=0.1 WIDTH=3\npython3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV 3"),
        ("lr=0.1 WIDTH=3 python3 train.py", {"lr": 0.5}, "ARGS ENV 3"),
        ("lr=$(echo '1 2' | (cat)) && python3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ('lr="0.1 x"\npython3 train.py $lr', {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("lr=(1 2)\npython3 train.py $lr", {"lr": 0.5}, "ARGS 0.5 ENV -"),
        ("python3 train.py --a $1 --b $2", {"lr": 0.5, "n": 2}, "ARGS --a 0.5 --b 2 ENV -"),
        ("python3 train.py $lr", {"lr": "a b"}, "ARGS a b ENV -"),
        ("lr=0.1\npython3 train.py \"$lr\" ${#lr}", {"lr": "a b"}, "ARGS a b 3 ENV -"),
        ("python3 train.py model.lr={model.lr}", {"model.lr": 0.5}, "ARGS model.lr=0.5 ENV -"),
        ("f() { echo {1..3} ${x[@]} >/dev/null; }\nx=(1 2)\nf\npython3 train.py $lr", {"lr": 1}, "ARGS 1 ENV -"),
        ("python3 train.py $((n * 2))", {"n": 3}, "ARGS 6 ENV -"),
        ("let 'k = n % 2 + 5'; ((n > 2)) && python3 train.py $k", {"n": 3}, "ARGS 6 ENV -"),
        ("srun -n 2 --label -c4 --mem 1G --gres=gpu:1 python3 train.py -n $n", {"n": 3}, "ARGS -n 3 ENV -"),
        ("echo $(srun --exclusive -N1 bash -c 'echo $0 $n' x)", {"n": 3}, "x 3"),
        ("cat <<EOF\n{\"a\": {\"b\": $lr}}\nEOF", {"lr": 1}, '{"a": {"b": 1}}'),
    ],
)  # fmt: skip
def test_each_way_to_name_a_parameter(tmp_path: Path, line: str, config: dict[str, Any], expected: str) -> None:
    text = f"#!/bin/bash\n#SBATCH --time=10\nset -eu\n{line}\n"
    found = printed(tmp_path, text, config).strip().removesuffix(NO_SLURM).strip()
    assert found == expected


def test_styles_and_the_programs_own_options(tmp_path: Path) -> None:
    assert printed(tmp_path, "#!/bin/sh\npython3 train.py\n", {"lr": 0.5}, "hydra").strip() == "ARGS lr=0.5 ENV -"
    assert printed(tmp_path, "#!/bin/sh\npython3 train.py\n", {"width": 5}, "env").strip() == "ARGS ENV 5"
    (tmp_path / "own.py").write_text("import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr-rate')\n")
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\npython {tmp_path}/own.py\n")
    words = list(batch_script.read(tmp_path / "job.sh", {"lr_rate": 1}).search().command)
    assert words[words.index("-c") + 1].strip().endswith("own.py --lr-rate {lr_rate}")
    (tmp_path / "two.sh").write_text('#!/bin/sh\na=$1\nb=$2\nshift 2\necho $a $b "$@"\n')
    with pytest.raises(UsageError, match=r"no parameter is for \$2. Give one: --param b=VALUE"):
        batch_script.read(tmp_path / "two.sh", {"lr": 1}).search()
    with pytest.raises(UsageError, match="no option for 'width'"):
        batch_script.read(tmp_path / "job.sh", {"width": 1}).search()


def test_directives_become_options(tmp_path: Path) -> None:
    path = tmp_path / "job.sbatch"
    path.write_text("#!/bin/bash\n#SBATCH -p gpu -t 2:00:00\n#SBATCH --gres=gpu:1 --chdir=/w\nsrun python x.py $lr\n")
    search = batch_script.read(path, {"lr": 1}).search()
    assert search.slurm == {"partition": "gpu", "time": "2:00:00", "gres": "gpu:1"}
    assert "use_srun=False" in search.source("")
    assert search.cwd == "/w"


@pytest.mark.parametrize(
    ("array", "indices", "limit"),
    [("0-3", [0, 1, 2, 3], None), ("1,5-9:2%4", [1, 5, 7, 9], 4), ("7", [7], None), ('"0-1%1" # few', [0, 1], 1)],
)
def test_an_array_job_is_a_grid_over_its_indices(
    tmp_path: Path, array: str, indices: list[int], limit: int | None
) -> None:
    path = tmp_path / "job.sbatch"
    path.write_text(f"#!/bin/bash\n#SBATCH --array={array}\nsed -n ${{SLURM_ARRAY_TASK_ID}}p params.txt\n")
    search = batch_script.read(path, {}).search()
    assert search.space["SLURM_ARRAY_TASK_ID"] == {"grid_search": indices}
    assert search.samples == 1
    assert search.tune.get("max_concurrent_trials") == limit


@pytest.mark.parametrize("line", ["echo $((SLURM_ARRAY_TASK_ID % 3))", "env | grep -o 'ARRAY_TASK_ID=.*'"])
def test_the_index_of_an_array_is_a_variable_also_if_the_script_does_not_spell_it_so(tmp_path: Path, line: str) -> None:
    found = printed(tmp_path, f"#!/bin/bash\n#SBATCH --array=0-7\n{line}\n", {"SLURM_ARRAY_TASK_ID": 5})
    assert found in ("2\n", "ARRAY_TASK_ID=5\n")
    search = batch_script.read(tmp_path / "job.sbatch", {}).search()
    assert search.space["SLURM_ARRAY_TASK_ID"] == {"grid_search": list(range(8))}


def test_variables_that_a_directive_exports_are_there(tmp_path: Path) -> None:
    text = "#!/bin/bash\n#SBATCH --export=ALL,REGION=north,KIND=a=b # both\necho $REGION $KIND $n\n"
    (tmp_path / "job.sh").write_text(text)
    search = batch_script.read(tmp_path / "job.sh", {"n": 1}).search()
    assert search.env == {"REGION": "north", "KIND": "a=b"}


def test_what_cannot_be_varied_is_told(tmp_path: Path) -> None:
    path = tmp_path / "job.sbatch"
    path.write_text("#!/bin/bash\n#SBATCH -t 1\necho $1 $2\n")
    with pytest.raises(UsageError, match="nothing to vary"):
        batch_script.read(path, {})
    with pytest.raises(UsageError, match="uses 2 arguments"):
        batch_script.read(path, {"lr": 1}).search()
    path.write_text("#!/bin/bash\nif true; then\n  :\nfi\n")
    with pytest.raises(UsageError, match="does not use 'lr'"):
        batch_script.read(path, {"lr": 1}).search()
    for array in ("1-$N", "0-$(wc -l <list)", "#1-9", "a"):
        path.write_text(f"#!/bin/bash\n#SBATCH --array={array}\necho $SLURM_ARRAY_TASK_ID\n")
        with pytest.raises(UsageError, match="is no list of indices"):
            batch_script.read(path, {})
        assert batch_script.read(path, {"SLURM_ARRAY_TASK_ID": 3}).search().space == {"SLURM_ARRAY_TASK_ID": 3}
    path.write_text("#!/usr/bin/env python3\nprint(1)\n")
    with pytest.raises(ConfigFileError, match="not a shell script"):
        batch_script.read(path, {"lr": 1}).search()
    with pytest.raises(ConfigFileError, match="Cannot read"):
        batch_script.read(tmp_path / "none.sh", {"lr": 1})


@pytest.mark.parametrize(
    ("name", "text", "is_one"),
    [
        ("a.sbatch", "", True), ("run.sh", "", True), ("a.slurm", "", True),
        ("run", "#!/bin/bash\n", True), ("run", "#!/usr/bin/env bash\n", True),
        ("job.txt", "#!/bin/sh\n#SBATCH -t 1\n", True),
        ("run", "#!/usr/bin/python3\n", False), ("data.csv", "a,b\n", False),
    ],
)  # fmt: skip
def test_which_files_are_scripts(tmp_path: Path, name: str, text: str, is_one: bool) -> None:
    (tmp_path / name).write_text(text)
    assert batch_script.is_batch_script(tmp_path / name) is is_one
