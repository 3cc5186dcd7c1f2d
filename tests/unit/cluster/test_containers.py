"""Containers as options: the exact command lines, and what is refused before anything is submitted."""

from __future__ import annotations

import pickle
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.cluster.containers import Container, parse
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.script import array_text, script_text
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest
from hpctune.model.resources import Resources

STORAGE = Path("/shared/my results")
JOBS = STORAGE / "exp" / "jobs"


def request() -> JobRequest:
    trial = STORAGE / "exp" / "trial"
    command = ("python", "-u", "-m", "hpctune.worker", "x")
    resources = Resources()
    return JobRequest(
        Tag("e1", "t", 1), "trial", command, resources, trial / "stdout", trial / "stderr", {"HPCTUNE_A": "b"}
    )


def last(container: object, options: dict[str, Any] | None = None) -> str:
    """The line that runs the worker."""
    text = script_text(request(), SlurmOptions(container=container, **(options or {})), JOBS)  # type: ignore[arg-type]
    return next(line for line in reversed(text.splitlines()) if "hpctune.worker" in line)


def test_apptainer() -> None:
    line = last(
        tune.Apptainer(image="/i/torch.sif", nv=True, binds=["/data:/data:ro", "/scratch"], options=["--no-home"])
    )
    inside = (
        "apptainer exec --nv '--bind=/shared/my results:/shared/my results' --bind=/data:/data:ro "
        "--bind=/scratch:/scratch --no-home /i/torch.sif"
    )
    assert line.startswith("exec srun ")
    assert line.endswith(f"{inside} python3 -u -m hpctune.worker x")
    text = script_text(request(), SlurmOptions(container=tune.Apptainer(image="docker://a", rocm=True)), JOBS)
    assert "export HPCTUNE_CONTAINER='apptainer exec --rocm " in text, "ranks of several tasks enter it as well"
    assert "docker://a python3" in last(tune.Apptainer(image="docker://a"))


def test_pyxis_is_entered_by_srun() -> None:
    line = last(tune.Pyxis(image="registry.example#nvidia/pytorch:24.05", binds=["/data"], name="torch"))
    words = shlex.split(line)
    inside = words.index("python3")
    assert words[:2] == ["exec", "srun"]
    assert words[inside - 3 : inside] == [
        "--container-image=registry.example#nvidia/pytorch:24.05",
        "--container-mounts=/shared/my results:/shared/my results,/data:/data", "--container-name=torch",
    ]  # fmt: skip
    assert tune.Enroot is tune.Pyxis
    assert "HPCTUNE_CONTAINER" not in script_text(request(), SlurmOptions(container=tune.Pyxis(image="a")), JOBS)
    with pytest.raises(NotYetSupportedError, match="one task"):
        last(tune.Pyxis(image="a"), options={"ntasks": 2})


def test_podman_passes_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    line = last(tune.Podman(image="registry.example/me/torch", nv=True), options={"env": {"TOKEN": "x"}})
    words = shlex.split(line)
    wanted = {"--env=SLURM_*", "--env=HPCTUNE_*", "--env=CUDA_VISIBLE_DEVICES", "--env=TOKEN", "--userns=keep-id"}
    assert {*wanted, "--volume=/shared/my results:/shared/my results", "--device=nvidia.com/gpu=all"} <= set(words)
    assert line.endswith("registry.example/me/torch python3 -u -m hpctune.worker x")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "--userns" not in last(tune.Podman(image="a"))  # Podman refuses it to root


def test_this_python_and_slurm_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm/etc/slurm.conf")
    line = last(tune.Apptainer(image="/i.sif", bind_python=True, bind_slurm=True))
    assert f"--bind={sys.prefix}:{sys.prefix}" in line or Path(sys.prefix).is_relative_to(
        Path(tune.__file__).parents[1]
    )
    assert "--bind=/opt/slurm/etc:/opt/slurm/etc --bind=/run/munge:/run/munge" in line
    assert f"/i.sif {shlex.quote(sys.executable)} -u" in line
    assert last(tune.Apptainer(image="/i.sif"), options={"python": "/opt/py"}).endswith(
        "/i.sif /opt/py -u -m hpctune.worker x"
    )


def test_arrays_and_pickles() -> None:
    options = pickle.loads(pickle.dumps(SlurmOptions(container=tune.Podman(image="a"))))
    assert "podman run" in array_text([request(), request()], "key", options, JOBS)


def test_a_mapping_of_a_configuration_file() -> None:
    given = {"kind": "apptainer", "image": "/i.sif", "bind-python": True}
    assert SlurmOptions(container=given).container == tune.Apptainer(image="/i.sif", bind_python=True)
    assert parse("apptainer exec x") == "apptainer exec x"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "docker", "image": "a"}, "kind must be one of apptainer"),
        ({"kind": "podman"}, "needs an image"),
        ({"kind": "podman", "image": "a", "bind": ["/x"]}, "Did you mean 'binds'"),
        ({"kind": "podman", "image": ""}, "image must be"),
        ({"kind": "podman", "image": "a", "binds": "/x"}, "binds must be a list"),
        ({"kind": "podman", "image": "a", "binds": ["x"]}, "absolute path"),
        ({"kind": "podman", "image": "a", "nv": "yes"}, "nv"),
        ({"kind": "apptainer", "image": "a", "options": ["--cleanenv"]}, "hides the job's variables"),
        (5, "container must be"),
    ],
)
def test_what_is_refused(given: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SlurmOptions(container=given)  # type: ignore[arg-type]


def test_the_image_and_the_program_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    container: Container = tune.Apptainer(image="torch.sif")
    with pytest.raises(UsageError, match=f"image {tmp_path}/torch.sif is not there"):
        container.check()
    (tmp_path / "torch.sif").touch()
    container.check()
    assert "apptainer is not installed on this node" in caplog.text
    tune.Apptainer(image="docker://ubuntu").check()
    with pytest.raises(UsageError, match="is not there"):
        tune.Pyxis(image="none.sqsh").check()
