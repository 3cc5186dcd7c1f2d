"""What the command line says of where a program runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpctune.cli.searchoptions import _place
from hpctune.interop.command_search import CommandSearch


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "this directory"),
        ({"hosts": ("ws1",)}, "a copy of HERE in each trial's directory"),
        ({"hosts": ("ws1",), "code_limit": 1000}, "a copy of HERE in each trial's directory"),
        ({"hosts": ("ws1",), "code_limit": 0}, "this directory"),
    ],
)
def test_where_a_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    search = CommandSearch("echo {x}", space={"x": 1}, cwd=str(tmp_path))
    assert _place(search, given) == said.replace("HERE", str(tmp_path))
