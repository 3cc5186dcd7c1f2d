"""The notebook of the documentation, executed by a real kernel: the live table, and what results show of themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
EXECUTE = """
import json, sys
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

class ThisPython(KernelSpecManager):
    def get_kernel_spec(self, kernel_name):
        words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=words, language="python")

book = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(book, km=KernelManager(kernel_spec_manager=ThisPython()), timeout=200).execute()
json.dump(book.cells, open(sys.argv[2], "w"))
"""


def executed(folder: Path) -> list[Any]:
    """The cells of code with their outputs, by a kernel of this interpreter."""
    words = [sys.executable, "-c", EXECUTE, str(NOTEBOOK), "cells.json"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return [cell for cell in json.loads((folder / "cells.json").read_text()) if cell["cell_type"] == "code"]


def kinds(cell: Any) -> set[str]:
    return {kind for output in cell["outputs"] for kind in output.get("data", {})}


def html(cell: Any) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell["outputs"])


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    _, fit, results, best, curves, importance, parallel, pareto, frame = executed(tmp_path)
    assert "16 of 16" in html(fit), "the last state of the live table"
    assert len([o for o in fit["outputs"] if "data" in o]) == 1, "the table is redrawn in place"
    assert "<svg" in html(results)
    assert "16 trials" in html(results)
    assert "loss" in html(best)
    assert all("image/png" in kinds(cell) for cell in (curves, importance, pareto))
    assert "application/vnd.plotly.v1+json" in kinds(parallel) or "plotly" in html(parallel)
    assert "<table" in html(frame)
