"""Every command that hpctune prints can be pasted into a shell, whatever the experiment is called."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hpctune.common.text import quoted

ROOT = Path(__file__).parents[2]
UNQUOTED = re.compile(r"(?:hpctune (?:resume|stop|status|logs|best|list|fsck|timeline)|chmod [a-z+-]+) \{(?!quoted\()")


def test_no_message_has_a_path_in_a_command_as_it_is() -> None:
    wrong = [f"{p}: {m[0]}" for p in (ROOT / "hpctune").rglob("*.py") for m in UNQUOTED.finditer(p.read_text())]
    assert wrong == []


@pytest.mark.parametrize("name", ["my run", "$(touch pwned)", "a;b", "it's", '"x"', "--rf", "ü*", "a\nb"])
def test_what_is_quoted_is_one_word(name: str) -> None:
    assert shlex.split(f"hpctune logs {quoted(f'/x/{name}')} t1") == ["hpctune", "logs", f"/x/{name}", "t1"]


def test_the_commands_of_a_failed_run_can_be_pasted(tmp_path: Path) -> None:
    place = tmp_path / "my $(touch pwned) results"
    place.mkdir()
    (tmp_path / "config.py").write_text(
        "import hpctune as tune\n\n\ndef train(config):\n    raise ValueError('no')\n\n\n"
        "tuner = tune.Tuner(train, run_config=tune.RunConfig(name='a b'))\n"
    )
    environ = {**os.environ, "TUNE_RESULT_DIR": str(place)}
    command = ["hpctune", "run", "config.py", "--cluster", "local", "-v", "0"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    printed = re.findall(r"hpctune status .*?results/a b'", done.stderr)
    assert printed, done.stderr
    shown = subprocess.run(
        printed[0], shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "1 error" in shown.stdout
    assert not list(tmp_path.rglob("pwned"))
