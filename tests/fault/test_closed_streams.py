"""Commands and searches whose standard streams are closed, full or missing: cron, daemons, ``>&-``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hpctune as tune

def train(config):
    print("the trial's own word")
    tune.report({"loss": config["x"]})

if __name__ == "__main__":
    tuner = tune.Tuner(
        train, param_space={"x": tune.grid_search([1, 2])}, tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path="results"), cluster=CLUSTER,
    )
    CLOSE
    tuner.fit()
"""
CLOSED = (">&-", "2>&-", "<&- >&- 2>&-", "</dev/null >/dev/full 2>/dev/full")


def shell(directory: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=directory, capture_output=True, text=True, timeout=120, check=False)


def results(directory: Path) -> list[float]:
    files = sorted((directory / "results" / "exp").glob("*/result.json"))
    return sorted(json.loads(line)["loss"] for file in files for line in file.read_text().splitlines())


@pytest.mark.parametrize(
    ("cluster", "redirections"),
    [
        *(("local", each) for each in CLOSED),
        *(("debug", each) for each in CLOSED[:3]),
    ],
)
def test_a_search_runs(tmp_path: Path, cluster: str, redirections: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("CLUSTER", repr(cluster)).replace("CLOSE", "pass"))
    done = shell(tmp_path, f"{sys.executable} script.py {redirections}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert results(tmp_path) == [1, 2]


@pytest.mark.parametrize("close", ["import sys; sys.stdout.close()", "import os; os.close(1); os.close(2)"])
def test_a_search_runs_in_a_program_that_has_closed_its_own(tmp_path: Path, close: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("CLUSTER", "'local'").replace("CLOSE", close))
    done = shell(tmp_path, f"{sys.executable} script.py")
    assert results(tmp_path) == [1, 2], done.stderr
    assert "the trial's own word\n" in next((tmp_path / "results" / "exp").glob("*/stdout")).read_text()


@pytest.mark.parametrize("redirections", CLOSED[2:3])
def test_commands_need_no_stream(tmp_path: Path, redirections: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("CLUSTER", "'local'").replace("CLOSE", "pass"))
    assert shell(tmp_path, f"hpctune run script.py --cluster local {redirections}").returncode == 0
    for command in ("status", "list", "best", "fsck", "timeline"):
        done = shell(tmp_path, f"hpctune {command} results/exp {redirections}")
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr
    assert shell(tmp_path, f"hpctune --help {redirections}").returncode == 0


def test_no_file_of_the_search_becomes_a_standard_stream(tmp_path: Path) -> None:
    """The next file that is opened gets the lowest free descriptor: with 1 closed, prints went into it."""
    lines = (
        "import os, sys", "from hpctune.common import streams", "streams.open_missing()", "f = open('x', 'w')",
        "os.write(1, b'into')", "print('into', flush=True)", "sys.exit(int(f.fileno() < 3))",
    )  # fmt: skip
    code = "; ".join(lines)
    assert shell(tmp_path, f'{sys.executable} -c "{code}" <&- >&- 2>&-').returncode == 0
    assert (tmp_path / "x").read_text() == ""
