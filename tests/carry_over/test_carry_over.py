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

from .compare import differences, same_here
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
    assert set(found) == set(recorded(script)), "record it: scripts/record_carry_over.py"
    other = [d for case, there in recorded(script).items() for d in differences(there, found[case], f"{script}.{case}")]
    lines = [f"{where}: {there!r} with Ray, {here!r} here" for where, there, here in other if not wanted(where, here)]
    assert not lines, "\n".join(lines)
    stale = {where for where in WANTED if where.startswith(f"{script}.")} - {each.where for each in other}
    assert not stale, f"as in Ray: {stale}"


def wanted(where: str, here: Any) -> bool:
    return where in WANTED and same_here(WANTED[where][0], here)


LONG = {"checkpoints", "entry_points", "results", "resuming", "schedulers"}
"""Scripts that take more than 15 seconds: every night."""


@pytest.mark.parametrize(
    "script", [pytest.param(each, marks=[pytest.mark.nightly] if each in LONG else []) for each in SCRIPTS]
)
def test_in_one_process(script: str, tmp_path: Path) -> None:
    check(script, "debug", tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("script", SCRIPTS)
def test_in_jobs(script: str, tmp_path: Path) -> None:
    check(script, "local", tmp_path)
