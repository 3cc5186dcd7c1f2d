"""The quickstart and the other examples of configs/, run as ``scripts/quickstart.sh`` does once it has installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EXAMPLES = ["ray_script.py", "command.py", "class_trainable.py"]


def hpctune(storage: Path, *arguments: str) -> str:
    """The output of one command, which must succeed; what it leaves behind lies in ``storage``."""
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(storage), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / "hpctune"), *arguments]
    done = subprocess.run(command, cwd=storage, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_locally(storage: Path, config: str) -> str:
    path = str(ROOT / "configs" / config)
    return hpctune(storage, "run", path, "--cluster", "local", "--name", "it", "--storage-path", str(storage))


def rows_of(experiment: Path) -> dict[Path, list[dict[str, object]]]:
    """Every trial's directory with the rows of its result.json."""
    files = sorted(experiment.glob("*/result.json"))
    return {file.parent: [json.loads(line) for line in file.read_text().splitlines()] for file in files}


@pytest.mark.nightly
def test_the_quickstart_ends_with_the_best(tmp_path: Path) -> None:
    """What it prints last is what the files say: accuracy, configuration, and where the results are."""
    last_block = run_locally(tmp_path, "quickstart.py").strip().split("\n\n")[-1]
    rows = rows_of(tmp_path / "it")
    assert len(rows) == 24
    best = max(float(trial[-1]["accuracy"]) for trial in rows.values())  # type: ignore[arg-type]
    assert best > 0.95
    printed = re.search(r"^Best: +accuracy=([\d.]+) by (\w+)\n((?: +\S.*\n)+)", last_block, re.MULTILINE)
    assert printed is not None, last_block
    assert float(printed[1]) == pytest.approx(best, rel=1e-5)
    (directory,) = [d for d in rows if d.name.startswith(f"train_{printed[2]}_")]
    assert rows[directory][-1]["accuracy"] == best
    for key, value in json.loads((directory / "params.json").read_text()).items():
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        assert key in printed[3]
        assert isinstance(value, list) or f"{key}={shown}" in printed[3]
    assert f"Results: {tmp_path / 'it'}" in last_block
    assert re.search(r"24 of 24 \(\d+ completed, \d+ stopped early\)", last_block)
    checkpoints = [d.name for d in directory.glob("checkpoint_*")]
    assert 1 <= len(checkpoints) <= 2  # the best, and the newest
    (found,) = json.loads(hpctune(tmp_path, "best", "it", "--json"))
    assert (found["value"], found["directory"]) == (best, str(directory))


@pytest.mark.parametrize("config", EXAMPLES)
def test_the_other_examples_run(tmp_path: Path, config: str) -> None:
    printed = run_locally(tmp_path, config)
    rows = rows_of(tmp_path / "it")
    found = re.search(rf"{len(rows)} of {len(rows)} \(((?:\d+ (?:completed|stopped early)(?:, )?)+)\)", printed)
    assert found, printed
    assert sum(map(int, re.findall(r"\d+", found[1]))) == len(rows)
    assert all(rows.values())


def test_a_ray_tune_script_is_also_just_a_script(tmp_path: Path) -> None:
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(tmp_path)}
    code = (
        "import sys, runpy; from hpctune.launch.overrides import Overrides, use; sys.argv = sys.argv[1:]\n"
        "with use(Overrides(cluster='local')): runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(ROOT / "configs" / "ray_script.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "best config: {'damping': 0." in done.stdout


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
def test_the_two_commands_of_the_readme_are_there(script: str) -> None:
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert f"./scripts/{script}" in (ROOT / "README.md").read_text()
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.nightly
def test_the_quickstart_script_ends_with_what_was_found(tmp_path: Path) -> None:
    """The script with this environment in place of its own."""
    bash = (
        f'source "{ROOT}/scripts/lib.sh"; ensure_venv() {{ :; }}; project={tmp_path}/checkout; '
        f"{(ROOT / 'scripts' / 'quickstart.sh').read_text().split('scripts/lib.sh' + chr(34), 1)[1]}"
    )
    (tmp_path / "checkout" / ".venv").mkdir(parents=True)
    (tmp_path / "checkout" / ".venv" / "bin").symlink_to(BIN)
    (tmp_path / "checkout" / "configs").symlink_to(ROOT / "configs")
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(tmp_path / "results")}
    words = ["bash", "-euo", "pipefail", "-c", bash, "quickstart.sh", "--cluster", "local", "--num-samples", "6"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("\n\n")[-1]
    assert re.search(r"accuracy = 0\.\d+ .*trial \w+", done.stdout), done.stdout
    assert "learning_rate_init = " in done.stdout
    assert "The best trial" in table, table
    assert [line.split()[1] for line in done.stderr.split("Go on:\n")[1].splitlines()] == ["serve", "run", "sweep"]


def test_the_quickstart_script_runs_this_config() -> None:
    text = (ROOT / "scripts" / "quickstart.sh").read_text()
    assert '"$hpctune" run "$project/configs/quickstart.py" "$@"' in text


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_newcomers_first_steps(tmp_path: Path) -> None:
    """From a clone, with an environment of its own; fewer than ten commands."""
    words = [str(ROOT / "scripts" / "first_steps.sh"), str(tmp_path / "here")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = done.stdout.split(" commands:\n")[1].splitlines()
    assert 5 < len(told) < 10
    assert all(re.fullmatch(r" *\d+ s   \S.*", line) for line in told), told
    assert "val_loss = 0." in done.stdout
    assert (tmp_path / "here" / "search.html").stat().st_size > 10_000
