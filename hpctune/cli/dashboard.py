"""``hpctune dashboard``: experiments in optuna-dashboard, as they go on."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from typing import Any

import click

from hpctune.analysis.load import LoadedExperiment
from hpctune.cli import find
from hpctune.cli.progress import Progress
from hpctune.cli.serve import PORT, free_port, interrupt, tell_address
from hpctune.common.packages import load
from hpctune.common.text import count


@click.command(
    "dashboard",
    epilog="Example: hpctune dashboard mnist",
    help="Show experiments in optuna-dashboard, as they go on: each is exported to a study, and followed. The server "
    "listens on this machine only, and the address that it prints has a token. Ctrl-C ends it.\n\n"
    "The studies are in a temporary file, so what is noted in the dashboard is lost at the end. To keep them, name a "
    "TARGET with -o, as for hpctune export --to optuna.\n\n"
    f"{find.DIR_HELP}",
)
@click.argument("directories", metavar="[DIR]...", nargs=-1)
@click.option("-o", "--output", "target", metavar="TARGET", help="Keep the studies: NAME.db, NAME.log or a URL.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"The port. Default: {PORT}, or a free one if it is taken.")
@click.option("--metric", help="The metric, or several: loss,latency. Default: the experiment's own.")
@click.option("--mode", help="min or max, or one for each metric: min,max.")
def command(
    directories: tuple[str, ...], target: str | None, port: int | None, metric: str | None, mode: str | None
) -> None:
    """The command."""
    dashboard: Any = load("optuna_dashboard", "", "dashboard", "hpctune dashboard")
    from hpctune.analysis.objectives import objectives
    from hpctune.interop.export.dashboard import DashboardServer, Follower
    from hpctune.interop.export.storages import open_storage
    from hpctune.interop.export.study import StudyExport, study_names

    roots = dict.fromkeys(find.experiment(named).root for named in directories or (None,))
    experiments = [LoadedExperiment(root) for root in roots]
    chosen = [objectives(experiment, metric, mode) for experiment in experiments]
    chosen_port, progress = free_port(port), Progress(quiet=True)
    with tempfile.TemporaryDirectory(prefix="hpctune-dashboard-") as scratch:
        storage, _ = open_storage(target or f"{scratch}/studies.db")
        studies = [StudyExport(storage, name, force=target is None) for name in study_names(experiments)]
        paths = [experiment.paths for experiment in experiments]
        follower = Follower(list(zip(paths, studies, chosen, strict=True)))
        try:
            follower.bring_up_to_date(lambda done, of: progress.say(f"Writing trials ({done} of {of})"))
        finally:
            progress.clear()
        with DashboardServer(dashboard.wsgi(storage), chosen_port) as server:
            tell_address(count(len(studies), "experiment"), server.address, server.server_port)
            signal.signal(signal.SIGTERM, interrupt)
            follower.start()
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()
            follower.close()
