"""One place to put files into: a folder, a tar archive or a zip archive, on a disk or at a URL."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
import tempfile
import time
import uuid
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from hpctune.common import urls
from hpctune.errors import StorageError, UsageError
from hpctune.interop.export.target import folder, is_url, new_file
from hpctune.mirror.target import opened
from hpctune.storage.tree_copy import copy_tree

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")
"""Endings of archives."""


class Packing(ABC):
    """Takes files. Names are relative, with slashes; the first part is the one folder that an archive holds."""

    @abstractmethod
    def text(self, name: str, text: str) -> None:
        """Add a file with this text."""

    @abstractmethod
    def tree(self, name: str, source: Path) -> None:
        """Add a file, or a directory with all that is in it. Links that point inside stay links where there are any."""


class _Folder(Packing):
    def __init__(self, root: Path) -> None:
        self._root = root

    def text(self, name: str, text: str) -> None:
        self._place(name).write_text(text, errors="surrogateescape")

    def tree(self, name: str, source: Path) -> None:
        place = self._place(name)
        if source.is_file():
            shutil.copy2(source, place)
            return
        place.mkdir()
        copy_tree(source, place)

    def _place(self, name: str) -> Path:
        place = self._root / name.partition("/")[2]  # the folder itself has the user's name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class _Tar(Packing):
    def __init__(self, file: tarfile.TarFile) -> None:
        self._file = file

    def text(self, name: str, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        member = tarfile.TarInfo(name)
        member.size, member.mtime = len(data), int(time.time())
        self._file.addfile(member, io.BytesIO(data))

    def tree(self, name: str, source: Path) -> None:
        self._file.add(source, name, filter=_without_owner)


class _Zip(Packing):
    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file

    def text(self, name: str, text: str) -> None:
        self._file.writestr(name, text.encode(errors="surrogateescape"))

    def tree(self, name: str, source: Path) -> None:
        if source.is_file():
            self._file.write(source, name)
            return
        for path in (source, *sorted(source.rglob("*"))):
            self._file.write(path, f"{name}/{path.relative_to(source)}")


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The names of users and groups of one site say nothing elsewhere."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def ending(target: str) -> str | None:
    """The ending of an archive's name; None if ``target`` names a folder."""
    name = urls.last_name(target).lower()
    return next((each for each in sorted(ARCHIVES, key=len, reverse=True) if name.endswith(each)), None)


@contextlib.contextmanager
def packing(target: str, force: bool) -> Iterator[Packing]:
    """A place to put files into, which appears as ``target`` when all are there, and not at all if that fails.

    ``target``: a path or a URL of an archive, or the path of a folder. ``force``: replace what is there.

    Raises UsageError if the target cannot be, StorageError if it cannot be written.
    """
    kind = ending(target)
    if is_url(target) and not target.startswith("file://"):
        if kind is None:
            raise UsageError(
                f"{urls.public(target)} names no archive. At a URL it must end with one of: {', '.join(ARCHIVES)}."
            )
        with _uploaded(target, force) as here, _archive(here, kind) as place:
            yield place
        return
    path = target.removeprefix("file://")
    final = _new_folder(path, force) if kind is None else new_file(path, force)
    draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if kind is None:
            draft.mkdir()
            yield _Folder(draft)
            if final.exists():
                shutil.rmtree(final)
        else:
            with _archive(draft, kind) as place:
                yield place
        draft.rename(final)
    except OSError as error:
        raise StorageError(f"{final} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)


def _new_folder(path: str, force: bool) -> Path:
    place = folder(path)
    if not place.exists() or not any(place.iterdir()):
        return place
    if not force:
        raise UsageError(f"{place} is not empty. Name another folder, or replace it with --force.")
    if not (place / "README.md").is_file() or not (place / "trials.csv").is_file():
        raise UsageError(f"{place} is no export of an experiment, so it is not replaced. Name another folder.")
    return place


@contextlib.contextmanager
def _archive(path: Path, kind: str) -> Iterator[Packing]:
    if kind == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            yield _Zip(zipped)
        return
    compression = {".tar": "", ".tar.xz": "xz"}.get(kind, "gz")
    with tarfile.open(path, f"w:{compression}") as file:  # type: ignore[call-overload]
        yield _Tar(file)


@contextlib.contextmanager
def _uploaded(url: str, force: bool) -> Iterator[Path]:
    """A file that is then written to ``url``."""
    filesystem, place = opened(url)
    url = urls.public(url)
    try:
        if filesystem.exists(place) and not force:
            raise UsageError(f"{url} exists. Replace it with --force, or name another archive.")
        with tempfile.TemporaryDirectory(prefix="hpctune-export-") as directory:
            here = Path(directory, "archive")
            yield here
            filesystem.put_file(str(here), place)
    except OSError as error:
        raise StorageError(
            f"{url} cannot be written: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
