"""``Mirror``: brings a copy of an experiment up to date, in passes that can be interrupted anywhere.

A pass looks at the journal first and copies it last but one; the list of what is there (:mod:`.manifest`) is last. What
the list names is complete, and belongs to one moment: the journal's events up to there, and every checkpoint that they
name. Files that are no longer needed are removed after the new list is written. A pass that dies leaves the former list
and files that the next pass takes over.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from hpctune.common import urls
from hpctune.common.log import log
from hpctune.common.text import quoted
from hpctune.errors import StorageError, TuneError, UsageError
from hpctune.mirror import files, status
from hpctune.mirror.files import LocalFile
from hpctune.mirror.manifest import NAME, Entry, Manifest
from hpctune.mirror.occupant import ASK_S, occupant, occupant_soon
from hpctune.mirror.options import MirrorOptions, is_inside
from hpctune.mirror.pool import side_by_side
from hpctune.mirror.target import Remote, copier
from hpctune.storage import atomic, spec_file
from hpctune.storage.copy_guard import CopyGuard
from hpctune.storage.layout import ExperimentPaths

AT_ONCE = 4
"""Files that are copied side by side."""
TRIES = 5
"""How often a pass begins again because files were removed meanwhile."""
SAVE_EVERY = 200
"""Files after which the state of a pass is saved."""
BEGUN = ".begun"
"""The file that a place has until it has its first list."""
SNAPSHOT = ".mirror"
"""The directory of the copy that users' own means get."""

_ANOTHER_PLACE = "Choose another: hpctune sync DIR PLACE, or upload_dir."


@dataclass(slots=True)
class Progress:
    """How far a pass is: ``files`` of ``of_files`` are there; of these it has copied ``copied``, of ``bytes`` bytes."""

    files: int = 0
    of_files: int = 0
    copied: int = 0
    bytes: int = 0


class Interrupted(Exception):
    """The pass was told to end."""


