"""What goes with a search to jobs that do not see the user's files."""

from __future__ import annotations

from pathlib import Path

from hpctune.cluster.choice import ClusterChoice, resolve_cluster
from hpctune.cluster.ssh.options import SshOptions
from hpctune.launch.project import has_changed, project_for
from hpctune.storage import bundle, kept_project
from hpctune.storage.layout import ExperimentPaths
from hpctune.usercode.project import Project
from hpctune.worker import Command


def machines(code_limit: int | None = None) -> ClusterChoice:
    return resolve_cluster(SshOptions(hosts=["ws1"], code_limit=code_limit), None)


def test_a_program_that_runs_in_a_directory_gets_it_also_without_files(tmp_path: Path) -> None:
    here, elsewhere = Command("echo {x}", cwd=str(tmp_path)), Command("echo {x}", start_dir=str(tmp_path))
    project, told = project_for(here, machines())
    assert isinstance(project, Project)
    assert (project.root, project.files, told) == (tmp_path, (), ())
    assert project_for(elsewhere, machines()) == (None, ())
    (tmp_path / "a.sh").touch()
    assert project_for(Command("sh a.sh", start_dir=str(tmp_path)), machines())[0] is not None
    assert project_for(here, machines(code_limit=0)) == (None, ())


def test_a_program_that_was_mended_is_another_one(tmp_path: Path) -> None:
    paths, place = ExperimentPaths(tmp_path / "experiment"), tmp_path / "code"
    for directory in (paths.root, place):
        directory.mkdir()
    (place / "a.sh").write_text("exit 1")
    program = Command("sh a.sh", cwd=str(place), start_dir=str(place))
    project, _ = project_for(program, machines())
    assert isinstance(project, Project)
    bundle.save(paths, program, None)
    assert has_changed(program, project, paths), "jobs saw the files until now"
    bundle.save(paths, program, None, kept_project.keep(project, paths))
    assert not has_changed(program, project, paths)
    (place / "a.sh").write_text("echo loss=1")
    assert has_changed(program, project_for(program, machines(), paths)[0], paths)
    (place / "a.sh").write_text("# grown\n" * 1000)
    kept, told = project_for(program, machines(code_limit=100), paths)
    assert kept == bundle.project(paths), "a resume goes on"
    assert "stays as it was" in told[0]
    assert "--code-limit" in told[0]
    place.rename(tmp_path / "elsewhere")
    gone, _ = project_for(program, machines(), paths)
    assert gone == bundle.project(paths)
    assert not has_changed(program, gone, paths), "what is stored serves"
