"""One checkpoint of those of several ranks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hpctune.errors import CheckpointError
from hpctune.storage import checkpoints
from hpctune.storage.layout import TrialPaths
from hpctune.storage.ownership import STAGING_PREFIX


def merged(sources: Sequence[Path], paths: TrialPaths) -> Path | None:
    """A directory with the files of all ``sources``; of the same name, that of the last. None: there are none.

    What is staged in the trial's directory is used up.
    """
    if len(sources) < 2:
        return sources[0] if sources else None
    directory = checkpoints.staging(paths)
    try:
        for source in sources:
            shutil.copytree(source, directory, dirs_exist_ok=True)
    except OSError as error:
        checkpoints.discard(directory)
        raise CheckpointError(f"Cannot put the checkpoints of the ranks together in {directory}: {error}.") from error
    finally:
        for source in sources:
            if source.parent == paths.root and source.name.startswith(STAGING_PREFIX):
                checkpoints.discard(source)
    return directory
