"""``hpctune run``: its options, and every kind of config file that cannot be run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpctune.cli import exitcodes, report, run, runoptions
from hpctune.cli.main import cli
from hpctune.launch.overrides import Overrides
from tests.support.cli_support import hpctune


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config.py"


def refused(*arguments: object) -> str:
    """The message with which the program refuses its input."""
    done = hpctune("run", *arguments)
    assert done.returncode == exitcodes.USAGE, done
    assert done.stderr.startswith("hpctune: error: ")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("hpctune: error: ").rstrip("\n")


def test_no_config() -> None:
    assert refused().startswith("No config file was named. Usage: hpctune run CONFIG.py")


def test_no_such_file(config: Path) -> None:
    config.write_text("")
    assert refused("confg.py") == "There is no file confg.py. Here is config.py."
    assert refused("/nowhere/x.py") == "There is no file /nowhere/x.py."


def test_not_python(config: Path) -> None:
    text = config.with_suffix(".txt")
    text.write_text("a: 1")
    assert "is no file that hpctune run knows: Python (.py), a declared search (.yaml" in refused(text)
    notebook = config.with_suffix(".ipynb")
    notebook.write_text("{}")
    assert f"jupyter nbconvert --to script {notebook} && hpctune run {config}" in refused(notebook)
    config.write_text("")
    assert "is for batch scripts and .yaml files" in refused(config.name, "--param", "lr=1")
    assert "is a directory. Name a Python file in it." in refused(config.parent)
    config.write_bytes(b"x = 1\0")
    assert refused(config.name).startswith("config.py is not Python text: ")


def test_syntax_error_shows_the_place(config: Path) -> None:
    config.write_text("import os\n\nif os:\n    def train(config:\n        return 1\n")
    message = refused(config)
    assert message == f"{config}, line 4: '(' was never closed\n    def train(config:\n             ^"


def test_syntax_error_after_tabs_and_wide(config: Path) -> None:
    config.write_text("if 1:\n\t\tx = 1 +* 2\n")
    assert refused(config).splitlines()[1:] == ["    x = 1 +* 2", "           ^"]


def test_syntax_error_in_what_it_imports(config: Path) -> None:
    config.write_text("import helper\n")
    (config.parent / "helper.py").write_text("x = = 1\n")
    assert refused(config) == f"{config.parent}/helper.py, line 1: invalid syntax\n    x = = 1\n        ^"


def test_exception_shows_only_the_users_frames(config: Path) -> None:
    config.write_text("import helper\nimport hpctune\n")
    (config.parent / "helper.py").write_text("import json\n\n\ndef f():\n    json.loads('{')\n\n\nf()\n")
    lines = refused(config).splitlines()
    assert lines[0].startswith(f"{config} failed: JSONDecodeError: Expecting property name")
    assert lines[1:] == [
        f"  {config}, line 1, in <module>",
        "    import helper",
        f"  {config.parent}/helper.py, line 8, in <module>",
        "    f()",
        f"  {config.parent}/helper.py, line 5, in f",
        "    json.loads('{')",
        "For the full traceback add: -v 3",
    ]


def test_exception_in_full_when_asked_for(config: Path) -> None:
    config.write_text("import no_such_package\nimport hpctune\n")
    done = hpctune("run", config, "-v", "3")
    assert done.returncode == exitcodes.USAGE
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert f"hpctune: error: {config} failed: ModuleNotFoundError: No module named 'no_such_package'" in done.stderr


def test_nothing_to_run_lists_what_there_is(config: Path) -> None:
    config.write_text(
        "import os\nfrom math import pi\n\nSPACE = {}\n_hidden = 1\n\n\ndef train(config):\n    import hpctune\n"
    )
    message = refused(config)
    assert "defines nothing to run. Looked for: 'tuner' (an hpctune.Tuner), 'experiment'" in message
    assert message.endswith("Its top-level names are: pi, SPACE, train.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tuner = 3", "'tuner' must be an hpctune.Tuner, not an int."),
        ("import hpctune\ntuner = hpctune.Tuner", "not the class Tuner."),
        ("experiment = [1]", "'experiment' must be an hpctune.Experiment or a dict, not a list."),
        ("tuner = experiment = 1", "defines both"),
    ],
)
def test_something_else_under_the_name(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    assert words in refused(config)


def test_the_script_says_its_own_exit_code(config: Path) -> None:
    config.write_text("import sys\nprint(sys.argv[1:], __name__, sys.path[0])\nsys.exit(7)\nimport hpctune\n")
    done = hpctune("run", config, "--", "--data", "/d")
    assert (done.returncode, done.stdout) == (7, f"['--data', '/d'] __main__ {config.parent}\n")
    config.write_text("raise SystemExit('no data')\nimport hpctune\n")
    done = hpctune("run", config)
    assert (done.returncode, done.stderr) == (1, "no data\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], "--bogus"),
        (["--cluster", "pbs"], "'pbs' is not one of"),
        (["--time-budget", "soon"], "Give seconds (90), 2h30m, or D-HH:MM:SS"),
        (["--max-checkpoints", "0"], "0 is not in the range"),
        (["--max-checkpoint-bytes", "lots"], "'lots' is not a size. Give bytes, 500GB or 1.5TiB."),
        (["--set", "lr"], "'lr' is not KEY=VALUE"),
        (["--mem", "lots"], "mem='lots' is not an amount of memory"),
        (["-t", "later"], "time='later' is not a time limit"),
        (["--resume", "MAYBE"], "resume='MAYBE' is not a valid value"),
        (["--num-samples", "0"], "--num-samples must be 1 or more"),
        (["--nodes", "0"], "0 is not in the range"),
        (["-v", "7"], "7 is not in the range"),
        (["--sbatch-arg", "output=x"], "hpctune sets it"),
        (["--gres", "gpu:1\nx"], "must be one line of text"),
    ],
)
def test_bad_options(config: Path, arguments: list[str], words: str) -> None:
    config.write_text("raise SystemExit('the file must not be run')")
    assert words in refused(config, *arguments)


@pytest.fixture
def said(config: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Overrides and script arguments for a command line."""
    config.write_text("import hpctune")
    calls: list[tuple[Overrides, tuple[str, ...]]] = []

    def stand_in(path: Path, code: object, arguments: tuple[str, ...], wanted: Overrides, **_: object) -> int:
        assert path.name == "config.py"
        calls.append((wanted, arguments))
        return 0

    monkeypatch.setattr(run, "_run", stand_in)

    def call(*arguments: str) -> tuple[Overrides, tuple[str, ...]]:
        result = CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return calls.pop()

    return call


