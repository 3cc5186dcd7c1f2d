"""The Python environment there: one that the user names, or one that is made by the project's requirements."""

from __future__ import annotations

import hashlib
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.common.log import log
from hpctune.common.text import count
from hpctune.errors import RemoteClusterError, UsageError
from hpctune.remote import tasks, transfer, wheel
from hpctune.remote.requirements import Requirements
from hpctune.remote.session import Session
from hpctune.remote.tasks import Show
from hpctune.usercode.project import CodeFile, hash_of
from hpctune.version import VERSION

FREE = 2_000_000_000
"""Bytes that should be free before an environment is made."""


@dataclass(slots=True)
class Inputs:
    """What an environment is made of: the files in ``root`` here, which live as long as this object."""

    root: Path
    files: tuple[CodeFile, ...]
    extras: tuple[str, ...]
    offline: bool
    _kept: Any

    @property
    def sources(self) -> dict[str, Path]:
        return transfer.sources(self.root, self.files)


def inputs(needed: Requirements, wheels: str) -> Inputs:
    """Collect them: this hpctune as a wheel, the requirements, and the packages in the directory ``wheels``."""
    kept = tempfile.TemporaryDirectory(prefix="hpctune-env-")
    root = Path(kept.name)
    wheel.write(root)
    (root / "requirements.txt").write_text("".join(f"{line}\n" for line in needed.lines))
    (root / "constraints.txt").write_text("".join(f"{line}\n" for line in needed.constraints))
    if wheels:
        place = Path(wheels).expanduser()
        packages = sorted([*place.glob("*.whl"), *place.glob("*.tar.gz"), *place.glob("*.zip")])
        if not packages:
            raise UsageError(f"--wheels: {place} has no packages. Fill it: pip download -d {place} hpctune")
        (root / "wheels").mkdir()
        for package in packages:
            (root / "wheels" / package.name).symlink_to(package.absolute())
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return Inputs(root, tuple(_file(root, name) for name in names), needed.extras, bool(wheels), kept)


def _file(root: Path, name: str) -> CodeFile:
    body = (root / name).read_bytes()
    return CodeFile(name, len(body), hashlib.sha256(body).hexdigest())


def check_named(session: Session, facts: Mapping[str, Any]) -> str:
    """The interpreter that the user names. Raises RemoteClusterError if it has no hpctune, and tells other versions."""
    cluster = session.cluster
    if facts["hpctune"] is None:
        raise RemoteClusterError(
            f"{cluster.python} on {cluster.name} cannot import hpctune: {facts['why']}. Install it there, or leave "
            "'python' out, then an environment is made."
        )
    if facts["hpctune"] != VERSION:
        log.warning(
            f"hpctune is {facts['hpctune']} on {cluster.name} and {VERSION} here. It runs as that of the cluster."
        )
    return str(facts["interpreter"])


def make(session: Session, needed: Inputs, facts: Mapping[str, Any], say: Show, show: Show) -> str:
    """The interpreter of an environment of ``needed``, which is made if it is not there. Raises RemoteClusterError."""
    system = session.cluster.system_packages
    name = hash_of((*needed.files, CodeFile(f"{facts['python']} {facts['interpreter']} {system}", 0, "")))[:12]
    python = f"{facts['here']}/envs/{name}/bin/python"
    if name in facts["environments"]:
        return python
    if facts["free"] < FREE:
        log.warning(f"{session.cluster.name} has only {facts['free'] / 1e9:.1f} GB free in {facts['here']}.")
    say(f"Making an environment on {session.cluster.name} with Python {facts['python']}: envs/{name}")
    transfer.send(session, needed.sources, [f for f in needed.sources if f in facts["missing"]], say)
    transfer.assemble(session, f"envs/{name}.in", needed.files)
    # It has ended well before, and is not complete now: somebody has removed it.
    begun = tasks.begin(session, f"env-{name}", _script(name, needed, facts, system), "ended")
    task = tasks.follow(session, begun, show)
    if not task.done:
        raise RemoteClusterError(
            f"The environment on {session.cluster.name} could not be made; pip's reason is above, and in "
            f"{facts['here']}/{task.path}/output. A cluster without internet: --wheels DIR. An environment of your "
            'own: python = "/path/to/python" in clusters.toml.'
        )
    return python


def _script(name: str, needed: Inputs, facts: Mapping[str, Any], system: bool) -> str:
    """The shell script that makes the environment ``envs/NAME`` in the directory of the cluster's entry."""
    target, given = f"{facts['here']}/envs/{name}", f"{facts['here']}/envs/{name}.in"
    extras = f"[{','.join(needed.extras)}]" if needed.extras else ""
    venv = [str(facts["interpreter"]), "-m", "venv", *(["--system-site-packages"] if system else []), target]
    offline = ["--no-index", "--find-links", f"{given}/wheels"] if needed.offline else []
    pip = [
        f"{target}/bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-q", *offline,
        f"{given}/{wheel.NAME}{extras}", "-r", f"{given}/requirements.txt", "-c", f"{given}/constraints.txt",
    ]  # fmt: skip
    steps = (["rm", "-rf", target], venv, pip, ["mkdir", f"{target}/complete"])
    # Another laptop may have made it meanwhile.
    return f"test -d {shlex.quote(target)}/complete || {{ {' && '.join(shlex.join(step) for step in steps)}; }}"


def describe(needed: Requirements) -> str:
    """One line about requirements, for people; "" if there are none."""
    left = (
        f" Left out, because they are files of this machine: {', '.join(needed.left_out)}." if needed.left_out else ""
    )
    if not needed.source:
        return ""
    conda = (
        f" Not installed, because they are packages of conda: {', '.join(needed.conda)}. List them in requirements.txt "
        "as pip knows them, or name an interpreter there that has them: python = ... in clusters.toml."
        if needed.conda
        else ""
    )
    return f"Requirements: {count(len(needed.lines), 'line')} of {needed.source}.{left}{conda}"
