"""The table of faults names tests that exist, and every fault has one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)), ids="::".join)
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), path
    assert name.startswith("test_")
    assert name in functions_of(path)


def test_every_fault_has_a_test() -> None:
    rows = [
        line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| what |"))
    ]
    assert len(rows) > 50
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+` \|$", row)] == []
