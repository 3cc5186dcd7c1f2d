"""The environment that is made on a cluster: from the project's requirements, without an index."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.ssh_lab import NAME, Laptop, Sshd

from .test_login import RUN, write


def repacked(name: str, wheels: Path, seen: set[str]) -> None:
    """Write an installed package, and what it needs, as wheels: so nothing comes from an index."""
    plain = re.split(r"[^\w.-]", name)[0]
    if plain.lower().replace("_", "-") in seen:
        return
    seen.add(plain.lower().replace("_", "-"))
    try:
        package = metadata.distribution(plain)
    except metadata.PackageNotFoundError:
        return  # of another platform or Python
    info = next(str(file).partition("/")[0] for file in package.files or () if ".dist-info/" in str(file))
    tags = re.findall(r"^Tag: (.+)$", package.read_text("WHEEL") or "", re.MULTILINE)
    tag = "-".join(".".join(dict.fromkeys(kinds)) for kinds in zip(*(tag.split("-") for tag in tags), strict=True))
    bodies = {}
    for file in package.files or ():
        path = Path(str(package.locate_file(file)))
        if (
            ".." not in str(file)
            and file.suffix != ".pyc"
            and path.is_file()
            and file.name not in ("RECORD", "INSTALLER")
        ):
            bodies[str(file)] = path.read_bytes()
    record = [f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(b).digest()).decode().rstrip('=')},{len(b)}"
              for n, b in bodies.items()]  # fmt: skip
    with zipfile.ZipFile(wheels / f"{info.removesuffix('.dist-info')}-{tag}.whl", "w") as archive:
        for member, body in bodies.items():
            archive.writestr(member, body)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    for requirement in package.requires or ():
        if "extra ==" not in requirement:
            repacked(requirement, wheels, seen)


def everything_needed(wheels: Path) -> None:
    """Fill the directory with what hpctune needs, and one package more."""
    wheels.mkdir()
    seen = {"hpctune"}
    for requirement in metadata.requires("hpctune") or ():
        if "extra ==" not in requirement:
            repacked(requirement, wheels, seen)
    repacked("iniconfig", wheels, seen)  # small, and nothing else needs it


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_search_in_an_environment_of_its_own(laptop: Laptop, sshd: Sshd, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    everything_needed(wheels)
    root = laptop.work / "project"
    root.mkdir()
    write(root)
    (root / "config.py").write_text("import iniconfig\n" + (root / "config.py").read_text())
    (root / "requirements.txt").write_text("iniconfig\n-e .\n")
    (sshd.home / ".config" / "pip").mkdir(parents=True)
    (sshd.home / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\n"
    )
    laptop.clusters(f'[{NAME}]\nwheels = "{wheels}"\n')
    run = (*RUN, "--yes", "--code", "project/requirements.txt")
    done = laptop.call(*run, timeout=600)
    assert done.code == 0, done
    assert "Making an environment on cluster with Python 3." in done.err
    assert "Requirements: 1 line of" in done.err
    assert "Left out, because they are files of this machine: -e ." in done.err
    assert "3 of 3 (3 completed)" in done.out
    (environment,) = sshd.home.glob("hpctune/envs/*/complete")
    python = (sshd.home / "hpctune" / "python").read_text()
    assert python == str(environment.parent / "bin" / "python")
    code = "import hpctune, iniconfig; print(hpctune.__file__)"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout.startswith(str(environment.parent)), "that of the laptop, as a wheel"
    again = laptop.call("best", "--on", NAME)
    assert again.code == 0, again
    other = laptop.call(*run, "--name", "other", timeout=600)
    assert other.code == 0, other
    assert "Making an environment" not in other.err


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_an_environment_that_cannot_be_made(laptop: Laptop, sshd: Sshd) -> None:
    """The reason is pip's; the next try makes it anew."""
    (laptop.work / "config.py").write_text("")
    (laptop.work / "requirements.txt").write_text("there-is-no-such-package\n")
    (laptop.work / "wheels").mkdir()
    laptop.clusters(f"[{NAME}]\n")
    run = ("run", "config.py", "--yes", "--on", NAME, "--wheels", "wheels")
    empty = laptop.call(*run)
    assert (empty.code, "--wheels: wheels has no packages. Fill it: pip download" in empty.err) == (2, True), empty
    (laptop.work / "wheels" / "some.zip").write_bytes(b"x")
    for number in (1, 2):
        said = laptop.call(*run)
        assert said.code == 1, said
        assert "no matching distribution found" in said.out.lower()
        assert "could not be made; pip's reason is above" in said.err
        assert len(list(sshd.home.glob("hpctune/tasks/env-*/*"))) == number
    assert not (sshd.home / "hpctune" / "python").exists()
