"""What the project says about itself, to contributors and to package indexes, holds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from hpctune.version import VERSION

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# -- the version -------------------------------------------------------------------------------------------------------


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT
    assert "version" in PROJECT["dynamic"]
    assert metadata.version("hpctune") == VERSION
    done = subprocess.run([BIN / "hpctune", "--version"], capture_output=True, text=True, check=True)
    assert VERSION in done.stdout


def test_a_clone_in_the_working_directory_is_not_taken_for_the_package(tmp_path: Path) -> None:
    """As jobs find it: they start Python with -m, in the directory where the search was started."""
    (tmp_path / "hpctune" / "scripts").mkdir(parents=True)
    words = [sys.executable, "-m", "hpctune", "--version"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, VERSION in done.stdout) == (0, True), done.stderr


def test_what_must_repeat_the_version_agrees() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_change_log_has_its_format() -> None:
    first, *released = re.findall(r"^## \[(.+?)\]", CHANGELOG, re.MULTILINE)
    assert first == "Unreleased"
    assert released[0] == VERSION
    numbers = [tuple(map(int, version.split("."))) for version in released]
    assert numbers == sorted(numbers, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= kinds


# -- contributing ------------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("command", commands())
def test_what_contributors_are_to_call_exists(command: str) -> None:
    program, *arguments = shlex.split(command)
    where = BIN / Path(program).name if program.startswith(".venv-test/") else ROOT / program
    assert where.is_file()
    assert where.stat().st_mode & 0o111
    for argument in arguments:
        assert "/" not in argument or (ROOT / argument).exists()
    if "-m" in arguments:
        module = arguments[arguments.index("-m") + 1]
        found = subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=False)
        assert found.returncode == 0


def test_what_contributors_are_sent_to_exists() -> None:
    paths = re.findall(r"`((?:hpctune|tests|scripts|docs)/[\w./-]+)`", CONTRIBUTING)
    assert len(paths) > 30
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []
    names = re.findall(r"`(\w+)` (?:of|in) `(hpctune/[\w./-]+|tests/[\w./-]+)`", CONTRIBUTING)
    assert len(names) > 5
    for name, path in names:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{name} is not in {path}"


def test_every_package_is_told_of() -> None:
    packages = {path.parent.name for path in (ROOT / "hpctune").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"`hpctune/(\w+)`", CONTRIBUTING))


def test_every_kind_of_test_is_told_of() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(
        re.findall(r"`tests/(\w+)`", CONTRIBUTING.partition("## Kinds of tests")[2].split("\n## ")[0])
    )


# -- checks at a commit ------------------------------------------------------------------------------------------------


def test_checks_at_a_commit_are_those_of_the_one_command() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    subprocess.run([BIN / "pre-commit", "validate-config", config], check=True)
    (repository,) = yaml.safe_load(config.read_text())["repos"]
    assert repository["repo"] == "local", "nothing is fetched at a commit"
    entries = [hook["entry"].split() for hook in repository["hooks"]]
    assert all((BIN / Path(entry[0]).name).is_file() and entry[0].startswith(".venv-test/bin/") for entry in entries)
    at_commits = {" ".join([Path(entry[0]).name, *(w for w in entry[1:] if w[0] != "-")]) for entry in entries}
    steps = re.findall(r'step "[\w ]+" ((?:ruff|mypy|lint-imports)\b.*)$', (ROOT / "scripts/test.sh").read_text(), re.M)
    assert at_commits == {re.match(r"[\w-]+( check| format)?", step)[0] for step in steps}  # type: ignore[index]
