"""Brings a mirrored experiment here: all of it to go on with, or as much as is needed to look at it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hpctune.common import urls
from hpctune.common.log import log, show_messages
from hpctune.common.text import size
from hpctune.errors import NotAnExperimentError, StorageError, TuneError
from hpctune.mirror import files
from hpctune.mirror.manifest import NAME, Entry, Manifest
from hpctune.mirror.options import COPY_OF, copy_of, rest_of
from hpctune.mirror.pool import side_by_side
from hpctune.mirror.target import Remote
from hpctune.storage import spec_file
from hpctune.storage.layout import CHECKPOINT_PREFIX, ExperimentPaths

AT_ONCE = 8
PATIENCE = 5
"""How often a list is read again because files do not agree with it: a pass is going on."""
PAUSE_S = 1.0
TELL_AFTER_S, TELL_EVERY_S = 3.0, 10.0
"""Seconds after which it is said how much has been brought, and then between two such lines."""
_WHOLE = frozenset({"driver.pkl", "experiment.json", "trainable.pkl"})

Wanted = Callable[[str], bool]


class Source(Protocol):
    """Where an experiment is read from. Its methods raise StorageError if they fail."""

    url: str

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if it is not there."""

    def get(self, name: str, path: Path, size: int | None) -> None:
        """Copy the first ``size`` bytes of a file to a local one; None: all of them."""


def everything(name: str) -> bool:
    """All files."""
    return True


def without_checkpoints(name: str) -> bool:
    """What is needed to look at an experiment."""
    return f"/{CHECKPOINT_PREFIX}" not in f"/{name}"


def fetch(url: str, directory: Path, wanted: Wanted = everything, *, filesystem: Any = None) -> Manifest:
    """Bring the files of the mirror at ``url`` into ``directory``: see :func:`fetch_from`."""
    return fetch_from(Remote(url, filesystem), directory, wanted)


def fetch_from(remote: Source, directory: Path, wanted: Wanted = everything, *, at_once: int = AT_ONCE) -> Manifest:
    """Bring the wanted files of an experiment into ``directory``, and see that they are as its list says.

    Files that are there already, with the right size and checksum, are left as they are. experiment.json comes last.
    A pass may have died after it wrote some files again without which the experiment is whole, such as logs: these are
    taken as they are now.
    ``at_once``: files that are copied side by side. Returns the list. Raises NotAnExperimentError if there is no
    experiment, StorageError.
    """
    for attempt in range(PATIENCE):
        manifest = read_manifest(remote)
        chosen = {name: entry for name, entry in manifest.files.items() if wanted(name)}
        with _telling(remote.url, directory, chosen):
            wrong = _bring(remote, directory, chosen, at_once)
            if attempt and wrong and not any(_must_agree(name) for name in wrong):
                _take(remote, directory, wrong)
                wrong = _bring(remote, directory, {n: e for n, e in chosen.items() if n not in wrong}, at_once)
        if not wrong:
            _remove_others(directory, manifest)
            return manifest
        if attempt + 1 < PATIENCE:
            time.sleep(PAUSE_S * 2**attempt)
    raise StorageError(f"{remote.url}/{wrong[0]} is not as the mirror's list says. Try again after its next pass.")


def fetch_tree(place: str, directory: Path, filesystem: Any = None) -> None:
    """Bring all files below ``place`` into ``directory``. Raises StorageError if there is none."""
    remote = Remote(urls.plain(place), filesystem)
    found = {name: Entry(bytes_, 0) for name, bytes_ in remote.files().items()}
    if not found:
        raise StorageError(f"There is nothing at {remote.url}.")

    def one(name: str) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        remote.get(name, directory / name, None)

    show_messages()
    with _telling(remote.url, directory, found):
        for _ in side_by_side(one, list(found), AT_ONCE, "hpctune-fetch"):
            pass


def read_manifest(remote: Source) -> Manifest:
    """The list of what a mirror holds. Raises NotAnExperimentError if there is none."""
    text = remote.read(NAME)
    if text is None:
        raise NotAnExperimentError(f"{remote.url} is not an experiment: there is no {NAME}.")
    return Manifest.from_json(text)


def _bring(remote: Source, directory: Path, chosen: dict[str, Entry], at_once: int) -> list[str]:
    """Copy what is not here. Returns the files that do not agree with their entries."""
    last = [name for name in chosen if name == "experiment.json"]
    others = [name for name in chosen if name not in last]
    wrong: list[str] = []

    def one(name: str) -> str | None:
        path, entry = directory / name, chosen[name]
        if _is_here(path, entry):
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(path)
        try:
            remote.get(name, draft, entry.size)
            if not _is_here(draft, entry):
                return name
            draft.replace(path)
        except StorageError:
            if _is_gone(remote, name):
                return name
            raise
        finally:
            draft.unlink(missing_ok=True)
        return None

    for group in (others, last):
        wrong += [bad for bad in side_by_side(one, group, at_once, "hpctune-fetch") if bad is not None]
        if wrong:
            break
    return wrong


