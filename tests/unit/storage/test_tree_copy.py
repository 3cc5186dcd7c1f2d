"""What becomes part of a checkpoint: links, special files, files of hpctune, shared files."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hpctune.storage import tree_copy
from hpctune.storage.ownership import PROGRESS_FILE
from hpctune.storage.tree_copy import LINK_BYTES, Copied, copy_tree, normalize

Way = Callable[[Path, Path], Copied]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "model").write_text("weights")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def _moved(source: Path, target: Path) -> Copied:
    copied = normalize(source)
    target.rmdir()
    source.rename(target)
    return copied


both = pytest.mark.parametrize("way", [copy_tree, _moved])
"""A directory that is copied, and one that is moved."""


def _tree(root: Path) -> dict[str, str]:
    """Each path with the text of a link, or the content."""
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}"
        if path.is_symlink()
        else "/"
        if path.is_dir()
        else path.read_text()
        for path in sorted(root.rglob("*"))
    }


SUB = {"sub": "/", "sub/model": "weights"}


# -- links ------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("name", "text"),
    [("last", "sub/model"), ("latest", "."), ("best", "sub"), ("sub/up", ".."), ("sub/other", "../sub/model")],
)
def test_a_link_that_points_inside_stays_one(source: Path, target: Path, way: Way, name: str, text: str) -> None:
    (source / name).symlink_to(text)
    copied = way(source, target)
    assert _tree(target) == {**SUB, name: f"-> {text}"}
    assert (copied.files, copied.bytes, copied.notes) == (1, 7, {})


@both
def test_an_absolute_link_that_points_inside_becomes_relative(source: Path, target: Path, way: Way) -> None:
    (source / "sub" / "last").symlink_to(source / "sub" / "model")
    (source / "latest").symlink_to(source)
    (source / "around").symlink_to("../source/sub/model")
    way(source, target)
    assert _tree(target) == {**SUB, "sub/last": "-> model", "latest": "-> .", "around": "-> sub/model"}


@both
@pytest.mark.parametrize("text", ["nothing", "/no/such/place", "../gone"])
def test_a_link_to_nothing_stays_as_it_is(source: Path, target: Path, way: Way, text: str) -> None:
    (source / "dangling").symlink_to(text)
    way(source, target)
    assert _tree(target) == {**SUB, "dangling": f"-> {text}"}


@both
def test_links_in_a_circle_stay_as_they_are(source: Path, target: Path, way: Way) -> None:
    (source / "a").symlink_to("b")
    (source / "b").symlink_to("a")
    way(source, target)
    assert _tree(target) == {**SUB, "a": "-> b", "b": "-> a"}


@both
def test_what_a_link_points_to_outside_is_copied(tmp_path: Path, source: Path, target: Path, way: Way) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "blob").write_text("blob")
    (outside / "self").symlink_to(".")
    (outside / "deep" / "blob").symlink_to(outside / "blob")
    (source / "file").symlink_to(outside / "blob")
    (source / "tree").symlink_to("../outside")
    (source / "chain").symlink_to("file")
    copied = way(source, target)
    inner = {"tree": "/", "tree/blob": "blob", "tree/self": "-> .", "tree/deep": "/", "tree/deep/blob": "-> ../blob"}
    assert _tree(target) == {**SUB, "file": "blob", "chain": "-> file", **inner}
    assert "file, tree" in copied.notes["outside"]
    assert (outside / "blob").read_text() == "blob"


@both
def test_a_link_to_a_directory_around_it_is_left_out(tmp_path: Path, source: Path, target: Path, way: Way) -> None:
    (source / "everything").symlink_to("/")
    (source / "above").symlink_to("..")
    other = tmp_path / "other"
    other.mkdir()
    (other / "back").symlink_to(source)
    (source / "other").symlink_to(other)
    copied = way(source, target)
    assert _tree(target) == {**SUB, "other": "/"}
    assert "above, everything" in copied.notes["around"]


def test_the_links_of_hugging_face_and_lightning(tmp_path: Path, source: Path, target: Path) -> None:
    """A cache whose files are links to blobs beside it, and a ``last.ckpt`` that is a link."""
    big = source / "epoch=1.ckpt"
    big.write_bytes(b"w" * 10_000)
    (source / "last.ckpt").symlink_to(big)
    assert copy_tree(source, target).bytes == 10_007
    assert (target / "last.ckpt").readlink() == Path("epoch=1.ckpt")


# -- special files, hard links ----------------------------------------------------------------------------------------


@both
def test_pipes_and_sockets_are_left_out_and_named(source: Path, target: Path, way: Way) -> None:
    os.mkfifo(source / "pipe")
    before = Path.cwd()
    os.chdir(source)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.chdir(before)
    (source / "to-pipe").symlink_to("pipe")
    copied = way(source, target)
    assert {name for name in _tree(target) if name != "to-pipe"} == set(SUB)
    assert "pipe, socket" in copied.notes["special"]


def test_a_link_to_what_is_left_out_is_left_out(source: Path, target: Path) -> None:
    os.mkfifo(source / "pipe")
    (source / "to-pipe").symlink_to("pipe")
    copied = copy_tree(source, target)
    assert _tree(target) == SUB
    assert "to-pipe" in copied.notes["lost"]


def test_hard_links_are_not_multiplied(source: Path, target: Path) -> None:
    (source / "second").hardlink_to(source / "sub" / "model")
    copied = copy_tree(source, target)
    assert (copied.files, copied.bytes) == (2, 7)
    assert (target / "second").samefile(target / "sub" / "model")
    assert not (target / "second").samefile(source / "second")


def test_holes_stay_holes(source: Path, target: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(50 << 20)
        file.write(b"end")
        file.truncate(100 << 20)
    copy_tree(source, target)
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20


def test_modes_and_times_are_kept_but_all_can_be_changed(source: Path, target: Path) -> None:
    model = source / "sub" / "model"
    os.utime(model, ns=(10**18, 10**18 + 7))
    model.chmod(0o4555)
    (source / "sub").chmod(0o555)
    try:
        copy_tree(source, target)
    finally:
        (source / "sub").chmod(0o755)
    seen = (target / "sub" / "model").stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (0o755, 10**18 + 7)
    assert stat.S_IMODE((target / "sub").stat().st_mode) == 0o755


# -- files of hpctune -------------------------------------------------------------------------------------------------

OURS = (
    "control.json", "run-1.0.jsonl", "stdout", "stderr", "error.txt", "result.json", "params.json", "params.pkl",
    "progress.csv", "events.out.tfevents.17.hpctune", ".result.json.77.tmp", ".run-1.0.jsonl.ab12.new",
    PROGRESS_FILE,
)  # fmt: skip
THEIRS = ("model.pt", "events.out.tfevents.17.node1.42.0", "run-1.json", "results.json", "stdout.txt", ".hidden")


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """The directory of a trial, with files of hpctune and of a user."""
    experiment = tmp_path / "experiment"
    made = experiment / "trial"
    made.mkdir(parents=True)
    for name in ("experiment.json", "trainable.pkl", "driver.lock", "pbt_policy_1.txt", "callbacks.pkl"):
        (experiment / name).touch()
    (experiment / "journal").mkdir()
    (experiment / "journal" / "000001.jsonl").touch()
    for name in (*OURS, *THEIRS):
        (made / name).touch()
    for name in ("checkpoint_000001", "checkpoint_000002-2.0", ".checkpoint_staging_0011aa", ".reports"):
        (made / name).mkdir()
        (made / name / PROGRESS_FILE).touch()
    (made / "checkpoint_000007").mkdir()
    (made / "checkpoint_000007" / "by-the-user").touch()
    (made / "logs").mkdir()
    (made / "logs" / "result.json").touch()
    return made


KEPT = {*THEIRS, "checkpoint_000007", "checkpoint_000007/by-the-user", "logs", "logs/result.json"}


def test_what_is_ours_in_a_trial_is_left_out(trial: Path, target: Path) -> None:
    (trial / "last").symlink_to("checkpoint_000001")
    copied = copy_tree(trial, target)
    assert set(_tree(target)) == KEPT
    assert "checkpoint_000001" in copied.notes["own"]
    assert "last" in copied.notes["lost"]


@pytest.mark.parametrize("above", ["..", "../.."])
def test_the_same_below_a_larger_directory(trial: Path, target: Path, above: str) -> None:
    copy_tree(trial / above, target)
    copy = target / trial.resolve().relative_to((trial / above).resolve())
    assert set(_tree(copy)) == KEPT
    assert [path.name for path in copy.parent.iterdir()] == ["trial"]


def test_through_a_link_from_outside(trial: Path, source: Path, target: Path) -> None:
    (source / "work").symlink_to(trial)
    (source / "log").symlink_to(trial / "stdout")
    (source / "model").symlink_to(trial / "checkpoint_000001" / PROGRESS_FILE)
    copy_tree(source, target)
    assert set(_tree(target / "work")) == KEPT
    assert not (target / "log").exists()
    assert (target / "model").exists(), "a file of an earlier checkpoint that the user chose"


def test_a_target_inside_the_source_is_left_out(source: Path) -> None:
    target = source / "copy"
    target.mkdir()
    copied = copy_tree(source, target)
    assert _tree(target) == SUB
    assert "copy" in copied.notes["own"]


def test_no_copy_replaces_what_is_ours(trial: Path, source: Path) -> None:
    (source / "control.json").write_text("forged")
    (source / "model.pt").write_text("new")
    copy_tree(source, trial)
    assert (trial / "control.json").read_text() == ""
    assert (trial / "model.pt").read_text() == "new"


def test_the_output_of_a_trial_may_have_any_name(trial: Path, target: Path) -> None:
    with (trial / "my.log").open("w") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            copy_tree(trial, target)
        finally:
            os.dup2(before, 2)
            os.close(before)
    assert not (target / "my.log").exists()


# -- existing targets -------------------------------------------------------------------------------------------------


def test_nothing_is_written_through_what_is_there(tmp_path: Path, source: Path, target: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "model").write_text("precious")
    (target / "sub").symlink_to(precious)
    (source / "top").write_text("new")
    (target / "top").hardlink_to(precious / "model")
    copy_tree(source, target)
    assert (precious / "model").read_text() == "precious"
    assert _tree(target) == {**SUB, "top": "new"}


def test_a_copy_to_itself_changes_nothing(source: Path) -> None:
    copy_tree(source, source)
    assert _tree(source) == SUB


# -- unchanged files --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["no clones", "clones if it can"])
def base(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path) -> Path:
    """An earlier copy."""
    if request.param == "no clones":
        monkeypatch.setattr(tree_copy, "_cloned", lambda source, target: False)
    made = tmp_path / "base"
    made.mkdir()
    (source / "large").write_bytes(b"x" * LINK_BYTES)
    copy_tree(source, made)
    return made


def _shared(one: Path, other: Path) -> bool:
    return one.samefile(other)


def test_a_large_unchanged_file_is_shared_with_the_copy_before(
    base: Path, source: Path, target: Path, request: pytest.FixtureRequest
) -> None:
    copied = copy_tree(source, target, base=base)
    if "no clones" in request.node.name:
        assert _shared(target / "large", base / "large")
    assert not _shared(target / "large", source / "large"), "the source may be overwritten in place"
    assert not _shared(target / "sub" / "model", base / "sub" / "model"), "small files are copied"
    assert copied.bytes == LINK_BYTES + 7


@pytest.mark.parametrize("change", ["content", "mapped", "size", "time", "gone", "link"])
def test_a_file_that_may_have_changed_is_copied(base: Path, source: Path, target: Path, change: str) -> None:
    large, seen = source / "large", (source / "large").stat()
    if change in ("content", "mapped"):
        large.write_bytes(b"x" * (LINK_BYTES - 1) + b"y")
    if change == "mapped":  # as if the filesystem had not noticed
        os.utime(large, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    if change == "size":
        large.write_bytes(b"x" * (LINK_BYTES + 1))
    if change == "time":
        os.utime(large, ns=(1, 1))
    if change == "gone":
        (base / "large").unlink()
    if change == "link":  # what the base shares with the source may be overwritten in place
        (base / "large").unlink()
        (base / "large").hardlink_to(large)
    copy_tree(source, target, base=base)
    assert (target / "large").read_bytes() == large.read_bytes()
    assert not (base / "large").exists() or not _shared(target / "large", base / "large")


def test_the_users_next_write_in_place_reaches_no_copy(base: Path, source: Path, target: Path) -> None:
    copy_tree(source, target, base=base)
    with (source / "large").open("r+b") as file:
        file.write(b"changed")
    assert (target / "large").read_bytes() == (base / "large").read_bytes() == b"x" * LINK_BYTES
