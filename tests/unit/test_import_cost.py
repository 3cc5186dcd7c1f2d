"""Starting up stays cheap: shell completion, `hpctune status` in a loop, and every job's start depend on it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_imports.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_imports", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


check_imports = _load()


@pytest.mark.parametrize("name", [case.name for case in check_imports.cases(Path())])
def test_start_up_loads_little(name: str, tmp_path: Path) -> None:
    if name.startswith("hpctune status"):
        check_imports.make_experiment(tmp_path)
    case = next(case for case in check_imports.cases(tmp_path) if case.name == name)
    # The exact limits of CPU time are the script's; here a busy machine must not fail a change.
    cost = check_imports.measure(case, runs=3)
    assert cost.complaints(cpu_factor=3.0) == []


def test_every_broken_limit_is_told() -> None:
    case = check_imports.Case("probe", "import json", cpu_limit_ms=0.0, modules_limit=0)
    cost = check_imports.Cost(case, modules=("json", "numpy"), exit_code=1, cpu_ms=5.0)
    assert cost.complaints() == [
        "probe: ended with 1",
        "probe: loads numpy",
        "probe: 2 modules, limit 0",
        "probe: 5 ms of CPU, limit 0 ms",
    ]
