"""From a picture's numbers to a figure, and to a file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from hpctune.common import packages
from hpctune.errors import UsageError

STATIC = (".png", ".svg", ".pdf")
INTERACTIVE = (".html",)
DPI = 100


def figure(picture: object, *, interactive: bool = False) -> Any:
    """A matplotlib figure, or a plotly figure. Raises MissingPackageError without the package."""
    if interactive:
        packages.load("plotly", "", "plots", "An interactive picture")
        return import_module("hpctune.analysis.pictures.interactive").draw(picture)
    packages.load("matplotlib", "", "plots", "A picture")
    return import_module("hpctune.analysis.pictures.static").draw(picture)


def checked_file(name: str | Path) -> Path:
    """The file of a picture. Raises UsageError for another ending, and if there is no such folder."""
    file = Path(name).expanduser()
    if file.suffix.lower() not in (*STATIC, *INTERACTIVE):
        kinds = ", ".join((*STATIC, *INTERACTIVE))
        raise UsageError(f"{file} is not a picture's name. Use one of these endings: {kinds}.")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.absolute().parent}. Make it, or name another file.")
    return file


def save(picture: object, name: str | Path) -> Path:
    """Draw a picture into a file: ``.png``, ``.svg`` and ``.pdf`` with matplotlib; ``.html`` with plotly, in one file
    that needs no network."""
    file = checked_file(name)
    if file.suffix.lower() in INTERACTIVE:
        figure(picture, interactive=True).write_html(file, include_plotlyjs=True)
    else:
        figure(picture).savefig(file, dpi=DPI)
    return file
