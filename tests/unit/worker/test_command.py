"""Programs as trainables: what they are given, what they print, and how they end."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.errors import TrainableError
from hpctune.model.records import Outcome
from hpctune.storage import bundle
from hpctune.storage.kept_project import KeptProject
from hpctune.worker import program, resources_of, session
from hpctune.worker.main import run_attempt
from tests.support.worker_lab import Lab

HOSTILE = [
    "two words", "", "'", '"', "a'b\"c", "$(touch pwned)", "`touch pwned`", "; touch pwned #", "'; touch pwned; '",
    '"; touch pwned; "', "$HOME", "\\", "a\nb", "*", "-rf", "$(touch pwned)'\"", "&& touch pwned", "{x}", "é", "~",
]  # fmt: skip
PRINT = f"{sys.executable} -c 'import json,sys; print(\"hpctune:\", json.dumps(dict(got=sys.argv[1:])))'"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SILENCE_S", 0.2)
    monkeypatch.setattr(program, "KILL_AFTER_S", 0.2)
    monkeypatch.setattr(session, "LOOK_S", 0.05)


def _word(tmp_path: Path, template: str, value: str) -> bytes:
    """What a program gets where the template has its field, by way of a real shell."""
    got, script = tmp_path / "got", tmp_path / "show"
    script.write_text(
        f"#!{sys.executable} -S\nimport os,sys\nopen({str(got)!r},'wb').write(os.fsencode(sys.argv[1]))\n"
    )
    script.chmod(0o700)
    arguments, variables = hpctune.Command(f"cd {tmp_path}; {template}").arguments({"x": value})
    pid = os.spawnve(os.P_NOWAIT, arguments[0], arguments, {**os.environ, **variables})
    os.waitpid(pid, 0)
    return got.read_bytes()


@pytest.mark.parametrize("template", ["./show {x}", './show "{x}"', "./show '{x}'"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_word_wherever_it_stands(tmp_path: Path, template: str, value: str) -> None:
    assert _word(tmp_path, template, value) == os.fsencode(value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "template",
    [
        "./show \"$(printf %s '{x}')\"", './show "$(printf %s {x})"', "./show \"it's {x}\"", "# don't\n./show {x}",
        "./show $(echo '{x}')x", 'if true; then ./show a"{x}"b; fi',
    ],
)  # fmt: skip
def test_no_value_is_ever_taken_for_a_command(tmp_path: Path, template: str, value: str) -> None:
    _word(tmp_path, template, value)
    assert not (tmp_path / "pwned").exists()


def test_a_group_of_parameters_is_json(lab: Lab) -> None:
    lab.run(hpctune.Command(PRINT + " {model} {model/depth} {lr:.1e} {lr!r}"), {"model": {"depth": 3}, "lr": 0.1})
    assert lab.column("got") == [['{"depth":3}', "3", "1.0e-01", "0.1"]]


@pytest.mark.parametrize("x", [["a b", "$(touch pwned)"], "['a b', '$(touch pwned)']"])
@pytest.mark.parametrize(
    ("form", "got"),
    [
        ("words", ["a b", "$(touch pwned)"]),
        ("each --x", ["--x", "a b", "--x", "$(touch pwned)"]),
        ("commas", ["a b,$(touch pwned)"]),
        ("spaces", ["a b $(touch pwned)"]),
    ],
)
def test_the_words_of_a_list(lab: Lab, x: Any, form: str, got: list[str]) -> None:
    field = "{x:" + form + "}"
    lab.run(hpctune.Command(f"{PRINT} {field} end"), {"x": x})
    assert lab.column("got") == [[*got, "end"]]
    assert hpctune.Command(["p", field, "end"]).arguments({"x": x})[0] == ["p", *got, "end"]
    assert not list(lab.paths.root.rglob("pwned"))


def test_a_value_alone_is_a_list_of_one() -> None:
    words = ["p", "{x:words}", "{x:each -x}", "-y={x:words}"]
    assert hpctune.Command(words).arguments({"x": 3})[0] == ["p", "3", "-x", "3", "-y=3"]
    assert hpctune.Command(words[:2]).arguments({"x": []})[0] == ["p"]


def test_what_no_program_can_get_is_refused() -> None:
    with pytest.raises(TrainableError, match="null character"):
        hpctune.Command("p {x}").arguments({"x": "a\0b"})


def test_a_very_long_value_is_in_the_file_only(lab: Lab) -> None:
    show = (
        "import json,os; print('hpctune:', json.dumps({'file': len(json.load(open(os.environ['HPCTUNE_CONFIG']))['x']),"
        " 'variable': 'HPCTUNE_PARAM_X' in os.environ, 'short': os.environ['HPCTUNE_PARAM_LR']}))"
    )
    lab.run(
        hpctune.Command([sys.executable, "-c", show.replace("{", "{{").replace("}", "}}")]),
        {"x": "y" * 300_000, "lr": 1},
    )
    assert (lab.column("file"), lab.column("variable"), lab.column("short")) == ([300_000], [False], ["1"])


def test_variables_need_not_be_text(lab: Lab) -> None:
    lab.run(hpctune.Command("echo hpctune: threads=$THREADS", env={"THREADS": 4}))  # type: ignore[dict-item]
    assert lab.column("threads") == [4]


@pytest.mark.parametrize(
    ("command", "parse"),
    [
        ("echo epoch 1; echo 'hpctune: loss=0.5' >&2", None),
        ("echo 'INFO train: val_loss: 0.5' >&2; echo done", r"val_loss: (?P<loss>[0-9.]+)"),
        ("printf '10%%|loss=0.9\\r20%%|loss=0.5\\r' >&2", r"20%\|loss=(?P<loss>[0-9.]+)"),
        ("echo 'loss 0.5' >&2; exit 0", lambda line: {"loss": float(line.split()[1])} if "loss" in line else None),
    ],
    ids=["our line", "logging", "a progress bar", "a function"],
)
def test_results_are_read_from_stderr_as_well(lab: Lab, command: str, parse: Any) -> None:
    lab.run(hpctune.Command(command, parse=parse))
    assert lab.column("loss") == [0.5]


def test_the_last_words_are_those_of_stderr_results_or_not(lab: Lab) -> None:
    end = lab.run(hpctune.Command("echo 'hpctune: loss=1' >&2; echo 'no more memory' >&2; exit 3"))
    assert lab.column("loss") == [1]
    assert end.error is not None
    assert "no more memory" in end.error.message


@pytest.mark.parametrize("command", [["/no/such/program"], "true"])
def test_a_command_that_cannot_start_says_why(lab: Lab, command: Any) -> None:
    end = lab.run(hpctune.Command(command, cwd=None if command != "true" else "/no/such/directory"))
    assert end.error is not None
    assert (end.error.kind, "cannot be started" in end.error.message) == ("TrainableError", True)


def test_output_without_line_ends_is_passed_on_and_takes_no_memory(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    write = "import sys; [sys.stdout.write('x' * 65536) for _ in range(160)]; print('\\nhpctune: loss=1')"
    lab.run(hpctune.Command([sys.executable, "-c", write]))
    assert lab.column("loss") == [1]
    assert capfd.readouterr().out.count("x") >= 160 * 65536


def test_a_line_that_is_too_long_is_no_result(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MAX_LINE", 1000)
    write = "print('hpctune: loss=1', 'x' * 200_000, 'hpctune: loss=2'); print('hpctune: loss=3')"
    lab.run(hpctune.Command([sys.executable, "-c", write]))
    assert lab.column("loss") == [3]


def test_progress_bars_do_not_hide_results(lab: Lab) -> None:
    lab.run(hpctune.Command("printf '50%%\\r100%%\\rhpctune: a=1\\r\\nhpctune: a=2'"))
    assert lab.column("a") == [1, 2]


def test_output_that_is_no_text_is_no_error(lab: Lab) -> None:
    end = lab.run(hpctune.Command("printf '\\377\\376\\nhpctune: a=1\\n'"))
    assert (end.outcome, lab.column("a")) == (Outcome.COMPLETED, [1])


def test_a_closed_stdout_does_not_stop_the_program(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    write = "print('x' * 300_000); print('hpctune: a=1')"
    assert lab.run(hpctune.Command([sys.executable, "-c", write])).outcome is Outcome.COMPLETED
    assert lab.column("a") == [1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "echo 'train.py:12: loss: 0.5, val/acc=0.9'; echo '{{\"f1\": 1, \"name\": 2.5}}'",
            "values of loss, val/acc, f1, name",
        ),
        ("echo done", "its output has no values such as 'name=0.9'"),
        ("true", "it printed nothing"),
    ],
)
def test_what_was_printed_instead_of_results_is_told(lab: Lab, tmp_path: Path, command: str, said: str) -> None:
    end = lab.run(hpctune.Command(command))
    assert end.outcome is Outcome.COMPLETED
    assert end.reason.startswith("the program reported nothing; ")
    assert end.reason.endswith(said)
    reported = Lab(tmp_path / "another").run(hpctune.Command(f"{command}; echo hpctune: a=1"))
    assert reported.reason == "the trainable returned"


def test_a_parser_must_give_a_dict(lab: Lab, quick: None) -> None:
    end = lab.run(hpctune.Command("echo 5; sleep 100", parse=lambda line: float(line)))  # type: ignore[arg-type, return-value]
    assert end.error is not None
    assert "parse must return a dict of results or None, not 5.0" in end.error.message


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("detached", ["", "setsid "])
def test_what_is_left_in_the_background_is_not_waited_for(lab: Lab, detached: str) -> None:
    began = time.monotonic()
    end = lab.run(hpctune.Command(f"{detached}sleep 30 & echo hpctune: a=1 child=$!"))
    assert (end.outcome, lab.column("a")) == (Outcome.COMPLETED, [1])
    assert time.monotonic() - began < 10
    if detached:
        os.kill(lab.column("child")[0], signal.SIGKILL)
    else:
        _await_end(lab.column("child")[0])


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while _lives(pid):
        assert time.monotonic() < deadline, f"{pid} lives"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("quick")
def test_results_that_wait_at_a_milestone_are_not_lost(lab: Lab) -> None:
    """The program is over long before its second line is taken in."""
    lab.run(hpctune.Command("echo hpctune: a=1; echo hpctune: a=2"), milestone=1.0, decision_timeout_s=1.0)
    assert lab.column("a") == [1, 2]


@pytest.mark.usefixtures("quick")
def test_an_order_ends_a_silent_program(lab: Lab) -> None:
    end = lab.run(hpctune.Command("sleep 100"), stop="enough")
    assert (end.outcome, end.reason) == (Outcome.STOPPED, "enough")


@pytest.mark.usefixtures("quick")
def test_a_program_that_ignores_sigterm_is_killed(lab: Lab) -> None:
    began = time.monotonic()
    end = lab.run(hpctune.Command("trap '' TERM; echo hpctune: a=1; sleep 60; sleep 60"), criteria={"a": 1})
    assert end.outcome is Outcome.COMPLETED
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("code", "words"), [("exit 3", "exit code 3"), ("kill -9 $$", "SIGKILL")])
def test_a_bad_end_is_told(lab: Lab, code: str, words: str) -> None:
    end = lab.run(hpctune.Command(f"echo about to fail >&2; {code}"))
    assert end.error is not None
    assert words in end.error.message
    assert "about to fail" in end.error.message


def test_a_command_can_say_what_it_needs() -> None:
    command = hpctune.with_resources(hpctune.Command("run {x}"), {"cpu": 2})
    assert isinstance(command, hpctune.Command)
    assert resources_of(command) == {"cpu": 2}
    with pytest.raises(TrainableError, match="Command"):
        hpctune.with_parameters(hpctune.Command("run"), data=1)


def test_the_program_knows_its_trial(lab: Lab) -> None:
    lab.run(
        hpctune.Command('echo "hpctune: {{\\"a\\": \\"$HPCTUNE_TRIAL_ID $HPCTUNE_TRIAL_NAME $HPCTUNE_TRIAL_DIR\\"}}"')
    )
    assert lab.column("a") == [f"t_00000 name {lab.trial.root}"]
    assert json.loads(json.dumps(lab.column("a")))


@pytest.mark.parametrize("command", ["srun -n 2 {}", "sh -c 'exec srun --label {}'", "exec srun {}"])
def test_srun_runs_the_program_once_where_there_is_no_slurm(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **options: None if name == "srun" else found(name, **options))
    lab.run(hpctune.Command(command.format("echo hpctune: loss=2 x=3")), {"x": 3})
    assert (lab.column("loss"), lab.column("x")) == ([2], [3])


@pytest.mark.parametrize("job", ["1", None])
def test_where_there_is_slurm_srun_is_its_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: str | None
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\necho hpctune: loss=7\n")
    (tmp_path / "srun").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job is not None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    lab.run(hpctune.Command("srun true"))
    assert lab.column("loss") == [7]


def test_values_of_a_trial_name_files_of_the_copy(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program finds them in its arguments, in its variables and in its file, where its project is a copy."""
    (project := tmp_path / "project").mkdir()
    (project / "data.txt").write_text("1")
    given = f"{project}/data.txt"
    config = {"data": given, "more": [{"at": Path(given)}], "pair": (1, "a"), "other": "/mnt/data.txt"}
    code = (
        "import json, os, sys; file = json.load(open(os.environ['HPCTUNE_CONFIG'])); "
        "print('hpctune:', json.dumps({'file': [file['data'], file['more'][0]['at'], file['other']], "
        "'argument': sys.argv[1:], 'variable': os.environ['HPCTUNE_PARAM_DATA'], "
        "'submit': os.environ['SLURM_SUBMIT_DIR']}))"
    )
    command = hpctune.Command([sys.executable, "-c", code.replace("{", "{{").replace("}", "}}"), "{data}", "{pair}"])
    command = replace(command, start_dir=str(project))
    copy = lab.trial.root / "project"
    for is_copied, there in (("", project), ("1", copy)):
        attempt = 1 + bool(is_copied)
        lab.publish(command, config, attempt)
        bundle.save(lab.paths, command, None, KeptProject(str(project), "x", 0, {}))
        monkeypatch.setenv("HPCTUNE_PROJECT_IS_COPIED", is_copied)
        assert run_attempt(lab.paths.root, "trial", attempt) == 0
        path = f"{there}/data.txt"
        row = lab.results(attempt)[-1].row
        assert (row["file"], row["argument"]) == ([path, path, "/mnt/data.txt"], [path, "(1, 'a')"])
        assert (row["variable"], row["submit"]) == (path, str(there))