def test_without_options_everything_is_as_the_file_says(said: Any) -> None:
    assert said("config.py") == (Overrides(), ())


def test_every_option_reaches_the_facade(said: Any) -> None:
    overrides, arguments = said(
        *shlex.split(
            "config.py --cluster slurm --name n --storage-path /s --num-samples 9 --max-concurrent 3 "
            "--time-budget 2h30m --resume AUTO --dry-run --set lr=0.1 --set model.layers=[1,2] --set opt=adam "
            "--max-checkpoints 40 --max-checkpoint-bytes 1.5TB "
            "--cancel-on-exit --calls-per-minute 30 -v 1 -- --data /d"
        )
    )
    assert overrides == Overrides(
        cluster="slurm",
        name="n",
        storage_path="/s",
        num_samples=9,
        max_concurrent=3,
        time_budget_s=9000.0,
        resume="AUTO",
        dry_run=True,
        config={"lr": 0.1, "model.layers": [1, 2], "opt": "adam"},
        cancel_on_exit=True,
        calls_per_minute=30,
        max_checkpoints=40,
        max_checkpoint_bytes=1_500_000_000_000,
        verbose=1,
    )
    assert arguments == ("--data", "/d")


def test_every_slurm_option_reaches_slurm(said: Any) -> None:
    overrides, _ = said(
        *shlex.split(
            "config.py -p gpu -A proj --qos high --constraint a100|h100 -t 1-00:00:00 --mem 16G --gres gpu:2 "
            "--gpu-type a100 --nodes 2 --ntasks-per-node 4 --cpus-per-task 8 --exclude n1 --nodelist n2,n3 "
            "--mail-type FAIL --mail-user me@x --comment hello --module cuda --module gcc --srun-arg --mpi=pmix "
            "--sbatch-arg switches=1 --sbatch-arg hold"
        ),
        *["--setup", "source env.sh", "--setup", "ulimit -n 4096", "--container", "apptainer exec image.sif"],
    )
    assert overrides.slurm == {
        "partition": "gpu",
        "account": "proj",
        "qos": "high",
        "constraint": "a100|h100",
        "time": "1-00:00:00",
        "mem": "16G",
        "gres": "gpu:2",
        "gpu_type": "a100",
        "nodes": 2,
        "ntasks_per_node": 4,
        "cpus_per_task": 8,
        "exclude": "n1",
        "nodelist": "n2,n3",
        "mail_type": "FAIL",
        "mail_user": "me@x",
        "comment": "hello",
        "container": "apptainer exec image.sif",
        "setup": ["source env.sh", "ulimit -n 4096"],
        "modules": ["cuda", "gcc"],
        "srun_args": ["--mpi=pmix"],
        "additional_parameters": {"switches": "1", "hold": True},
    }
    assert runoptions.flags_of(list(overrides.slurm))[0] == "--partition"


