"""``hpctune note``: remarks of people on an experiment or a trial, kept beside its files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from hpctune.cli import find
from hpctune.common.text import quoted
from hpctune.errors import UsageError
from hpctune.storage.layout import NOTE
from hpctune.storage.reader import read_experiment


@click.command(
    "note",
    epilog='Example: hpctune note ~/hpctune_results/mnist "the learning rates were too high"',
    help="Add TEXT with the date to the notes of an experiment, or of one of its trials. Without TEXT: show them all."
    f"\n\nThe notes are in the file {NOTE} of its directory.\n\n" + find.DIR_HELP,
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("--trial", "named", metavar="TRIAL", help="A note on this trial.")
@click.option("--edit", is_flag=True, help="Edit the notes with your editor ($VISUAL, $EDITOR).")
def command(directory: str | None, words: tuple[str, ...], named: str | None, edit: bool) -> None:
    """The command."""
    paths = find.own_experiment(directory)
    state = read_experiment(paths.root).state
    places = {trial.trial_id: paths.root / trial.dirname / NOTE for trial in state.trials.values()}
    path = paths.root / NOTE if named is None else places[find.trial(paths, state.trials, named).trial_id]
    text = " ".join(words).strip()
    if text and edit:
        raise UsageError("--edit opens an editor, so it takes no TEXT. Leave one of them out.")
    if edit:
        path.touch()
        click.edit(filename=str(path))
    elif text:
        add_note(path, text)
        click.echo(f"Noted in {path}.")
    else:
        shown = {"": path, **({} if named is not None else places)}
        _show({name: each.read_text().rstrip() for name, each in shown.items() if each.is_file()}, paths.root)


def add_note(path: Path, text: str) -> None:
    """Append a note, with the time and the user's name."""
    who = os.environ.get("USER") or str(os.geteuid())
    with path.open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M')} {who}: {text}\n")


def _show(notes: dict[str, str], root: Path) -> None:
    if not notes:
        click.echo(f"There are no notes yet. Add one: hpctune note {quoted(root)} TEXT")
    for name, text in notes.items():
        click.echo(f"{name}:\n{text}" if name else text)
