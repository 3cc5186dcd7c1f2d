"""The wheel of this hpctune is one that pip takes, and that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hpctune.remote import wheel
from hpctune.version import VERSION


def test_pip_installs_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = wheel.write(tmp_path / "a"), wheel.write(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes(), "the same sources give the same bytes"
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", target, first]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
    code = (
        "import importlib.metadata as m, hpctune, hpctune.analysis; from pathlib import Path; "
        "print(hpctune.__file__, m.version('hpctune'), any('paramiko' in r for r in m.requires('hpctune')), "
        "any(Path(hpctune.__file__).parent.glob('analysis/page/*.css')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(target / "hpctune" / "__init__.py"), VERSION, "True", "True"]
    assert (target / "bin" / "hpctune").exists()
