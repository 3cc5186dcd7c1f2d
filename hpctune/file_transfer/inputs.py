"""What a run reads: copied from the driver's host before the worker begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hpctune.file_transfer.entry import Entry
from hpctune.file_transfer.orders import Orders
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.model.ids import RunKey
from hpctune.storage import bundle, ownership
from hpctune.storage.run_file import RunTail, checkpoints_before

_DEFINITION = ("experiment.json", "trainable.pkl")


def copy_inputs(server: Server, place: Place, orders: Orders, restarts: int) -> bool:
    """Copy everything that the worker reads. May be called again after an error: what is there stays.

    ``restarts``: how often Slurm has started the job again. Returns whether the user's project is a copy.
    """
    place.paths.root.mkdir(parents=True, exist_ok=True)
    if not orders.look():
        return False  # the trial is over: the worker finds no orders, and leaves
    there = server.entries(place.root)
    for name in _DEFINITION:
        if name in there:
            _get_if_new(server, f"{place.root}/{name}", place.experiment.root / name, there[name])
    if "objects" in there:
        server.get_tree(f"{place.root}/objects", place.experiment.objects)
    project = bundle.project(place.experiment)
    project = None if project is None or project.is_here else project
    _copy_code(server, place, [bundle.sources(place.experiment), None if project is None else project.archive])
    inside = server.entries(place.trial)
    if place.attempt > 1 or restarts:
        _copy_own_files(server, place, inside)
    if project is not None:
        project.unpack(place.experiment, place.paths)
    copy_earlier_runs(server, place, restarts, orders.trial_id, inside)
    return project is not None


def _copy_code(server: Server, place: Place, names: Iterable[str | None]) -> None:
    """Copy these archives of the user's code. There are also those of earlier versions."""
    place.experiment.code.mkdir(exist_ok=True)
    for name in filter(None, names):
        source = f"{place.root}/code/{name}"
        _get_if_new(server, source, place.experiment.code / name, server.entry(source))


def copy_earlier_runs(
    server: Server, place: Place, restarts: int, trial_id: str, inside: dict[str, Entry] | None = None
) -> None:
    """Copy the run files of this attempt, and the checkpoint from which the next run would start.

    ``inside``: what is in the trial's directory there.
    """
    inside = server.entries(place.trial) if inside is None else inside
    restart = 0
    while restart <= restarts and (name := place.run_name(restart)) in inside:
        _get_if_new(server, f"{place.trial}/{name}", place.paths.root / name, inside[name])
        restart += 1
    last = RunKey(trial_id, place.attempt, restart - 1)
    earlier = RunTail(place.paths.run(last.attempt, last.restart), last).read() if restart else []
    names = checkpoints_before(RunKey(trial_id, place.attempt, restart), earlier)
    chosen = next((name for name in names if name in inside), None)
    if chosen is not None:
        server.get_directory(f"{place.trial}/{chosen}", place.paths.checkpoint(chosen))


def _copy_own_files(server: Server, place: Place, inside: dict[str, Entry]) -> None:
    """Copy what earlier attempts of the trial have written beside hpctune's files."""
    outputs = {Path(place.stdout).name, Path(place.stderr).name}
    for name, entry in inside.items():
        if ownership.is_name_of_ours(name) or name in outputs:
            continue
        if entry.is_directory:
            server.get_tree(f"{place.trial}/{name}", place.paths.root / name)
        elif not entry.is_link:
            _get_if_new(server, f"{place.trial}/{name}", place.paths.root / name, entry)


def _get_if_new(server: Server, source: str, target: Path, entry: Entry) -> None:
    if not (target.is_file() and target.stat().st_size == entry.size):
        server.get(source, target, entry)
