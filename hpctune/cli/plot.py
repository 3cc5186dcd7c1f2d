"""``hpctune plot``: one picture of an experiment, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpctune.analysis.pictures import curves, importance, parameters, pareto
from hpctune.analysis.pictures.trials import PlotData, of_view
from hpctune.analysis.pictures.write import checked_file, save
from hpctune.cli import find
from hpctune.errors import UsageError
from hpctune.storage.reader import read_experiment

_FLAGS = ("history", "curves", "importance", "parallel", "slice")


@click.command(
    "plot",
    epilog="Example: hpctune plot mnist --contour lr net/width -o lr-width.png",
    help="Draw one picture of an experiment; without a choice: --history. The file's name says how: .png, .svg and "
    ".pdf are drawn by matplotlib; .html by plotly, as one interactive page that needs no network (both: pip install "
    f"'hpctune[plots]'). `hpctune timeline --gantt` draws allocations, `hpctune html` all pictures.\n\n{find.DIR_HELP}",
)
@find.dir_argument
@click.option("--history", is_flag=True, help="The best value so far.")
@click.option("--curves", is_flag=True, help="The learning curve of each trial, with early stops.")
@click.option("--importance", is_flag=True, help="How much of the metric each parameter explains.")
@click.option("--parallel", is_flag=True, help="Parallel coordinates: a line for each trial through its parameters.")
@click.option("--slice", is_flag=True, help="The metric against each parameter.")
@click.option("--contour", nargs=2, metavar="A B", help="The metric over two parameters.")
@click.option("--pareto", nargs=2, metavar="M1 M2", help="The trials by two metrics, and their Pareto front.")
@click.option("-o", "--output", metavar="FILE", help="The file to write. Default: NAME-PICTURE.png in this directory.")
@click.option("--metric", help="The metric to show. Default: the experiment's own.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which values of --metric are better.")
@click.option(
    "--modes",
    nargs=2,
    type=click.Choice(["min", "max"]),
    metavar="MODE MODE",
    help="With --pareto: which values of the first and of the second metric are better.",
)
@click.option("--param", "params", multiple=True, metavar="NAME", help="Show only these parameters; repeat it.")
@click.option(
    "--by", type=click.Choice(curves.BY), default="trials", show_default=True, help="With --history: what goes across."
)
@click.option("--step", default=curves.STEP, show_default=True, metavar="NAME", help="With --curves: what goes across.")
def command(directory: str | None, output: str | None, **options: Any) -> None:
    """The command."""
    kind = _chosen(options)
    _fits(kind)
    file = checked_file(output) if output is not None else None
    paths = find.experiment(directory)
    data = of_view(read_experiment(paths.root, with_rows=True))
    picture = _picture(kind, data, options)
    saved = save(picture, file or Path(f"{paths.root.name}-{kind}.png"))
    click.echo(str(saved))


def _chosen(options: dict[str, Any]) -> str:
    chosen = [name for name in (*_FLAGS, "contour", "pareto") if options[name]]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)} are several pictures. Choose one; `hpctune html` shows all.")
    return chosen[0] if chosen else "history"


_ONLY = {
    "by": ("history",),
    "step": ("curves",),
    "modes": ("pareto",),
    "params": ("importance", "parallel", "slice"),
    "metric": ("history", "curves", "importance", "parallel", "slice", "contour"),
    "mode": ("history", "curves", "parallel"),
}
"""The pictures that an option means something to."""


def _fits(kind: str) -> None:
    ctx = click.get_current_context()
    for name, kinds in _ONLY.items():
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and kind not in kinds:
            option = "--param" if name == "params" else f"--{name}"
            raise UsageError(f"{option} says nothing about --{kind}. It belongs to: --{', --'.join(kinds)}.")


def _picture(kind: str, data: PlotData, options: dict[str, Any]) -> object:
    metric, mode, params = options["metric"], options["mode"], options["params"]
    match kind:
        case "curves":
            return curves.learning_curves(data, metric, mode, options["step"])
        case "importance":
            return importance.importance(data, metric, params)
        case "parallel":
            return parameters.parallel(data, metric, mode, params)
        case "slice":
            return parameters.slices(data, metric, params)
        case "contour":
            x, y = options["contour"]
            return parameters.surface(data, x, y, metric)
        case "pareto":
            return pareto.pareto(data, options["pareto"], options["modes"] or ())
        case _:
            return curves.history(data, metric, mode, options["by"])