def test_resume_takes_a_mode_or_none(said: Any) -> None:
    assert said("config.py", "--resume")[0].resume == "LOCAL"
    assert said("config.py", "--resume", "AUTO+ERRORED")[0].resume == "AUTO+ERRORED"
    assert said("config.py", "--resume", "--dry-run")[0].resume == "LOCAL"
    overrides, arguments = said("--resume", "config.py", "--", "a")
    assert (overrides.resume, arguments) == ("LOCAL", ("a",))


def test_slurm_options_elsewhere_are_remarked_upon(config: Path) -> None:
    config.write_text("raise SystemExit(0)\nimport hpctune")
    done = hpctune("run", config, "--cluster", "local", "-p", "gpu", "-t", "5")
    assert done.stderr == "No effect on the cluster 'local': --partition, --time.\n"


def test_report_nests_and_reads_values() -> None:
    assert report.nested(["loss=1e-3", "n=3", "eval/acc=0.5", "eval/f1=1", "note=a=b", "tags=[1,2]", "ok=True"]) == {
        "loss": 0.001,
        "n": 3,
        "eval": {"acc": 0.5, "f1": 1},
        "note": "a=b",
        "tags": [1, 2],
        "ok": True,
    }


@pytest.mark.parametrize("written", ["nan", "NaN", "-nan"])
def test_report_knows_nan(written: str) -> None:
    value = report.value_of(written)
    assert value != value


@pytest.mark.parametrize(("written", "expected"), [("inf", float("inf")), ("1_000", "1_000"), ("x y", "x y"), ("", "")])
def test_report_values(written: str, expected: object) -> None:
    assert report.value_of(written) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["loss"], "'loss' is not KEY=VALUE"),
        (["=1"], "'=1' is not KEY=VALUE"),
        (["a//b=1"], "is not KEY=VALUE"),
        (["a=1", "a/b=2"], "a/b cannot be nested below a"),
        (["a/b=1", "a=2"], "a is given twice"),
        ([], "Missing argument"),
    ],
)
def test_report_refuses(arguments: list[str], words: str) -> None:
    done = hpctune("report", *arguments)
    assert (done.returncode, done.stdout) == (exitcodes.USAGE, "")
    assert words in done.stderr


@pytest.mark.parametrize(("typed", "limit"), [("0", 0), ("2kB", 2000), (None, None)])
def test_no_file_of_the_project_may_travel(typed: str | None, limit: int | None) -> None:
    words = ["search.py"] if typed is None else ["search.py", "--code-limit", typed]
    assert run.command.make_context("run", words).params["code_limit"] == limit
