"""The program as a whole: its start, its exit codes, its way of saying that something is wrong."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from hpctune.cli import exitcodes, main
from hpctune.cli.values import seconds
from hpctune.version import VERSION
from tests.support.cli_support import BIN, demo, hpctune

HEAVY = ("numpy", "pandas", "rich", "submitit", "filelock", "cloudpickle", "paramiko")
COUNT = """
import atexit, sys
atexit.register(lambda: print("\\nMODULES", len(sys.modules), *[m for m in {heavy!r} if m in sys.modules]))
from hpctune.cli.main import main
main({arguments!r})
"""


def modules(*arguments: str) -> tuple[int, list[str], list[str]]:
    """How many modules a command loads in all, which heavy ones, and which of our commands."""
    program = COUNT.format(heavy=HEAVY, arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    count, *heavy = done.stdout.split("MODULES", 1)[1].split()
    return int(count), heavy, done.stdout.splitlines()


def test_help_loads_no_command() -> None:
    program = (
        "import atexit, sys; atexit.register(lambda: print(sorted(m for m in sys.modules if m[:8] == 'hpctune.')))\n"
        "from hpctune.cli.main import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    ours = {"hpctune.cli", "hpctune.cli.main", "hpctune.cli.exitcodes", "hpctune.errors", "hpctune.version"}
    ours |= {"hpctune.cli.on", "hpctune.common", "hpctune.common.streams"}
    assert {m for m in loaded if not m.startswith("hpctune.cli.main")} <= ours


def test_help_is_quick() -> None:
    def cpu_s(*command: str) -> float:
        before = os.times()
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    bare = min(cpu_s(sys.executable, "-c", "pass") for _ in range(3))
    assert min(cpu_s(str(BIN), "--help") for _ in range(3)) - bare < 0.3, "pandas, submitit or paramiko were imported"


@pytest.mark.parametrize("command", ["status", "list", "best", "logs"])
def test_reading_commands_load_little(command: str, tmp_path: Path) -> None:
    demo(tmp_path / "mnist")
    trial = ["1"] if command == "logs" else []
    count, heavy, _ = modules(command, str(tmp_path / "mnist"), *trial)
    assert heavy == []
    assert count <= 260, "Python's own modules are not equally many in all versions"


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = importlib.import_module(f"hpctune.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.epilog is not None
    assert command.epilog.startswith("Example: hpctune ")
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, param.name
    with click.Context(command, info_name=name) as context:
        assert "Example: " in command.get_help(context)


def test_top_level_help_names_commands_and_exit_codes() -> None:
    done = hpctune("--help")
    assert done.returncode == 0
    for name in main.COMMANDS:
        assert f"\n  {name} " in done.stdout
    for code, meaning in exitcodes.MEANINGS.items():
        assert f"{code:>3}  {meaning}" in done.stdout
    assert hpctune().stdout == done.stdout


def test_version() -> None:
    assert hpctune("--version").stdout == f"hpctune {VERSION}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rerun", "x", "--best", "3"], "There is no command 'rerun'. Did you mean: hpctune confirm"),
        (["stauts"], "There is no command 'stauts'. Did you mean: hpctune status"),
        (["xyzzy"], "There are: run, init, convert, sweep, status, top"),
        (["status", "--jsn"], "--json"),
        (["status", "/nowhere/at/all"], "There is no directory /nowhere/at/all"),
        (["status", "--watch", "soon"], "'soon' is not a valid float"),
        (["best", "--scope", "worst", "x"], "'worst' is not one of"),
        (["--frobnicate"], "No such option"),
        (["html", "mnist", "--on", "cluster"], "html has no --on. Bring the experiment here: hpctune fetch NAME --on"),
    ],
)
def test_bad_usage_is_one_message_and_code_2(arguments: list[str], words: str) -> None:
    done = hpctune(*arguments)
    assert done.returncode == exitcodes.USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("hpctune: error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "my script.py").touch()
    done = hpctune("run", tmp_path / "my script.py", "--smoke-test", "--cluster", "local")
    assert done.returncode == exitcodes.USAGE
    assert f"itself come after --: hpctune run '{tmp_path}/my script.py' -- --smoke-test" in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = hpctune("status", "/nowhere", HPCTUNE_DEBUG="1")
    assert "Traceback" in done.stderr
    assert "NotAnExperimentError" in done.stderr


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "experiment.json").write_text("{")
    done = hpctune("status", tmp_path / "bad")
    assert done.returncode == exitcodes.FAILED
    assert f"Cannot read {tmp_path}/bad/experiment.json" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    demo(tmp_path / "mnist")
    shell = f"{BIN} status {tmp_path}/mnist | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", exitcodes.BROKEN_PIPE)


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    demo(tmp_path / "mnist")
    process = subprocess.Popen(
        [str(BIN), "status", str(tmp_path / "mnist"), "--watch", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (exitcodes.INTERRUPTED, b"")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("2h30m", 9000.0),
        ("2h 30min", 9000.0),
        ("1d12h", 129600.0),
        ("45s", 45.0),
        ("10:00", 600.0),
        ("1:30:00", 5400.0),
        ("1-12", 129600.0),
        ("1-12:30", 131400.0),
        ("1-12:00:30", 129630.0),
    ],
)
def test_durations(written: str, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize("written", ["", "soon", "-5", "0", "nan", "inf", "2h30", "1:2:3:4", "h"])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError):
        seconds(written)
