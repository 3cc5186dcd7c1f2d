"""What a command's relative names mean: the files beside the user, while the program runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.worker.command_files import missing_script, name_of, with_paths


@pytest.fixture
def start(tmp_path: Path) -> str:
    for name in ("train.py", "run.sh", "prog", "conf/a.yaml", "data.csv", "with blank.py"):
        path = tmp_path / "start" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return str(tmp_path / "start")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py --lr {lr}", "python @/train.py --lr {lr}"),
        ("A=1 python -u ./train.py", "A=1 python -u @/train.py"),
        ("python train.py -c conf/a.yaml --c=conf/a.yaml", "python @/train.py -c @/conf/a.yaml --c=@/conf/a.yaml"),
        ("python train.py|tee log; bash run.sh", "python @/train.py|tee log; bash @/run.sh"),
        ("./prog {x} && ./prog 2", "@/prog {x} && @/prog 2"),
        ("srun -n 2 python train.py", "srun -n 2 python @/train.py"),
        # not a file that is only read
        ("python train.py data.csv", "python @/train.py data.csv"),
        ("prog {x}", "prog {x}"),
        ("echo {x} > conf/a.yaml", "echo {x} > conf/a.yaml"),
        # nothing is known of these
        ("cd src && python train.py", "cd src && python train.py"),
        ("python nope.py", "python nope.py"),
        ("python {script}.py", "python {script}.py"),
        ("python -c 'print(\"train.py\")'", "python -c 'print(\"train.py\")'"),
        (["python", "train.py", "--c=conf/a.yaml", "d.csv"], ["python", "@/train.py", "--c=@/conf/a.yaml", "d.csv"]),
        (["python", "with blank.py"], ["python", "@/with blank.py"]),
    ],
)  # fmt: skip
def test_what_is_found(start: str, command: str | list[str], expected: str | list[str]) -> None:
    def placed(text: str) -> str:
        return text.replace("@", start)

    assert with_paths(command, start) == (placed(expected) if isinstance(expected, str) else [*map(placed, expected)])


def test_a_directory_with_braces_and_blanks_is_one_word_for_the_shell_and_no_field(tmp_path: Path) -> None:
    start = tmp_path / "my {x} dir"
    start.mkdir()
    (start / "train.py").write_text("")
    doubled = str(start / "train.py").replace("{", "{{").replace("}", "}}")
    assert with_paths("python train.py", str(start)) == f"python '{doubled}'"
    assert with_paths(["python", "train.py"], str(start)) == ["python", doubled]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python train.py --lr {lr}", "train"), ("python -m pkg.fit", "fit"), ("bash -x run.sh", "run"),
        ("./prog", "prog"), ("python -c 'x'", "python"), ("A=1 prog", "prog"), ("{x}", "command"),
        (["/usr/bin/env", "python", "a/b-c.py"], "b_c"),
        ("srun python train.py|tee log", "train"), ("torchrun --n=2 train.py", "train"), ("echo 'unclosed", "echo"),
    ],
)  # fmt: skip
def test_a_command_is_called_as_its_script(command: str | list[str], name: str) -> None:
    assert name_of(command) == name


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("python nope.py", "nope.py"), (["python", "sub/nope.py"], "sub/nope.py"), ("python train.py", None),
        ("make nope.py && python nope.py", None), ("cd x && python nope.py", None), ("python /opt/nope.py", None),
        ("python -m nope", None), ("nope", None), ("python {nope}.py", None),
    ],
)  # fmt: skip
def test_a_script_that_is_not_there(start: str, command: str | list[str], missing: str | None) -> None:
    assert missing_script(command, start) == missing
