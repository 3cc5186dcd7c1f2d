"""Tab after ``hpctune`` in real shells, and what is offered."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.picture_support import search


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, trials in (("mnist", 3), ("cifar", 2)):
        root = search(tmp_path / "results" / name, trials=trials)
        for n in range(trials):
            (root / f"train_1f3a9_{n:05d}_{n}").mkdir(exist_ok=True)
        (root / "train_1f3a9_00000_0" / "result.json").write_text('{"loss": 0.5, "latency": 2, "note": "x"}\n')
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "sinfo").write_text('#!/bin/sh\necho asked >> "$HOME/asked"\nprintf "gpu\\ngpu-long\\ncpu\\n"\n')
    (bin_ / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    return tmp_path


def offered(line: str) -> list[str]:
    """What bash is told after Tab at the end of ``line``."""
    words = line.split(" ")
    env = {"_HPCTUNE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(["hpctune"], env=os.environ | env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    kinds = [item.split(",", 1) for item in done.stdout.split()]
    return sorted(value for kind, value in kinds if kind == "plain")


def test_what_is_offered(home: Path) -> None:
    assert {"status", "stop", "sweep"} <= set(offered("hpctune s"))
    assert offered("hpctune status ") == ["cifar", "mnist"]
    assert offered("hpctune status m") == ["mnist"]
    assert offered("hpctune logs cifar ") == ["1f3a9_00000", "1f3a9_00001"]
    assert offered("hpctune stop mnist 1f3a9_00000 1f3a9_00002") == ["1f3a9_00002"]
    assert offered("hpctune add --dir mnist --like ") == ["1f3a9_00000", "1f3a9_00001", "1f3a9_00002"]
    assert offered("hpctune html cifar m") == ["mnist"]
    assert offered("hpctune best mnist --metric l") == ["latency", "loss"]
    assert "--metric" in offered("hpctune best mnist --m")
    assert offered("hpctune plot mnist --mode ") == ["max", "min"]


def test_partitions_are_asked_for_once(home: Path) -> None:
    assert offered("hpctune run x.py -p g") == ["gpu", "gpu-long"]
    assert offered("hpctune run x.py --partition gpu,c") == ["gpu,cpu"]
    assert (home / "asked").read_text() == "asked\n"


def test_hosts_are_those_of_the_configuration_of_ssh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host ws1 ws2\n  User ann\nHost *\n  Port 22\n")
    assert offered("hpctune run x.py --hosts w") == ["ws1", "ws2"]
    assert offered("hpctune doctor --hosts ws1,ws") == ["ws1,ws2"]


def test_what_cannot_be_found_offers_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "bin" / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    assert offered("hpctune run x.py -p g") == []
    assert offered("hpctune best nothing --metric l") == []
    monkeypatch.setenv("TUNE_RESULT_DIR", str(home / "gone"))
    assert offered("hpctune status ") == []


def in_shell(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_bash(home: Path) -> None:
    script = 'eval "$(hpctune completion bash)"; COMP_WORDS=(hpctune sta); COMP_CWORD=1; '
    function = in_shell("bash", "-c", f"{script} complete -p hpctune").split("-F ")[1].split()[0]
    assert in_shell("bash", "-c", f'{script} {function} hpctune; echo "${{COMPREPLY[@]}}"') == "status\n"


def test_names_in_bash_beside_directories_and_with_blanks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "results" / "cifar").rename(home / "results" / "my & first")
    work = home / "work"
    (work / "my data").mkdir(parents=True)
    (work / "mine").touch()
    monkeypatch.chdir(work)
    complete = (
        'eval "$(hpctune completion bash)"; compopt() { kinds+=" $2"; }; '
        'ask() { COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hpctune_completion hpctune; '
        'printf "%s\\n" "${COMPREPLY[@]}" "kinds:$kinds"; }; '
    )
    assert in_shell("bash", "-c", f"{complete} ask hpctune status m").splitlines() == [
        r"my\ \&\ first", "mnist", r"my\ data", "kinds:",
    ]  # fmt: skip
    assert in_shell("bash", "-c", f"{complete} ask hpctune status nothing").splitlines() == ["kinds: dirnames"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish on PATH")
def test_in_fish(home: Path) -> None:
    said = in_shell("fish", "-c", 'hpctune completion fish | source; complete -C "hpctune status m"')
    assert said.split() == ["mnist"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh on PATH")
def test_in_zsh(home: Path) -> None:
    script = 'autoload -Uz compinit; compinit -u; eval "$(hpctune completion zsh)"; echo ${_comps[hpctune]}'
    assert in_shell("zsh", "-f", "-c", script) == "_hpctune_completion\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_installed(home: Path, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    said = in_shell("hpctune", "completion", "--install")
    file = Path(said.split()[1].rstrip("."))
    assert file.is_relative_to(home)
    assert file.read_text() == in_shell("hpctune", "completion", shell)


def test_an_unknown_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    done = subprocess.run(["hpctune", "completion"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Which shell?" in done.stderr) == (2, True)
