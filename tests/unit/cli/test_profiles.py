"""Profiles of ``config.toml``: how they are read, and written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpctune.cli import profiles
from hpctune.cli.main import cli
from hpctune.errors import UsageError

CONFIG = """import hpctune as tune


def train(config):
    tune.report(loss=1)


tuner = tune.Tuner(train)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.py").write_text(CONFIG)
    place = tmp_path / "hpctune" / "config.toml"
    place.parent.mkdir()
    return place


def dry_run(*words: str) -> str:
    done = CliRunner().invoke(
        cli, ["run", "c.py", "--dry-run", "--cluster", "slurm", "--storage-path", "results", *words],
        standalone_mode=False,
    )  # fmt: skip
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_profile_sets_options_and_the_command_line_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(
        '[profile.a100]\npartition = "a100"\ntime = "2h"\nmax-concurrent = 3\nsetup = ["echo one", "echo two"]\n'
        'sbatch-arg = {switches = 1}\ncancel_on_exit = true\npython = "/opt/python"\n'
    )
    said = dry_run("--profile", "a100", "-t", "30")
    assert "--partition=a100" in said
    assert "--time=30" in said
    assert "echo one\necho two" in said
    assert "--switches=1" in said
    assert "/opt/python -u -m hpctune.worker" in said
    assert "--partition" not in dry_run()
    monkeypatch.setenv("HPCTUNE_PROFILE", "a100")
    assert "--time=120" in dry_run()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no profile 'a' in .*config.toml. It has none yet: hpctune doctor --profile NAME"),
        ("[profile.b]\n", "There is no profile 'a' .*There are: b."),
        (
            "[profile.a]\npartitoin = 'x'\n",
            "profile a: hpctune run has no option 'partitoin'. Did you mean",
        ),
        ("[profile.a]\nname = 'x'\n", "has no option 'name'"),
        ("[profile.a]\npartition = ['x']\n", r"profile a, partition must be one value, not \['x'\]"),
        ("[profile.a]\ncancel-on-exit = 1\n", "cancel-on-exit must be true or false, not 1"),
        ("[profile.a]\ntime = 'soon'\n", "soon"),
        ("[profile]\na = 1\n", r"profiles are tables: \[profile.NAME\]"),
        ("[profile.a\n", "Cannot read"),
    ],
)
def test_what_is_wrong_in_the_file(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(Exception, match=said):
        dry_run("--profile", "a")
    assert not (file.parent.parent / "results").exists()


def test_writing_replaces_only_the_profile_of_the_name(file: Path) -> None:
    profiles.write("one", [("partition", "a", "why"), ("setup", ["x", 'say "y"'], "why")])
    before = "# mine\n[profile.two]\npartition = 'b'\n\n" + file.read_text() + "\n[profile.three]\ntime = 5\n"
    file.write_text(before)
    profiles.write("one", [("time", "1:00:00", "the default is a minute")])
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert tomllib.loads(text)["profile"] == {
        "two": {"partition": "b"},
        "one": {"time": "1:00:00"},
        "three": {"time": 5},
    }
    assert 'time = "1:00:00"  # the default is a minute\n' in text
    profiles.write("four", [])
    assert profiles.names() == ["two", "one", "three", "four"]


@pytest.mark.parametrize("name", ["", "a b", "a]", "a.b"])
def test_impossible_names(file: Path, name: str) -> None:
    with pytest.raises(UsageError, match="A profile's name has letters"):
        profiles.write(name, [])
    assert not file.exists()


def doctor(*words: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", "--cluster", "local", *words], standalone_mode=False)


def test_doctor_writes_one(file: Path) -> None:
    done = doctor("--no-job", "--profile", "here", "--dir", str(file.parent))
    assert "Wrote the profile here to" in done.output
    assert profiles.names() == ["here"]
