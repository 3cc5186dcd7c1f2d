"""Follows a journal, or an experiment: reads what was added since the last look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hpctune.core.state import ExperimentState
from hpctune.errors import StorageError
from hpctune.model.events import Recorded
from hpctune.storage import codec, spec_file, values
from hpctune.storage.journal import segments
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import ExperimentView, note_row, unfolded


class JournalFollower:
    """Reads the events of the journal in ``directory``, each once.

    A driver that was replaced may have written lines that do not count. If they are read before the new driver's first
    line says so, they stay.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segment: Path | None = None
        self._offset = 0
        self._names: list[str] = []
        """The segments of which something was read."""

    def new(self) -> Iterator[Recorded]:
        """The events that were added since the last call. Raises StorageError if they cannot be read."""
        for path, limit in segments(self._directory):
            if self._segment is not None and path.name < self._segment.name:
                continue
            if self._segment is None or path.name > self._segment.name:
                self._segment, self._offset = path, 0
                self._names.append(path.name)
            yield from self._read(path, limit)

    def valid(self) -> bool:
        """Whether all that was read is still the beginning of the journal: no segment was removed, changed or cut."""
        known = {path.name: (path, limit) for path, limit in segments(self._directory)}
        if self._names != list(known)[: len(self._names)]:
            return False
        if self._segment is None:
            return True
        path, limit = known[self._segment.name]
        try:
            size = path.stat().st_size
        except OSError:
            return False
        return self._offset <= (size if limit is None else min(limit, size))

    def _read(self, path: Path, limit: int | None) -> Iterator[Recorded]:
        try:
            with path.open("rb") as file:
                trusted = values.trusted(os.fstat(file.fileno()))
                file.seek(self._offset)
                for line in file:
                    end = self._offset + len(line)
                    if not line.endswith(b"\n") or (limit is not None and end > limit):
                        return
                    first, self._offset = self._offset == 0, end
                    if not first:
                        yield from codec.decode_group(json.loads(line), trusted=trusted)
        except (OSError, ValueError) as error:
            raise StorageError(f"Cannot read {path}: {error}.") from error


class ExperimentFollower:
    """Reads the experiment in ``path`` again and again, and of its journal only what is new.

    ``begin``: is called when the journal is read from its beginning (the first time, and when segments were removed or
    the definition was replaced). What it returns is called with each event.
    """

    def __init__(self, path: Path, begin: Callable[[], Callable[[Recorded], object]]) -> None:
        self._paths, self._begin = ExperimentPaths(path), begin
        self._base: ExperimentView | None = None
        """What the journal says."""
        self._stamp: object = None

    def view(self) -> ExperimentView:
        """The experiment as it is now, with its rows, and with what live runs have written since. Raises TuneError."""
        base = self._base
        stamp = file_stamps([self._paths.spec])
        if base is None or stamp != self._stamp or not self._journal.valid():
            base = self._restart()
        self._base, self._stamp = None, stamp  # if reading fails half-way, the next look begins again
        for recorded in self._journal.new():
            base.state.apply(recorded)
            self._tell(recorded)
            note_row(base, recorded.event)
        self._base = base
        view = ExperimentView(self._paths, base.state.copy(), list(base.rows))
        for recorded in unfolded(view):
            note_row(view, recorded.event)
        return view

    def _restart(self) -> ExperimentView:
        self._journal, self._tell = JournalFollower(self._paths.journal), self._begin()
        return ExperimentView(self._paths, ExperimentState(spec_file.read(self._paths)))


def fingerprint(paths: ExperimentPaths, live: Iterable[str] = ()) -> str:
    """Changes when the journal changes, or a run file of a trial in one of the directories ``live``.

    ``live``: those of the trials that are not over. It costs a listing of the journal's directory and of these.
    """
    files = [paths.spec, *_inside(paths.journal)]
    for name in live:
        files += [path for path in _inside(paths.trial(name).root) if path.name.startswith("run-")]
    return hashlib.sha256(repr(file_stamps(files)).encode()).hexdigest()[:16]


def file_stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of the last change of each file that is there."""
    found = []
    for path in files:
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    return sorted(found)


def _inside(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
