"""Follows a journal: reads what was added since the last look."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from hpctune.errors import StorageError
from hpctune.model.events import Recorded
from hpctune.storage import codec, values
from hpctune.storage.journal import segments


class JournalFollower:
    """Reads the events of the journal in ``directory``, each once.

    A driver that was replaced may have written lines that do not count. If they are read before the new driver's first
    line says so, they stay.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._segment: Path | None = None
        self._offset = 0

    def new(self) -> Iterator[Recorded]:
        """The events that were added since the last call. Raises StorageError if they cannot be read."""
        for path, limit in segments(self._directory):
            if self._segment is not None and path.name < self._segment.name:
                continue
            if self._segment is None or path.name > self._segment.name:
                self._segment, self._offset = path, 0
            yield from self._read(path, limit)

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
