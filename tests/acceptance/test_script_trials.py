"""What a user's script does in its trials works there as it does where the script is run: in jobs, in the jobs of
workers that stay, and in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ANYWHERE = pytest.mark.parametrize("where", ["local", "workers", "debug"])
OPTIONS = {"local": 'cluster="local"', "workers": 'cluster="local", workers=1', "debug": 'cluster="debug"'}


class Place:
    """A directory with a user's script."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def python(self, *command: str, code: int = 0, stdin: str | None = None, **env: str) -> str:
        """What ``python COMMAND`` says."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HPCTUNE_", "TUNE_", "SLURM_"))}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.directory,
            env={**clean, "TUNE_RESULT_DIR": str(self.directory / "results"), **env},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def rows(self) -> list[dict[str, Any]]:
        """The last result of each trial that has one, in the order of the trials."""
        files = sorted(self.directory.glob("results/*/*/result.json"))
        return [json.loads(text.splitlines()[-1]) for text in (file.read_text() for file in files) if text]

    def errors(self) -> str:
        return "".join(file.read_text() for file in sorted(self.directory.glob("results/*/*/error.txt")))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


PROCESSES = """
import multiprocessing, os, signal, time
import hpctune as tune


def train(config):
    codes = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        child = multiprocessing.Process(target=time.sleep, args=(60,))
        child.start()
        os.kill(child.pid, number)
        child.join()
        codes.append(-child.exitcode)
    for _ in range(4):
        with multiprocessing.Pool(2) as pool:
            total = sum(pool.map(abs, [-1, 2, -3]))
    return {"codes": codes, "total": total}


multiprocessing.set_start_method("fork", force=True)
tune.run(train, config={"x": tune.grid_search([1, 2])}, name="exp", verbose=0, OPTIONS)
"""


EVERYTHING = """from __future__ import annotations

import enum, functools, inspect, multiprocessing, pickle, sys, typing
from dataclasses import dataclass
from pathlib import Path

import hpctune as tune
import helper


class Act(enum.Enum):
    RELU = 1
    TANH = 2


@dataclass
class Inner:
    n: int


@dataclass
class Outer:
    inner: Inner
    where: Path
    act: typing.Optional[Act] = None


class Net:
    pass


@functools.lru_cache
def cached(n):
    return 2 * n


def square(x):
    return x * x


def only_by_name():
    return FOUND


FOUND = "found"
EPOCHS = 0
COUNT = 0
open_file = open(__file__)  # cannot travel, and is not needed


def never_called():
    return open_file.read()


def train(config):
    global COUNT
    COUNT += 1
    import __main__, joblib, later

    assert type(pickle.loads(pickle.dumps(Net()))) is Net
    assert pickle.loads(pickle.dumps(Act.RELU)) is Act.RELU and config["act"] is Act.TANH
    assert typing.get_type_hints(Outer) == {"inner": Inner, "where": Path, "act": typing.Optional[Act]}
    assert inspect.getsource(Net).startswith("class Net:") and inspect.getsource(square).startswith("def square(")
    assert __main__.COUNT == COUNT and __main__.train is train and __main__.__file__ == __file__
    assert globals()["only_by_name"]() == "found" and cached(2) == 4
    for method in METHODS:
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, [1, 2]) == [1, 4], method
            assert type(pool.apply(Net)) is Net, method
        child = context.Process(target=square, args=(1,))
        child.start()
        child.join()
        assert child.exitcode == 0
    joblib.dump(Net(), config["net"])
    file = train.__code__.co_filename
    return {"epochs": EPOCHS, "argv": sys.argv[1:], "beside": [later.WORD, helper.WORD], "file": file}


METHODS = ["fork", "spawn", "forkserver"]
if __name__ == "__main__":
    EPOCHS = 5
    assert sys.argv[1:] in (["--flag", "v"], ["load"])
    if sys.argv[1] == "load":
        import joblib

        print("loaded", type(joblib.load("net")) is Net)
    else:
        tune.run(train, config={"x": tune.grid_search([1, 2]), "act": Act.TANH, "net": str(Path("net").absolute())},
                 name="exp", verbose=0, OPTIONS)