class Mirror:
    """The mirror of one experiment. ``guard``: its driver's, if that is in this process. ``url``: the copy itself, if
    it has another name. ``stopped``: ends a pass early, between two files."""

    def __init__(
        self,
        paths: ExperimentPaths,
        experiment_id: str,
        options: MirrorOptions,
        guard: CopyGuard | None = None,
        url: str | None = None,
    ) -> None:
        self.paths, self.options, self._guard = paths, options, guard or CopyGuard()
        self.url = options.of(paths.root.name) if url is None else urls.plain(urls.public(url))
        self.progress = Progress()
        self.stopped = threading.Event()
        self._id = experiment_id
        self._copy = copier(options)
        self._remote: Remote | None = None
        self._token = 0.0
        self._unneeded: set[str] = set()
        told = status.read(paths)
        self._is_ours = told is not None and told.url == self.url and told.complete_at > 0
        """Whether own means have brought this experiment there before."""

    def sync(self) -> Manifest:
        """One pass. Returns what is in the mirror now. Raises StorageError, UsageError, Interrupted."""
        if self.options.filesystem is None and is_inside(self.paths.root, self.url):
            raise StorageError(f"{self.url} is the experiment's own directory, not another place. {_ANOTHER_PLACE}")
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError, EOFError):  # removed meanwhile: look again
                return self._by_means() if self._copy is not None else self._by_files()
        raise StorageError(f"The files of {self.paths.root} change faster than they can be copied to {self.url}.")

    # -- by a filesystem ------------------------------------------------------------------------------------------

    def _by_files(self) -> Manifest:
        if self._remote is None:
            self._remote = Remote(self.url, self.options.filesystem)
        remote = self._remote
        remote.forget()
        if not self._token and remote.read(self.paths.lease.name) is not None:
            raise StorageError(f"{self.url} is an experiment's own directory, not a copy. {_ANOTHER_PLACE}")
        self._token, known = self._look(remote)
        copied = {**known.files, **self._saved(self._token)}
        with self._guard.copying(self._listed) as now:
            return self._update(remote, known, copied, now)

    def _listed(self) -> list[LocalFile]:
        return files.listed(self.paths, artifacts=self.options.artifacts)

    def _update(self, remote: Remote, known: Manifest, copied: dict[str, Entry], now: list[LocalFile]) -> Manifest:
        """Bring the mirror up to what there is ``now``. ``known``: its list; ``copied``: with what passes that did not
        end have copied since."""
        fresh = Manifest(self._id, time.time(), {})
        todo = [one for one in now if not _unchanged(one, copied.get(one.name))]
        names = {one.name for one in todo}
        fresh.files.update({one.name: copied[one.name] for one in now if one.name not in names})
        self.progress = Progress(of_files=len(todo))
        before, journal = [o for o in todo if not o.is_journal], [o for o in todo if o.is_journal]
        self._put(remote, before, copied, fresh)
        self._put(remote, journal, copied, fresh)
        if fresh.files == known.files and known.made_at:
            return known
        if self._look(remote)[0] != self._token:
            raise StorageError(f"{self.url} is another place than when the copying began.")
        remote.write(NAME, fresh.to_json())
        self._token = fresh.made_at
        self._save(fresh.files)
        self._unneeded |= copied.keys() - fresh.files.keys() | (set() if known.made_at else {BEGUN})
        for name in sorted(self._unneeded - fresh.files.keys()):
            remote.remove(name)
            self._unneeded.discard(name)
        return fresh

    def _look(self, remote: Remote) -> tuple[float, Manifest]:
        """A number that only this place has, and its list of what is there.

        The place may be another one than before: a filesystem is not mounted, or somebody has removed everything. Then
        it must not be taken for granted that what was copied is there. Hence the number: when the list that is there
        was made, or of a copy that has no list yet, when it was begun.
        """
        text = remote.read(NAME)
        if text is None:
            token = _number(remote.read(BEGUN))
            if token is None:
                if self._token:
                    log.warning(f"What was at {self.url} is no longer there. Everything is copied again.")
                token = time.time()
                remote.write(BEGUN, repr(token))
            return token, Manifest(self._id, 0.0, {})
        known = Manifest.from_json(text)
        if known.experiment_id != self._id:
            if (former := self._set_aside(known.experiment_id)) is not None:
                self._move_aside(remote, known, former)
                return self._look(remote)
            raise StorageError(_held(self.url, known.experiment_id))
        return known.made_at, known

    def _set_aside(self, experiment_id: str) -> ExperimentPaths | None:
        """The experiment with this id, if it had this one's name and was given another when this one began."""
        found = [path for path in of_this_name(self.paths.root, experiment_id) if path != self.paths.root]
        return ExperimentPaths(found[0]) if found else None

    def _move_aside(self, remote: Remote, known: Manifest, former: ExperimentPaths) -> None:
        """Give the copy of a former experiment of this name the name that the experiment itself has now."""
        there = Remote(self.options.of(former.root.name), self.options.filesystem)
        if (text := there.read(NAME)) is not None and Manifest.from_json(text).experiment_id != known.experiment_id:
            raise StorageError(f"{there.url} holds another experiment. Remove it, or choose another name.")

        def one(name: str) -> None:
            if self.stopped.is_set():
                raise Interrupted
            remote.move(name, there)

        for _ in side_by_side(one, list(known.files), AT_ONCE, "hpctune-mirror"):
            pass
        if text is None:
            there.write(NAME, known.to_json())
        remote.remove(NAME)
        if (told := status.read(former)) is not None:
            status.write(former, replace(told, url=there.url))
        log.info(f"The copy of the former experiment is now {there.url}.")

    @property
    def _here(self) -> str:
        return f"{self._id} {self.url}"

    def _saved(self, token: float) -> dict[str, Entry]:
        """What a pass that did not end had copied to the place with this number."""
        with contextlib.suppress(OSError, StorageError):
            saved = Manifest.from_json((self.paths.root / NAME).read_bytes())
            return saved.files if (saved.experiment_id, saved.made_at) == (self._here, token) else {}
        return {}

    def _put(self, remote: Remote, todo: list[LocalFile], copied: dict[str, Entry], fresh: Manifest) -> None:
        """Copy files, AT_ONCE side by side."""

        def one(file: LocalFile) -> int | None:
            if self.stopped.is_set():
                raise Interrupted
            before = copied.get(file.name)
            crc = files.checksum(file.path, file.size)
            changed = before is None or (before.size, before.crc) != (file.size, crc)
            if changed:
                remote.put(file.path, file.name, file.size)
            fresh.files[file.name] = Entry(file.size, crc, file.seen)
            return file.size if changed else None

        try:
            for size in side_by_side(one, todo, AT_ONCE, "hpctune-mirror"):
                self.progress.files += 1
                self.progress.copied += size is not None
                self.progress.bytes += size or 0
                if self.progress.files % SAVE_EVERY == 0:
                    self._save({**copied, **fresh.files})
        except BaseException:  # so that the next pass goes on from here
            self._save({**copied, **fresh.files})
            raise

    def _save(self, copied: dict[str, Entry]) -> None:
        """Note on this machine what has been copied, for a pass that takes over from this one."""
        with contextlib.suppress(OSError):
            atomic.write(self.paths.root / NAME, Manifest(self._here, self._token, copied).to_json())

    # -- by a user's own means ------------------------------------------------------------------------------------

    def _by_means(self) -> Manifest:
        """Make a copy of this moment, of links where files do not change, and let the user's means bring it there."""
        assert self._copy is not None
        if self.stopped.is_set():
            raise Interrupted
        if not self._is_ours:
            self._make_way()
        with self._guard.copying(self._listed) as now:
            fresh = self._snapshot_of(now)
        self._copy(str(self._snapshot), self.url)
        self._is_ours = True
        self.progress = Progress(len(now), len(now), len(now), fresh.bytes)
        return fresh

    def _make_way(self) -> None:
        """Bring a former experiment of this name to the name that it has now. Raises StorageError if another one is
        there."""
        other = occupant(self.options, self.url)
        if other in (None, self._id):
            return
        former = self._set_aside(str(other))
        if former is None:
            raise StorageError(_held(self.url, str(other)))
        aside = Mirror(former, str(other), self.options)
        aside.sync()
        discard_snapshot(former)
        log.info(f"The copy of the former experiment is now {aside.url}.")

    @property
    def _snapshot(self) -> Path:
        return self.paths.root / SNAPSHOT / self.paths.root.name

    def _snapshot_of(self, now: list[LocalFile]) -> Manifest:
        """Make the copy of this moment."""
        self.progress = Progress(of_files=len(now))
        fresh = Manifest(self._id, time.time(), {})
        place = self._snapshot
        wanted = {one.name for one in now} | {NAME}
        _remove_others(place, wanted)
        for one in now:
            _provide(one, place / one.name)
            fresh.files[one.name] = Entry(one.size, files.checksum(place / one.name, one.size), one.seen)
        (place / NAME).write_text(fresh.to_json())
        return fresh


