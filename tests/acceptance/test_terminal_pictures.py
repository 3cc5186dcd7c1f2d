"""scripts/terminal_pictures.py draws what the documentation shows of a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {f"{what}-{width}-{on}.svg" for what in ("live", "top") for width in (80, 160) for on in ("dark", "light")}


def text_of(svg: Path) -> str:
    """The text of a picture, a line each."""
    found = [element.text or "" for element in ElementTree.parse(svg).iter() if element.tag.endswith("text")]
    return "\n".join(found).replace("\xa0", " ")


def test_the_documentation_has_all_pictures() -> None:
    pictures = ROOT / "docs" / "pictures"
    assert {path.name for path in pictures.glob("*.svg")} == NAMES
    for name in NAMES:
        assert "https://cdn" not in (pictures / name).read_text(), "a picture loads nothing"
        assert not re.search(r"/(work|tmp|root)/", text_of(pictures / name)), "no path of the machine that drew it"


@pytest.mark.nightly
def test_the_script_draws_them(tmp_path: Path) -> None:
    call = [sys.executable, str(ROOT / "scripts" / "terminal_pictures.py"), str(tmp_path)]
    subprocess.run(call, check=True, timeout=300, stdin=subprocess.DEVNULL)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for on in ("dark", "light"):
        narrow, wide = (text_of(tmp_path / f"live-{width}-{on}.svg") for width in (80, 160))
        assert "running" in narrow
        assert "no room for: momentum, curve" in narrow
        assert "no room for" not in wide
        for width in (80, 160):
            shown = text_of(tmp_path / f"top-{width}-{on}.svg")
            assert "curve of" in shown
            assert re.search(r"quit\s*$", shown, re.MULTILINE), "the last key of the footer is there"
