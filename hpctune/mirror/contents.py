"""The list of an experiment's files as they are now, as if it were its own mirror: for those who fetch it directly."""

from __future__ import annotations

import time

from hpctune.errors import StorageError
from hpctune.mirror import files
from hpctune.mirror.fetch import Wanted
from hpctune.mirror.manifest import Entry, Manifest
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths

TRIES = 5
"""How often the list is made again because files were removed meanwhile."""


def contents(paths: ExperimentPaths, wanted: Wanted) -> Manifest:
    """All files with their sizes, and the checksums of those that are wanted (0 for the others).

    Raises StorageError if files change faster than they can be read.
    """
    experiment_id = spec_file.read(paths).experiment_id
    for _ in range(TRIES):
        made = Manifest(experiment_id, time.time())
        try:
            for file in files.listed(paths, artifacts=False):
                crc = files.checksum(file.path, file.size) if wanted(file.name) else 0
                made.files[file.name] = Entry(file.size, crc, file.seen)
        except (FileNotFoundError, EOFError):
            continue
        return made
    raise StorageError(f"The files of {paths.root} change faster than they can be listed. Try again later.")