def of_this_name(root: Path, experiment_id: str) -> list[Path]:
    """Where the experiment with this id is, if it has the name of ``root`` or had it until another one began."""
    found = []
    for path in (root, *root.parent.glob(f"{glob.escape(root.name)}_*")):
        with contextlib.suppress(TuneError, OSError):
            if spec_file.read(ExperimentPaths(path)).experiment_id == experiment_id:
                found.append(path)
    return found


def check_unoccupied(options: MirrorOptions, root: Path) -> None:
    """Raise UsageError if the copy of a new experiment in ``root`` could not be made, because the place holds the copy
    of another one, that is not here; or if the place is itself such a copy. A place that does not answer is no reason.
    """
    url, until = options.of(root.name), time.monotonic() + ASK_S
    if (other := occupant_soon(options, url, ASK_S)) is not None and not of_this_name(root, other):
        command = f"hpctune resume {quoted(url)}, or " if options.means == "auto" and options.filesystem is None else ""
        raise UsageError(
            f"{_held(url, other)} To go on with it here: {command}resume='REMOTE' (--resume REMOTE) with the script."
        )
    left_s = until - time.monotonic()
    if options.means == "auto" and left_s > 0 and occupant_soon(options, options.place, left_s) is not None:
        raise UsageError(
            f"{options.place} is itself the copy of an experiment. Name the directory that it is in: "
            f"{urls.parent(options.place)}"
        )


def _held(url: str, experiment_id: str) -> str:
    return f"{url} holds another experiment ({experiment_id}). Choose another place or name, or remove what is there."


def _number(text: bytes | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _unchanged(file: LocalFile, entry: Entry | None) -> bool:
    return entry is not None and (entry.size, entry.seen) == (file.size, file.seen)


def _provide(file: LocalFile, place: Path) -> None:
    """Put a file of this moment at ``place``: a link if it is never changed, else a copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if files.never_changes(file.name):
        with contextlib.suppress(FileExistsError):
            os.link(file.path, place)
            return
        if place.stat().st_ino == file.seen[1]:
            return
        place.unlink()
        os.link(file.path, place)
        return
    with Path(file.path).open("rb") as source, place.open("wb") as sink:
        sink.writelines(files.blocks(source, file.size))


def _remove_others(place: Path, wanted: set[str]) -> None:
    """Remove what an earlier copy has and this one has not."""
    if not place.is_dir():
        return
    for directory, _, names in os.walk(place, topdown=False):
        for name in names:
            path = Path(directory, name)
            if str(path.relative_to(place)) not in wanted:
                path.unlink()
        with contextlib.suppress(OSError):
            Path(directory).rmdir()


def discard_snapshot(paths: ExperimentPaths) -> None:
    """Remove the copy that users' own means got."""
    shutil.rmtree(paths.root / SNAPSHOT, ignore_errors=True)
