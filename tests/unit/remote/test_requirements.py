"""What a project's environment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.errors import UsageError
from hpctune.remote.requirements import of_project


def test_requirements_txt_and_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "numpy>=1.24  # arrays\n-r more.txt\n-c bounds.txt\n-e .\n./wheels/own.whl\n"
        "hpctune[optuna]>=0.1\n--no-binary :all:\n"
    )
    (tmp_path / "more.txt").write_text("torch \\\n  ==2.1\n-r requirements.txt\nhpctune-plugin\n")
    (tmp_path / "bounds.txt").write_text("scipy<2\n")
    found = of_project(tmp_path)
    assert [" ".join(line.split()) for line in found.lines] == [
        "numpy>=1.24", "torch ==2.1", "hpctune-plugin", "--no-binary :all:",
    ]  # fmt: skip
    assert found.constraints == ("scipy<2",)
    assert found.extras == ("optuna",)
    assert found.left_out == ("-e .", "./wheels/own.whl")


def test_pyproject(tmp_path: Path) -> None:
    assert of_project(tmp_path).lines == ()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["numpy", "hpctune"]\n')
    assert of_project(tmp_path).lines == ("numpy",)
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml cannot be read"):
        of_project(tmp_path)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r nothing.txt\n")
    with pytest.raises(UsageError, match=r"nothing\.txt cannot be read"):
        of_project(tmp_path)
