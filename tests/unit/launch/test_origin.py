"""What an experiment was made of stands in its definition."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import hpctune as tune
from hpctune.version import VERSION

SCRIPT = """
import hpctune as tune

def train(config):
    tune.report({"loss": config["lr"]})

tuner = tune.Tuner(
    train,
    param_space={
        "lr": tune.qloguniform(1e-4, 1e-1, 1e-4), "m": {"k": tune.choice([1, "a"])}, "g": tune.grid_search([1]),
    },
    tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=tune.create_scheduler("asha", max_t=7)),
)
"""


def test_command_line_versions_git_and_space(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "work")
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    git("add", "search.py")
    git("commit", "-q", "-m", "one")
    script.write_text(SCRIPT + "# changed\n")
    words = ["hpctune", "run", "search.py", "--cluster", "local", "--storage-path", "results", "--name", "exp", "-v0"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    root = tmp_path / "results" / "exp"
    origin = json.loads((root / "experiment.json").read_text())["origin"]
    assert origin["command"] == " ".join(words)
    assert origin["directory"] == str(tmp_path)
    assert origin["git"] == {"commit": git("rev-parse", "HEAD").strip(), "branch": "work", "changed": True}
    assert "+# changed" in (root / "uncommitted.diff").read_text()
    assert (root / "uncommitted.diff").stat().st_mode & 0o077 == 0
    assert origin["packages"]["hpctune"] == VERSION
    assert origin["packages"]["numpy"]
    assert origin["search_space"] == {
        "lr": {"type": "qloguniform", "lower": 1e-4, "upper": 0.1, "q": 1e-4},
        "m": {"k": {"type": "choice", "values": [1, "a"]}},
        "g": {"type": "grid_search", "values": [1]},
    }
    assert origin["searcher"] == "BasicVariantGenerator"
    assert (origin["scheduler"]["name"], origin["scheduler"]["max_t"]) == ("AsyncHyperBandScheduler", 7)
    subprocess.run(["hpctune", "resume", str(root), "--num-samples", "2", "-v0"], check=True, capture_output=True)
    assert json.loads((root / "experiment.json").read_text())["origin"] == origin


def test_without_git_the_rest_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tune.run(lambda config: {"a": 1}, name="exp", storage_path=tmp_path, cluster="local", verbose=0)
    origin = json.loads((tmp_path / "exp" / "experiment.json").read_text())["origin"]
    assert "git" not in origin
    assert origin["search_space"] == {}
    assert not (tmp_path / "exp" / "uncommitted.diff").exists()
