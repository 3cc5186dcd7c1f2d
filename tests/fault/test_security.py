"""Private by default, shared when asked to; no pickles but one's own; names are data; secrets are written nowhere."""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpctune
from hpctune.checkpoint import SAVED_FILE
from hpctune.cli.main import cli
from hpctune.errors import StorageError, TuneError, UsageError
from hpctune.search import Searcher
from hpctune.storage import bundle, checkpoints, inbox, objects, permissions
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.storage.locks import Lock
from hpctune.worker import trainable as stepping
from tests.support.filesystem_support import needs
from tests.support.worker_lab import Lab

OWNER, COLLEAGUE, STRANGER, GROUP, NO_GROUP = 52_001, 52_002, 52_003, 53_001, 53_002

SCRIPT = """
import os, sys
from pathlib import Path
import numpy
import hpctune as tune

os.umask(int(sys.argv[1], 8))
data = list(range(10))


def train(config, data):
    for i in range(3):
        with tune.checkpoint_dir(i) as directory:
            Path(directory, "state").write_text("x")
        tune.report(loss=config["x"], i=i, key=len(os.environ.get("WANDB_API_KEY", "")))
    print("said")
    if config["x"] > 1:
        raise ValueError("too large")


tune.run(
    tune.with_parameters(train, data=data), name="exp", storage_path=sys.argv[2], metric="loss", mode="min", verbose=0,
    config={"x": tune.grid_search([0, 1, 2]), "array": numpy.arange(2)}, raise_on_failed_trial=False,
    cluster="local", share_with_group=sys.argv[3] == "shared",
)
print("finished")
"""


def search(directory: Path, umask: str, how: str, **env: str) -> Path:
    """Run a search under this umask; its directory."""
    script = directory / "search.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), umask, str(directory / "results"), how],
        cwd=directory,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.endswith("finished\n"), done.stdout + done.stderr
    return directory / "results" / "exp"


def modes(root: Path) -> dict[str, int]:
    """By path: the modes of all that is in an experiment, but what user code has written into its checkpoints."""
    found = {".": stat.S_IMODE(root.stat().st_mode)}
    for path in root.rglob("*"):
        if not path.parent.name.startswith("checkpoint_"):
            found[str(path.relative_to(root))] = stat.S_IMODE(path.stat().st_mode)
    return found


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_an_experiment_is_private_whatever_the_umask(tmp_path: Path, umask: str) -> None:
    root = search(tmp_path, umask, "private")
    found = modes(root)
    assert len(found) > 25
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_a_shared_experiment_can_be_read_by_the_group_and_written_by_nobody_else(tmp_path: Path, umask: str) -> None:
    root = search(tmp_path, umask, "shared")
    found = modes(root)
    code = {name for name in found if name.endswith(".pkl") or name.startswith(("objects/", "code/"))}
    assert len(code) >= 5
    assert {found[name] for name in code} == {permissions.PRIVATE_FILE}
    for name, mode in found.items():
        assert not mode & 0o027, (name, oct(mode))
        if (root / name).is_dir():
            assert mode == permissions.SHARED_DIRECTORY or name in ("objects", "code"), (name, oct(mode))
        elif name not in code and not name.endswith(".lock"):
            assert mode & stat.S_IRGRP, (name, oct(mode))
    assert all(path.stat().st_mode & stat.S_IRGRP for path in root.glob("*/checkpoint_*/*"))


def as_user(uid: int, gid: int, action: Callable[[], object]) -> str:
    """What ``action`` says to the pipe when another user does it; the words of its error where it fails."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            try:
                said = str(action())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared experiment of OWNER and GROUP, to which others can get."""
    needs(os.geteuid() == 0, "root, who can be anybody")
    place = tmp_path_factory.mktemp("team")
    root = search(place, "077", "shared")
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, OWNER, GROUP)
    for parent in (place, *place.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    return root


def ask(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    return f"{done.exit_code}\n{done.output}"


def test_colleagues_can_look_and_strangers_cannot(shared: Path) -> None:
    commands = [("status", str(shared)), ("list", str(shared)), ("best", str(shared))]
    assert [ask(*command)[0] for command in commands] == ["0"] * 3  # as root, who has imported all that it takes
    looks = [as_user(COLLEAGUE, GROUP, lambda c=command: ask(*c)) for command in commands]  # type: ignore[misc]
    assert [look[:2] for look in looks] == ["0\n"] * 3, looks
    assert "finished" in looks[0]
    assert "too large" in looks[0]
    assert looks[1].count("TERMINATED") == 2
    assert "loss" in looks[2]
    for command in commands:
        assert as_user(STRANGER, NO_GROUP, lambda c=command: ask(*c))[:1] not in ("", "0")  # type: ignore[misc]


def test_colleagues_change_nothing_and_load_no_code(shared: Path, tmp_path: Path) -> None:
    Lock(tmp_path / "lock").release()  # its modules are loaded here: colleagues may not be able to read this Python
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in shared.rglob("*")}
    paths = ExperimentPaths(shared)
    assert ask("status", str(shared))[0] == "0"
    for load in (bundle.load_driver_objects, bundle.load_trainable):
        assert "Permission denied" in as_user(COLLEAGUE, GROUP, lambda f=load: f(paths))  # type: ignore[misc]
    assert as_user(COLLEAGUE, GROUP, lambda: inbox.post(paths, "stop")).startswith("StorageError: Cannot write")
    assert as_user(COLLEAGUE, GROUP, lambda: (shared / "mine").touch()).startswith("PermissionError")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in shared.rglob("*")} == before


# -- pickles -----------------------------------------------------------------------------------------------------------


