"""What goes with a search to jobs that do not see the user's files."""

from __future__ import annotations

from pathlib import Path

from hpctune.cluster.choice import ClusterChoice, resolve_cluster
from hpctune.cluster.ssh.options import SshOptions
from hpctune.launch.project import project_for
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