"""


@ANYWHERE
def test_the_script_is_main_in_a_trial(place: Place, where: str) -> None:
    script = place.write("script.py", EVERYTHING.replace("OPTIONS", OPTIONS[where]))
    place.write("helper.py", "WORD = 'helper'\n")
    place.write("later.py", "WORD = 'later'\n")
    place.python("script.py", "--flag", "v")
    wanted = {"epochs": 5, "argv": ["--flag", "v"], "beside": ["later", "helper"], "file": str(script)}
    assert [{key: row[key] for key in wanted} for row in place.rows()] == [wanted] * 2
    assert place.python("script.py", "load") == "loaded True\n"


SMALL = """
import multiprocessing
import hpctune as tune


class Net:
    pass


def square(x):
    return x * x


def train(config):
    import pickle
    assert type(pickle.loads(pickle.dumps(Net()))) is Net
    found = []
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(square, [3])
    return {"found": found}


tune.run(train, name="exp", verbose=0, cluster="local")
"""


@pytest.mark.parametrize("how", ["unguarded script", "-m", "hpctune run", "no file"])
def test_however_it_is_started(place: Place, how: str) -> None:
    place.write("pkg/__init__.py", "")
    place.write("pkg/beside.py", "WORD = 1\n")
    place.write("pkg/mod.py", SMALL.replace("    import pickle", "    import pickle\n    from .beside import WORD"))
    place.write("script.py", SMALL)
    if how == "unguarded script":
        place.python("script.py")
    elif how == "-m":
        place.python("-m", "pkg.mod")
    elif how == "hpctune run":
        place.python("-c", "from hpctune.cli.main import main; main()", "run", "script.py")
    else:
        place.python("-", stdin=SMALL)
    assert [row["found"] for row in place.rows()] == [[9, 9]]


def test_a_job_runs_what_was_submitted(place: Place) -> None:
    """The script, a module beside it, and one that the trial imports itself change between submission and start."""
    script = """
import inspect
from pathlib import Path
import hpctune as tune
import helper


def train(config):
    import later

    if config["fail"]:
        helper.fail()
    return {"words": [helper.WORD, later.WORD], "source": inspect.getsource(train).splitlines()[1]}


def change():
    for name in ("script.py", "helper.py", "later.py"):
        Path(name).write_text("# changed\\n" * 40 + "WORD = 'new'\\n")


def submit():
    from hpctune.launch import store
    create = store.create

    def and_change(prepared):
        created = create(prepared)
        change()
        return created

    store.create = and_change
    tune.run(train, config={"fail": tune.grid_search([False, True])}, name="exp", verbose=0, cluster="local",
             raise_on_failed_trial=False)


if __name__ == "__main__":
    submit()
"""
    path = place.write("script.py", script)
    place.write("helper.py", "WORD = 'old'\n\n\ndef fail():\n    raise ValueError(WORD)  # here\n")
    place.write("later.py", "WORD = 'old'\n")
    place.python("script.py")
    assert path.read_text().endswith("WORD = 'new'\n"), "it was changed before any job began"
    assert place.rows()[0]["words"] == ["old", "old"]
    assert place.rows()[0]["source"] == "    import later"
    line = script[: script.index("        helper.fail()")].count("\n") + 1
    assert f'File "{path}", line {line}, in train\n    helper.fail()\n' in place.errors()
    assert "in fail\n    raise ValueError(WORD)  # here\n" in place.errors()
    assert "ValueError: old" in place.errors()


def test_what_a_parser_in_the_trial_refuses_is_said(place: Place) -> None:
    script = """
import argparse
import hpctune as tune


def train(config):
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=config["required"])
    parser.add_argument("--n", type=int)
    return {"n": parser.parse_args().n}


tune.run(train, config={"required": tune.grid_search([False, True])}, name="exp", verbose=0, cluster="local",
         raise_on_failed_trial=False)
"""
    place.write("script.py", script)
    place.python("script.py", "--n", "3")
    assert [row["n"] for row in place.rows()] == [3]
    assert "The command line ['--n', '3'] was refused: the following arguments are required: --data" in place.errors()


@ANYWHERE
def test_the_children_of_a_trial_can_be_ended(place: Place, where: str) -> None:
    place.write("script.py", PROCESSES.replace("OPTIONS", OPTIONS[where]))
    place.python("script.py")
    assert [(row["codes"], row["total"]) for row in place.rows()] == [([15, 12], 6)] * 2
