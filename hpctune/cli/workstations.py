"""The machines of ``--hosts``, with environments that are made there if that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.cluster.ssh.options import Workstation
from hpctune.errors import UsageError


def hosts_of(given: Mapping[str, Any]) -> tuple[str | Workstation, ...]:
    """The machines that the options of a command line name. Raises UsageError, RemoteClusterError."""
    hosts: tuple[str, ...] = given["hosts"]
    if not given["make_env"]:
        return hosts
    if not hosts:
        raise UsageError("--make-env makes an environment on the machines of --hosts. Add --hosts ws1,ws2.")
    if given["python"] is not None:
        raise UsageError("--make-env and --python exclude each other: one makes an environment, one names it.")
    from hpctune.cli.progress import say, show
    from hpctune.file_transfer.options import split
    from hpctune.remote import environment, launch, requirements
    from hpctune.remote.address import RemoteCluster
    from hpctune.remote.session import Session
    from hpctune.usercode.project import root_of

    here = Path.cwd()
    needed = requirements.of_project(here, root_of(here))
    inputs = environment.inputs(needed, given.get("wheels") or "")
    made: list[str | Workstation] = []
    for host in hosts:
        name, user, port = split(host)
        with Session(RemoteCluster(host, name, user, port, setup=tuple(given["setup"] or ()))) as session:
            made.append(Workstation(host=host, python=launch.environment_for(session, inputs, say, show)))
    return tuple(made)
