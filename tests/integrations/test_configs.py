"""The configs of frameworks run as they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.nightly
@pytest.mark.parametrize("framework", ["xgboost", "lightgbm", "keras", "lightning"])
def test_a_config_runs_by_one_command(tmp_path: Path, framework: str) -> None:
    pytest.importorskip(framework)
    if framework == "keras":
        pytest.importorskip("torch")
    command = ["hpctune", "run", str(CONFIGS / f"{framework}_search.py"), "--cluster", "local", "-v", "1"]
    done = subprocess.run(
        [*command, "--storage-path", str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(["hpctune", "best", str(tmp_path / framework)], capture_output=True, text=True, check=True)
    assert "loss = " in shown.stdout