def _draft(path: Path) -> Path:
    """Where a file is until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextlib.contextmanager
def _telling(url: str, directory: Path, chosen: Mapping[str, Entry]) -> Iterator[None]:
    """In this context, say now and then how much is there, if it takes long."""
    ended, whole = threading.Event(), sum(entry.size for entry in chosen.values())

    def tell() -> None:
        pause = TELL_AFTER_S
        while not ended.wait(pause):
            pause = TELL_EVERY_S
            here = 0
            for name in chosen:
                for path in (directory / name, _draft(directory / name)):
                    with contextlib.suppress(OSError):
                        here += path.stat().st_size
            log.info(f"Bringing {url}: {size(min(here, whole))} of {size(whole)}.")

    threading.Thread(target=tell, name="hpctune-fetch-tell", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _must_agree(name: str) -> bool:
    """Whether a search cannot go on without this file as the list says: the journal and what its events name."""
    return name in _WHOLE or name.startswith("journal/") or files.never_changes(name)


def _take(remote: Source, directory: Path, names: list[str]) -> None:
    """Copy files as they are now. Those that are not there are left out."""
    for name in names:
        if not _is_gone(remote, name):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            remote.get(name, directory / name, None)


def _is_gone(remote: Source, name: str) -> bool:
    """Whether a file has been removed since the list was read."""
    text = remote.read(NAME)
    return text is not None and name not in Manifest.from_json(text).files


def _is_here(path: Path, entry: Entry) -> bool:
    try:
        return path.stat().st_size == entry.size and files.checksum(path, entry.size) == entry.crc
    except (OSError, EOFError):
        return False


def _remove_others(directory: Path, manifest: Manifest) -> None:
    """Remove checkpoints that the mirror no longer has."""
    for path in directory.glob(f"*/{CHECKPOINT_PREFIX}*/**/*"):
        if path.is_file() and str(path.relative_to(directory)) not in manifest.files:
            path.unlink()
    for checkpoint in directory.glob(f"*/{CHECKPOINT_PREFIX}*"):
        with contextlib.suppress(OSError):
            checkpoint.rmdir()


_filesystems: dict[Path, Any] = {}
"""By the directories of experiments that this process brought to look at: the filesystems that they came from."""


def readable(url: str, filesystem: Any = None) -> ExperimentPaths:
    """A local copy of the experiment at ``url``, without its checkpoints, to look at; brought up to date.

    It is in the user's cache directory. Raises NotAnExperimentError, StorageError.
    """
    url = urls.plain(urls.public(url))
    return _look(url, _cache_of(url), filesystem)


def readable_all(url: str, filesystem: Any = None) -> Path:
    """A directory with such copies of all experiments at ``url``. Raises NotAnExperimentError if there is none."""
    url = urls.plain(urls.public(url))
    directory, names = _cache_of(url), copies_in(url, filesystem)
    if not names:
        raise NotAnExperimentError(f"{url} is not an experiment, and contains none: there is no {NAME}.")
    for known in directory.iterdir() if directory.is_dir() else ():
        if known.name not in names:
            shutil.rmtree(known, ignore_errors=True)
    for name in names:
        _look(urls.below(url, name), directory / name, filesystem)
    return directory


def copies_in(url: str, filesystem: Any = None) -> list[str]:
    """The names of the directories at ``url`` that are copies of experiments. Raises StorageError."""
    remote = Remote(urls.plain(url), filesystem)
    names = remote.directories()

    def one(name: str) -> str:
        return name if remote.read(f"{name}/{NAME}") is not None else ""

    return sorted(filter(None, side_by_side(one, names, AT_ONCE, "hpctune-fetch")))


def _cache_of(url: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hpctune" / "mirrors"
    return cache / hashlib.sha256(url.encode()).hexdigest()[:16] / urls.last_name(url)


def _look(url: str, directory: Path, filesystem: Any) -> ExperimentPaths:
    """Bring an experiment up to date in ``directory``, without its checkpoints."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths, before = ExperimentPaths(directory), ""
    with contextlib.suppress(TuneError, OSError):
        before = spec_file.read(paths).experiment_id
    there = fetch(url, directory, without_checkpoints, filesystem=filesystem)
    if before not in ("", there.experiment_id):  # another experiment has this name now
        for checkpoint in directory.glob(f"*/{CHECKPOINT_PREFIX}*"):
            shutil.rmtree(checkpoint, ignore_errors=True)
    (directory / COPY_OF).write_text(url)
    _filesystems[directory] = filesystem
    return paths


def bring_checkpoint(path: Path) -> None:
    """Bring the checkpoint whose directory would be ``path``, if it belongs to an experiment that was brought without
    it. It is there as a whole or not at all. Raises StorageError."""
    root = path.parent.parent
    url = copy_of(root) or rest_of(root)
    if path.exists() or url is None or not path.name.startswith(CHECKPOINT_PREFIX):
        return
    name = f"{path.parent.name}/{path.name}"
    draft = Path(tempfile.mkdtemp(dir=root, prefix=".bringing."))
    show_messages()
    try:
        fetch(url, draft, lambda each: each.startswith(f"{name}/"), filesystem=_filesystems.get(root))
        if (draft / name).is_dir():
            path.parent.mkdir(exist_ok=True)
            with contextlib.suppress(OSError):  # another has brought it meanwhile
                (draft / name).rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
