"""Bounded chaos on a real Slurm: random kills of everything, by seed, judged by the independent checker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]
CHAOS = Path(__file__).resolve().parents[2] / "scripts" / "chaos.py"
_SLURM_IS_MISSING = 3


@pytest.mark.parametrize(
    ("search", "seed"),
    [
        ("asha", 1),
        pytest.param("asha", 2, marks=pytest.mark.nightly),
        pytest.param("pbt", 3, marks=pytest.mark.nightly),
    ],
)
def test_nothing_is_lost(search: str, seed: int) -> None:
    said = chaos("--seed", str(seed), "--search", search)
    assert "all is well: 10 trials" in said
    assert said.count(" s  ") >= 8, "enough happened, however slow the machine"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [4, 5])
def test_the_ledger_is_what_sacct_says(seed: int) -> None:
    said = chaos("--seed", str(seed), "--search", "asha", "--accounting")
    assert "the ledger is what sacct says" in said


def chaos(*options: str) -> str:
    """What the program says, which must end well."""
    command = [sys.executable, str(CHAOS), "--seconds", "25", "--trials", "10", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False)
    if done.returncode == _SLURM_IS_MISSING and os.environ.get("CI") != "true":
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
