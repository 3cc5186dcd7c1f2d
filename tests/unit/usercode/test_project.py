"""Which files go to a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpctune.errors import UsageError
from hpctune.remote.launch import Prepared, _paths
from hpctune.usercode.project import Project, collect, collect_named


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(project: Project) -> list[str]:
    return [file.path for file in project.files]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def git(root: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True, capture_output=True
    )


def test_as_git_has_them(root: Path) -> None:
    write(root, config_DOT_py="", lib__a_DOT_py="1", old_DOT_py="", big_DOT_bin="x", _DOT_gitignore="*.bin\n")
    git(root, "init", "-q")
    git(root, "add", "config.py", "old.py", "lib")
    git(root, "commit", "-qm", "x")
    (root / "old.py").unlink()
    write(root, new_DOT_py="", lib__a_DOT_py="2")
    project = collect(root / "config.py")
    assert names(project) == [".gitignore", "config.py", "lib/a.py", "new.py"]
    assert project.tracked
    write(root, lib__a_DOT_py="3")
    changed = collect(root / "config.py")
    assert changed.hash != project.hash, "what is not committed counts"
    # A file that git ignores comes if it is the config, or is named.
    write(root, own_DOT_bin="")
    assert "own.bin" in names(collect(root / "own.bin"))
    assert "big.bin" in names(collect(root / "config.py", [root / "big.bin"]))
    assert collect(root / "lib" / "a.py").root == root


def test_repositories_inside_are_part_of_it(root: Path, tmp_path: Path) -> None:
    """Submodules, and what somebody has cloned there."""
    lib = tmp_path / "lib"
    write(lib, m_DOT_py="", _DOT_gitignore="*.bin")
    for repository in (root, lib):
        repository.mkdir(exist_ok=True)
        git(repository, "init", "-q")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "x", "--allow-empty")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(lib), "sub")
    git(root, "clone", "-q", str(lib), "cloned")
    git(root, "worktree", "add", "-q", "other")
    write(root, train_DOT_py="", sub__new_DOT_py="", sub__big_DOT_bin="", other__x_DOT_py="")
    assert names(collect(root / "train.py")) == [
        ".gitmodules", "cloned/.gitignore", "cloned/m.py", "sub/.gitignore", "sub/m.py", "sub/new.py", "train.py"
    ]  # fmt: skip


def test_without_git_what_the_config_names(root: Path) -> None:
    write(
        root,
        config_DOT_py="import a\nfrom pkg import b\nopen('data/points.csv')\n",
        a_DOT_py="import json, c",
        c_DOT_py="",
        unused_DOT_py="",
        pkg____init___DOT_py="",
        pkg__b_DOT_py="from . import d",
        pkg__d_DOT_py="",
        data__points_DOT_csv="1",
        data__others_DOT_csv="1",
    )
    (root / "pkg" / "__init__.py").touch()
    project = collect(root / "config.py", [root / "data" / "others.csv"])
    assert {"a.py", "c.py", "config.py", "data/others.csv", "data/points.csv", "pkg/b.py", "pkg/d.py"} <= set(
        names(project)
    )
    assert "unused.py" not in names(project)
    assert not project.tracked


def test_a_batch_script_names_its_program(root: Path) -> None:
    write(
        root,
        job_DOT_sbatch="#!/bin/bash\npython train.py --data ./set.txt\n",
        train_DOT_py="import model",
        model_DOT_py="",
    )
    write(root, set_DOT_txt="")
    assert names(collect(root / "job.sbatch")) == ["job.sbatch", "model.py", "set.txt", "train.py"]


def test_links_and_modes(root: Path, tmp_path: Path) -> None:
    write(root, config_DOT_py="", run_DOT_sh="")
    (root / "run.sh").chmod(0o755)
    (root / "inside").symlink_to("run.sh")
    (tmp_path / "outside.txt").write_text("x")
    (root / "outside").symlink_to(tmp_path / "outside.txt")
    git(root, "init", "-q")
    by_name = {file.path: file for file in collect(root / "config.py").files}
    assert by_name["run.sh"].executable
    assert not by_name["config.py"].executable
    assert by_name["inside"].target == "run.sh"
    assert by_name["outside"].size == 1, "its content goes there"
    (root / "gone").symlink_to("/nowhere")
    with pytest.raises(UsageError, match="gone is a link to /nowhere, outside of the project"):
        collect(root / "config.py")


def test_limits_and_mistakes(root: Path, tmp_path: Path) -> None:
    write(root, config_DOT_py="", big_DOT_bin="x" * 3_000_000)
    with pytest.raises(UsageError, match=r"more than 1 MB.*big.bin \(3 MB\).*--code-limit 4MB"):
        collect(root / "config.py", [root / "big.bin"], 1_000_000)
    with pytest.raises(UsageError, match="there is no"):
        collect(root / "config.py", [root / "nothing"])
    with pytest.raises(UsageError, match="There is no file"):
        collect(root / "nothing.py")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="outside of the project"):
        collect(root / "config.py", [tmp_path / "other"])
    git(root, "init", "-q")
    os.mkfifo(root / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a link"):
        collect(root / "config.py", [root / "pipe"])


def test_of_too_many_files_no_size_is_advised(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.usercode.project.MAX_FILES", 2)
    write(root, a_DOT_py="", b_DOT_py="", c_DOT_py="")
    git(root, "init", "-q")
    with pytest.raises(UsageError, match=r"3 files.*or 2 files.*by \.gitignore\.$"):
        collect(root / "a.py")


def test_the_same_files_have_the_same_place(root: Path, tmp_path: Path) -> None:
    write(root, config_DOT_py="1")
    other = tmp_path / "elsewhere" / "project"
    other.mkdir(parents=True)
    write(other, config_DOT_py="1")
    assert collect(root / "config.py").directory == collect(other / "config.py").directory
    (other / "config.py").chmod(0o755)
    assert collect(root / "config.py").directory != collect(other / "config.py").directory


def test_a_long_list_is_cut(root: Path) -> None:
    for number in range(60):
        (root / f"f{number:02d}.txt").write_text("x" * 100)
    git(root, "init", "-q")
    project = collect(root / "f00.txt")
    lines = project.describe(project.files).splitlines()
    assert lines[0] == f"{root}: 60 files, 6 kB (as git has them, with what is new and not ignored). New there:"
    assert lines[-2:] == ["  f49.txt  100 B", "  and 10 more files of 1 kB"]


def test_what_may_be_a_secret_is_listed_first(root: Path) -> None:
    write(root, config_DOT_py="", _DOT_env="KEY=1", deploy__server_DOT_pem="", keys_DOT_py="")
    git(root, "init", "-q")
    project = collect(root / "config.py")
    shown = [
        line.split()[0] for line in project.describe(project.files).splitlines() if line.endswith("may be a secret")
    ]
    assert shown == [".env", "deploy/server.pem"]


def test_what_a_command_names(root: Path) -> None:
    write(
        root, train_DOT_py="import lib.model\n", lib__model_DOT_py="", pkg__main_DOT_py="import lib.model",
        conf__a_DOT_yaml="data: table.csv", table_DOT_csv="1", big_DOT_csv="1", other_DOT_py="", bin__run="",
    )  # fmt: skip
    found = collect_named("bin/run && python train.py --conf=conf/a.yaml --data big.csv {lr} > out.txt", root)
    assert names(found) == ["big.csv", "bin/run", "conf/a.yaml", "lib/model.py", "table.csv", "train.py"]
    assert names(collect_named("python -m pkg.main --lr {lr}", root)) == ["lib/model.py", "pkg/main.py"]
    assert names(collect_named(f"bash {root}/bin/run /etc/passwd ../x.py", root)) == ["bin/run"]
    assert names(collect_named("echo 1", root)) == []
    assert names(collect_named("echo 1", root, [root / "lib"])) == ["lib/model.py"]
    git(root, "init", "-q")
    write(root, _DOT_gitignore="*.csv")
    found = collect_named("python ../train.py --data ../big.csv", root / "lib")
    assert found.root == root
    assert "big.csv" in names(found), "git ignores it, and the command names it"
    assert "table.csv" not in names(found)
    assert "other.py" in names(found)


def test_where_a_command_looks_for_what_it_names(root: Path) -> None:
    write(
        root, sub__x_DOT_py="import helper\nopen('d.txt')", sub__helper_DOT_py="", sub__d_DOT_txt="", d_DOT_txt="",
        run_DOT_sh='HERE=$(dirname "$0"); "$HERE/sub/x.py"; cat "${HERE}/d.txt" $HERE/"deep/e.txt"', deep__e_DOT_txt="",
        src__pkg__names_DOT_py="", input="", other="",
        src__pkg__train_DOT_py="from . import model\nfrom ..far import b", src__pkg__model_DOT_py="import pkg.last",
        src__pkg__last_DOT_py="", src__far__b_DOT_py="",
    )  # fmt: skip
    (root / "src" / "pkg" / "__init__.py").write_text("from .names import A")
    sub = ["d.txt", "sub/d.txt", "sub/helper.py", "sub/x.py"]
    package = ["__init__", "last", "model", "names", "train"]
    module = ["src/far/b.py", *(f"src/pkg/{name}.py" for name in package)]
    for command, expected in {
        "cd sub && python x.py": sub,
        "bash run.sh": ["d.txt", "deep/e.txt", "run.sh", *sub[1:]],
        "PYTHONPATH=src python -m pkg.train": module,
        "cd src; python -m pkg.train": module,
        "./prog < input": ["input"],
    }.items():
        assert names(collect_named(command, root)) == sorted(expected), command


def test_results_in_a_project_are_no_code(root: Path) -> None:
    write(
        root, train_DOT_py="", runs__demo__experiment_DOT_json="", runs__demo__trainable_DOT_pkl="",
        runs__demo__trial__result_DOT_json="", runs__notes_DOT_txt="", alone__trainable_DOT_pkl="",
    )  # fmt: skip
    git(root, "init", "-q")
    assert names(collect(root / "train.py")) == ["alone/trainable.pkl", "runs/notes.txt", "train.py"]


def test_secrets_stay_unless_they_are_named(root: Path) -> None:
    write(root, train_DOT_py="", _DOT_env="", keys__a_DOT_pem="")
    git(root, "init", "-q")
    project, left = collect_named("python train.py", root).without_secrets()
    assert names(project) == ["train.py"]
    assert left == [".env", "keys/a.pem"]
    project, left = collect_named("python train.py", root).without_secrets([root / "keys"])
    assert names(project) == ["keys/a.pem", "train.py"]
    assert left == [".env"]


def test_without_git_the_project_is_where_it_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    write(root, pyproject_DOT_toml="", configs__deep__search_DOT_py="", other__search_DOT_py="")
    assert collect(root / "configs" / "deep" / "search.py").root == root
    (root / "pyproject.toml").unlink()
    assert collect(root / "configs" / "deep" / "search.py").root == root / "configs" / "deep"
    monkeypatch.chdir(root)
    assert collect(root / "configs" / "deep" / "search.py").root == root / "configs" / "deep"
    write(root, data__a_DOT_csv="", configs__deeper__named_DOT_py="open('data/a.csv')\nimport beside")
    write(root, configs__deeper__beside_DOT_py="")
    project = collect(root / "configs" / "deeper" / "named.py")
    assert names(project) == ["configs/deeper/beside.py", "configs/deeper/named.py", "data/a.csv"]
    assert (project.root, project.base) == (root, root / "configs" / "deeper")
    monkeypatch.chdir(root.parent)
    assert collect(root / "other" / "search.py").root == root / "other", "the home directory is no project"


def test_without_git_files_are_named_from_the_working_directory_or_from_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, configs__search_DOT_py="open('data/a.csv'), open('b.yaml'), open('../c.txt')", setup_DOT_py="")
    write(root, data__a_DOT_csv="", configs__b_DOT_yaml="", c_DOT_txt="", work__data__a_DOT_csv="", src__own_DOT_py="")
    (root / "configs" / "search.py").write_text((root / "configs" / "search.py").read_text() + "\nimport own\n")
    monkeypatch.chdir(root / "work")
    assert names(collect(root / "configs" / "search.py")) == [
        "c.txt", "configs/b.yaml", "configs/search.py", "data/a.csv", "src/own.py", "work/data/a.csv",
    ]  # fmt: skip


def test_where_python_looks_for_packages_of_the_project(root: Path) -> None:
    """As here, where they are installed as editable: the project around the config file, and those that it needs."""
    write(
        root,
        a__setup_DOT_cfg="[options]\n",
        a__src__mya_DOT_py="",
        a__configs__search_DOT_py="",
        b__pyproject_DOT_toml="",
        b__b_DOT_py="",
        c__pyproject_DOT_toml="",
        c__c_DOT_py="",
    )
    git(root, "init", "-q")
    project = collect(root / "a" / "configs" / "search.py")
    prepared = Prepared("python", {}, "/there", (root / "a", root / "b"))
    assert _paths(prepared, project) == "/there/a/src:/there/a:/there/b"
    plain = collect(root / "b" / "b.py")
    assert _paths(Prepared("python", {}, "/there"), plain) == "/there/b"
    (root / "b" / "pyproject.toml").unlink()
    assert _paths(Prepared("python", {}, "/there"), collect(root / "b" / "b.py")) == ""


def test_what_holds_all_homes_is_no_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root / "home" / "ann"))
    write(root, train_DOT_py="", home__ann__train_DOT_py="")
    for directory in (root, root / "home"):
        with pytest.raises(UsageError, match="no project: all homes are in it"):
            collect_named("python train.py", directory)
    assert names(collect_named("python train.py", root / "home" / "ann")) == ["train.py"]


def test_what_a_command_names_by_a_link_to_the_project(root: Path, tmp_path: Path) -> None:
    write(root, train_DOT_py="", data__a_DOT_txt="")
    (tmp_path / "way").symlink_to(root)
    found = collect_named(f"python train.py {tmp_path}/way/data/a.txt", root)
    assert names(found) == ["data/a.txt", "train.py"]