class Bomb:
    """Whoever loads its pickle leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


def sites(directory: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """By name: a file that is unpickled, and what unpickles it."""
    lab = Lab(directory)
    bomb = pickle.dumps(Bomb(directory / "exploded"))
    bundle.save(lab.paths, test_colleagues_can_look_and_strangers_cannot, None)
    header = Path(lab.paths.trainable).read_bytes().partition(b"\n")[0] + b"\n"
    Path(lab.paths.trainable).write_bytes(header + bomb)
    lab.paths.driver_bundle.write_bytes(header + bomb)
    noted, dictionary = directory / "class", directory / "dict"
    for path in (noted, dictionary):
        path.mkdir()
    (noted / SAVED_FILE).write_bytes(bomb)
    (dictionary / "dict_checkpoint.pkl").write_bytes(bomb)
    (directory / "searcher.pkl").write_bytes(bomb)
    lab.paths.objects.mkdir()
    (lab.paths.objects / "000.pkl").write_bytes(bomb)

    def load_object() -> object:
        objects.read_from(lab.paths.objects)
        return objects._Stored("000.pkl").load()

    class Silent(Searcher):
        def suggest(self, trial_id: str) -> Any:
            return None

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass

    searcher = directory / "searcher.pkl"
    return {
        "trainable": (Path(lab.paths.trainable), lambda: bundle.load_trainable(lab.paths)),
        "driver": (lab.paths.driver_bundle, lambda: bundle.load_driver_objects(lab.paths)),
        "parameter": (lab.paths.objects / "000.pkl", load_object),
        "class": (noted / SAVED_FILE, lambda: stepping.read_checkpoint(hpctune.Trainable, noted)),  # type: ignore[arg-type]
        "dict": (dictionary / "dict_checkpoint.pkl", lambda: hpctune.Checkpoint(dictionary).to_dict()),
        "searcher": (searcher, lambda: Silent(metric="m", mode="min").restore(searcher)),
    }


SITES = ["trainable", "driver", "parameter", "class", "dict", "searcher"]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("how", ["theirs", "group", "others"])
def test_no_pickle_is_loaded_that_others_may_have_written(tmp_path: Path, site: str, how: str) -> None:
    needs(os.geteuid() == 0, "root, who can be anybody")
    path, load = sites(tmp_path)[site]
    if how == "theirs":
        os.chown(path, OWNER, -1)
    else:
        path.chmod(0o620 if how == "group" else 0o602)
    with pytest.raises((StorageError, UsageError), match=r"run (their|that user.s) code"):
        load()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("site", SITES)
def test_ones_own_pickle_is_loaded(tmp_path: Path, site: str) -> None:
    """The other half: each of these does unpickle."""
    path, load = sites(tmp_path)[site]
    path.chmod(0o600)
    with contextlib.suppress(TuneError, TypeError, AttributeError):  # what it gets is no good
        load()
    assert (tmp_path / "exploded").exists()


def test_checkpoints_of_a_generous_umask_can_be_loaded_again(tmp_path: Path) -> None:
    """002 is the usual umask on many clusters; what we pickle is not writable for the group all the same."""
    before = os.umask(0o002)
    try:
        checkpoint = hpctune.Checkpoint.from_dict({"a": 1})
        trial = TrialPaths(tmp_path)
        staged = checkpoints.staging(trial)
        stepping._write_note(staged, {"data": {"b": 2}})
    finally:
        os.umask(before)
    assert checkpoint.to_dict() == {"a": 1}
    assert not (staged / SAVED_FILE).stat().st_mode & 0o022


# -- names and secrets -------------------------------------------------------------------------------------------------

HOSTILE = """
import hpctune as tune

NAMES = ["it's", '"quoted"', "$(touch CANARY)", "`touch CANARY`", "-rf", "a\\nb; touch CANARY", "ünï✓", "--x y", ""]
command = tune.Command(
    "printf '%s\\n' {name} > got; printf '%s' \\"$HPCTUNE_PARAM_NAME\\" > got2; echo hpctune: loss=1",
)
done = tune.run(
    command, name="$(touch CANARY); it's `touch CANARY`", config={"name": tune.grid_search(NAMES)}, metric="loss",
    mode="min", verbose=0, storage_path="results", trial_name_creator=lambda trial: "$(touch CANARY) " + trial.trial_id,
    trial_dirname_creator=lambda trial: trial.trial_id + " $(touch CANARY) `touch CANARY` ' ;",
    cluster=tune.LocalOptions(setup=["export A=b"], env={"ODD": "$(touch CANARY)"}),
)
from pathlib import Path
for trial in done.trials:
    root = Path(trial.local_path)
    assert (root / "got").read_text() == trial.config["name"] + "\\n", trial.config
    assert (root / "got2").read_text() == trial.config["name"], trial.config
print("finished")
"""


def test_names_and_values_are_data_for_every_local_shell(tmp_path: Path) -> None:
    place = tmp_path / "-a `touch CANARY` $(touch CANARY) 'b' \"c\""
    place.mkdir()
    (place / "search.py").write_text(HOSTILE)
    done = subprocess.run(
        [sys.executable, "search.py"], cwd=place, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "finished\n", done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("CANARY") if path.name == "CANARY"]


def test_secrets_of_the_environment_are_written_into_no_file(tmp_path: Path) -> None:
    root = search(tmp_path, "022", "private", AWS_SECRET_ACCESS_KEY="sesame-17-a", WANDB_API_KEY="sesame-17-b")
    rows = (next(root.glob("*/result.json"))).read_text()
    assert '"key":11' in rows, "the trials have them"
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [str(path) for path in files if b"sesame-17" in path.read_bytes()] == []
