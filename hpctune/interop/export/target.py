"""Where an export goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpctune.errors import UsageError

Progress = Callable[[int, int], object]
"""Is told how many trials of how many are written."""


def is_url(text: str) -> bool:
    """Whether ``text`` is a URL, and not a path."""
    return "://" in text


def new_file(text: str, force: bool) -> Path:
    """The path of a file that is to be written. Raises UsageError if something is there, or it has no folder."""
    path = _path(text)
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file with -o.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists. Replace it with --force, or name another file with -o.")
    return path


def kept_file(text: str, begins: bytes, what: str) -> Path:
    """The path of a file that is added to. Raises UsageError if a file is there that does not begin with ``begins``."""
    path = _path(text)
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file with -o.")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(begins)) != begins:
                raise UsageError(f"{path} exists and is not {what}. Name another file with -o.")
    return path


def folder(text: str) -> Path:
    """The path of a folder that is added to. Raises UsageError if a file is there, or its own folder is missing."""
    path = _path(text)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file. Name a folder with -o.")
    return path


def _path(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}. Make it: mkdir -p {path.parent}")
    return path
