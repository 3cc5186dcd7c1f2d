"""Every bash block of docs/cli.md runs, in order, in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpctune.cli import exitcodes, main
from hpctune.output.display.slurm_reasons import explain

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.mark.nightly
def test_bash_blocks_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "PATH": path, "HPCTUNE_RESULT_DIR": str(tmp_path / "elsewhere")},
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_tables_agree_with_the_program() -> None:
    text = DOCS.read_text()
    for code, meaning in exitcodes.MEANINGS.items():
        assert f"| {code} | {meaning.replace('|', chr(92) + '|')} |" in text
    for name, summary in main.COMMANDS.items():
        assert re.search(rf"^hpctune {name} +{re.escape(summary)}$", text, re.MULTILINE)
    for reason, words in re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE):
        assert explain(reason) == words
