"""The scripts beside this file do the same with hpctune as with Ray: what they observe was recorded with Ray itself by
scripts/record_carry_over.py. Differences that are wanted are in differences.py, each with its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .compare import differences
from .differences import WANTED

PLACE = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in (PLACE / "recorded").glob("*.json"))


@cache
def recorded(script: str) -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((PLACE / "recorded" / f"{script}.json").read_text())["cases"]
    return cases


def observed(script: str, cluster: str, place: Path) -> dict[str, Any]:
    """What the script observes when hpctune stands for Ray."""
    out = place / "out.json"
    command = [sys.executable, "-m", "hpctune.cli.main", "run", str(PLACE / "observe.py"), "--ray", "hpctune"]
    words = ["--cluster", cluster, "--", "--out", str(out), script]
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(place / "results")}
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, env=env, cwd=place)
    assert out.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text())["found"][script]
    return found


def check(script: str, cluster: str, place: Path) -> None:
    found = observed(script, cluster, place)
    lines = []
    for case, expected in recorded(script).items():
        here, _ = WANTED.get(f"{script}.{case}", (expected, ""))
        lines += differences(here, found.get(case), f"{script}.{case}")
    assert not lines, "\n".join(lines)
    assert set(found) == set(recorded(script)), "record it: scripts/record_carry_over.py"


@pytest.mark.parametrize("script", SCRIPTS)
def test_in_one_process(script: str, tmp_path: Path) -> None:
    check(script, "debug", tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("script", SCRIPTS)
def test_in_jobs(script: str, tmp_path: Path) -> None:
    check(script, "local", tmp_path)


def test_a_wanted_difference_is_one() -> None:
    for name, (here, reason) in WANTED.items():
        script, _, case = name.partition(".")
        assert differences(recorded(script)[case], here, name), f"{name} is as in Ray: remove it"
        assert reason
