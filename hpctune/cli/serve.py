"""``hpctune serve``: experiments in a browser, as they go on."""

from __future__ import annotations

import contextlib
import getpass
import signal
import socket
from typing import Any

import click

from hpctune.analysis.page.server import LiveExperiment, PageServer
from hpctune.cli import find
from hpctune.common.loopback import check_free
from hpctune.common.text import count, quoted
from hpctune.errors import UsageError

PORT = 8642


@click.command(
    "serve",
    epilog="Example: hpctune serve mnist",
    help="Show experiments in a browser, as they go on: the page of hpctune html, which follows them without being "
    "loaded again. It reads files only, so it needs no driver, and changes nothing. The server listens on this machine "
    "only, and the address that it prints has a token. Ctrl-C ends it.\n\n"
    "DIR is an experiment's directory, or its name under the storage path. Default: all that are there, the one that "
    "was driven last first.",
)
@click.argument("directories", metavar="[DIR]...", nargs=-1)
@click.option("--port", type=click.IntRange(0, 65535), help=f"The port. Default: {PORT}, or a free one if it is taken.")
@click.option("--metric", help="The metric to show. Default: the experiment's own, else the first that was reported.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which values of --metric are better.")
def command(directories: tuple[str, ...], port: int | None, metric: str | None, mode: str | None) -> None:
    """The command."""
    if directories:
        found = [find.experiment(named) for named in directories]
    elif not (found := find.experiments(find.storage_path())):
        raise UsageError(
            f"There is no experiment in {find.storage_path()} (the storage path). Name one: hpctune serve DIR"
        )
    server = PageServer([LiveExperiment(paths.root, metric, mode) for paths in found], free_port(port))
    tell_address(count(len(found), "experiment"), server.address, server.port)
    signal.signal(signal.SIGTERM, interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()


def tell_address(what: str, address: str, port: int) -> None:
    """Say where to look, and how from another computer."""
    click.echo(f"{what}. Open in a browser:\n  {address}")
    there = f"{getpass.getuser()}@{socket.getfqdn()}"
    click.echo(f"From another computer, first:\n  ssh -N -L {port}:127.0.0.1:{port} {quoted(there)}")
    click.echo("Ctrl-C ends it.")


def free_port(given: int | None) -> int:
    """The port that is given, else :data:`PORT`, else 0. Raises UsageError if the given one is taken."""
    if given:
        check_free(given, "--port")
    if given is not None:
        return given
    try:
        check_free(PORT, "--port")
    except UsageError:
        return 0
    return PORT


def interrupt(*_: Any) -> None:
    """A signal handler that ends like Ctrl-C."""
    raise KeyboardInterrupt
