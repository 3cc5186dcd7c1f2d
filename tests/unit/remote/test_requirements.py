"""What a project's environment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.errors import UsageError
from hpctune.remote.environment import describe
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
    assert found.left_out == ("-e .", "./wheels/own.whl"), "nothing there says what it needs"


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


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_lines_that_name_the_project_itself_and_what_is_beside(tmp_path: Path) -> None:
    """None of it is installed; what it needs is."""
    root = write(
        tmp_path / "mono",
        a__requirements_DOT_txt="-e .[dev]\n-e ../lib\nlib @ file:../lib\n-e ../../away\nfar @ file:///home/me/far\n"
        "-e git+https://host/x@v1#egg=x\n--find-links ./wheels\n--find-links https://host/wheels\n",
        a__pyproject_DOT_toml='[project]\nname = "a"\ndependencies = ["numpy"]\n'
        '[project.optional-dependencies]\ndev = ["rich"]\nother = ["no"]\n',
        lib__setup_DOT_cfg="[metadata]\nname = lib\n[options]\ninstall_requires =\n    scipy>1\n    attrs\n",
    )
    found = of_project(root / "a", root)
    assert found.lines == (
        "numpy", "rich", "scipy>1", "attrs", "git+https://host/x@v1#egg=x", "--find-links https://host/wheels",
    )  # fmt: skip
    assert found.left_out == ("-e ../../away", "far @ file:///home/me/far", "--find-links ./wheels")
    assert found.packages == (root / "a", root / "lib")


def test_what_uv_takes_from_elsewhere_is_never_asked_from_an_index(tmp_path: Path) -> None:
    sources = (
        'shared = { path = "../shared", editable = true }\nmember = { workspace = true }\naway = { path = "../../x" }\n'
        'forked = { git = "https://host/forked", rev = "abc" }\nplain = { index = "own" }\n'
    )
    root = write(
        tmp_path / "mono",
        pyproject_DOT_toml='[tool.uv.workspace]\nmembers = ["packages/*"]\n',
        uv_DOT_lock='version = 1\n[[package]]\nname = "numpy"\nversion = "1.26.4"\n'
        'source = { registry = "https://x" }\n[[package]]\nname = "two"\nversion = "1"\n'
        '[[package]]\nname = "two"\nversion = "2"\n'
        '[[package]]\nname = "member"\nversion = "0"\nsource = { editable = "packages/m" }\n',
        a__pyproject_DOT_toml='[project]\nname = "a"\ndependencies = ["numpy", "Shared[x]", "member>=0", '
        f'"away", "forked", "plain"]\n[tool.uv.sources]\n{sources}',
        shared__pyproject_DOT_toml='[project]\nname = "shared"\n[project.optional-dependencies]\nx = ["rich"]\n',
        packages__m__pyproject_DOT_toml='[project]\nname = "member"\ndependencies = ["attrs"]\n',
    )
    found = of_project(root / "a" / "configs", root)
    assert found.lines == ("numpy", "rich", "attrs", "forked @ git+https://host/forked@abc", "plain")
    assert found.left_out == ("away @ file:../../x",)
    assert found.packages == (root / "a", root / "shared", root / "packages" / "m")
    assert found.constraints == ("numpy==1.26.4",)
    assert found.source == str(root / "a" / "pyproject.toml")


def test_poetry(tmp_path: Path) -> None:
    write(
        tmp_path,
        pyproject_DOT_toml='[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\npython = "^3.11"\na = "^1.2.3"\n'
        'b = "^0.2.3"\nc = "~1.2"\nd = "1.0"\ne = "*"\nf = ">=1,<2"\ng = {version = "^2", extras = ["x"]}\n'
        'h = {version = "1", optional = true}\ni = {git = "https://host/i", tag = "v1"}\nj = "2.*"\n',
        poetry_DOT_lock='[[package]]\nname = "a"\nversion = "1.3.0"\n',
    )
    found = of_project(tmp_path)
    assert found.lines == (
        "a>=1.2.3,<2", "b>=0.2.3,<0.3", "c>=1.2,<1.3", "d==1.0", "e", "f>=1,<2", "g[x]>=2,<3",
        "i @ git+https://host/i@v1", "j==2.*",
    )  # fmt: skip
    assert found.constraints == ("a==1.3.0",)


def test_setup_py_is_read_and_not_executed(tmp_path: Path) -> None:
    write(tmp_path, setup_DOT_py="raise SystemExit\nsetup(name='a', install_requires=['numpy', 'rich>1'])\n")
    assert of_project(tmp_path).lines == ("numpy", "rich>1")


def test_dependencies_in_a_file_that_setuptools_reads(tmp_path: Path) -> None:
    write(
        tmp_path,
        pyproject_DOT_toml='[project]\nname = "a"\ndynamic = ["dependencies"]\n'
        '[tool.setuptools.dynamic]\ndependencies = { file = ["reqs.txt"] }\n',
        reqs_DOT_txt="numpy\n",
    )
    assert of_project(tmp_path).lines == ("numpy",)


def test_conda(tmp_path: Path) -> None:
    write(
        tmp_path,
        environment_DOT_yml="name: x\ndependencies:\n- python=3.11\n- pytorch::pytorch=2.1\n- pip\n- pip:\n  - rich\n",
        pyproject_DOT_toml="[tool.ruff]\nline-length = 100\n",
    )
    found = of_project(tmp_path)
    assert (found.lines, found.conda) == (("rich",), ("pytorch::pytorch=2.1",))
    assert "Not installed, because they are packages of conda: pytorch::pytorch=2.1. List them in" in describe(found)


def test_the_nearest_statement_counts(tmp_path: Path) -> None:
    root = write(tmp_path, requirements_DOT_txt="far\n", a__requirements_DOT_txt="near\n", b__c__x_DOT_py="")
    assert of_project(root / "a", root).lines == ("near",)
    assert of_project(root / "b" / "c", root).lines == ("far",)
    assert of_project(root / "b" / "c", root / "b").lines == ()
