"""The modules beside a script, as they were when it was submitted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpctune.usercode.sources import collect

LOAD = """
import json, sys
from hpctune.usercode.sources import StoredSources
sys.path.insert(0, {root!r})
StoredSources({archive!r}, json.loads({places!r})).import_from_here()
import lib.deep.model
print(lib.deep.model.five + 1)
"""


@pytest.mark.parametrize("gone", [True, False], ids=["where the files are gone", "where they are"])
@pytest.mark.parametrize("packages", [("lib", "lib/deep"), ()], ids=["packages", "folders without __init__.py"])
def test_modules_in_folders_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], gone: bool
) -> None:
    root = tmp_path / "code"
    (root / "lib" / "deep").mkdir(parents=True)
    (root / "helper.py").write_text("from lib.deep.model import five\n\ndef answer():\n    return five + 1\n")
    (root / "lib" / "deep" / "model.py").write_text("five = 5\n")
    for name in packages:
        (root / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    found = collect([str(root / "helper.py")], [str(root)], [])
    assert "lib.deep.model" in found.modules
    name, body = found.archive()
    archive = tmp_path / name
    archive.write_bytes(body)
    if gone:
        shutil.rmtree(root)
    program = LOAD.format(root=str(root), archive=str(archive), places=json.dumps(found.to_json()))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "6\n", done.stderr


def test_a_chain_of_imports_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = sys.getrecursionlimit()
    for number in range(many):
        (tmp_path / f"long_chain{number}.py").write_text(f"import long_chain{number + 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = collect([str(tmp_path / "long_chain0.py")], [str(tmp_path)], [])
    assert f"long_chain{many - 1}" in found.modules
