"""What the driver tells a run: its control file, and what the driver removes or adds in the trial's directory."""

from __future__ import annotations

import contextlib
import json
import os

from hpctune.errors import StorageError
from hpctune.file_transfer.entry import Entry
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.storage import atomic, values
from hpctune.storage.last_line import last_line


class Orders:
    """Brings the driver's orders to this node."""

    def __init__(self, server: Server, place: Place) -> None:
        self._server, self._place = server, place
        self._seen: Entry | None = None
        self.trial_id = ""

    def look(self, inside: dict[str, Entry] | None = None) -> bool:
        """Bring the control file here if it has changed. Returns False if there is none: the trial is over.

        ``inside``: what is in the trial's directory there. The checkpoint to start from is here before the control file
        that names it.
        """
        there, local = f"{self._place.trial}/control.json", self._place.paths.control
        try:
            entry = self._server.entry(there) if inside is None else inside.get("control.json")
            if entry is None:
                raise FileNotFoundError(there)
            if entry == self._seen:
                return True
            text = last_line(self._server.read(there))
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(local)
            return False
        try:
            control = json.loads(text)
            self.trial_id = control["trial_id"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"Cannot read {there}: {error!r}.") from error
        if (restore := control.get("restore")) is not None:
            text = values.dumps(control | {"restore": self._bring(restore)}).encode()
        atomic.write(local, text + b"\n")
        self._seen = entry
        return True

    def _bring(self, checkpoint: str) -> str:
        """Copy the checkpoint to start from; its path here. If it is not there any more, the run says so."""
        target = self._place.local(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._server.get_directory(checkpoint, target)
        return str(target)


def obey(place: Place, inside: dict[str, Entry], restart: int) -> bool:
    """Show the worker what the driver, or a later run, has done in the trial's directory. Returns whether the run is
    still the trial's current one.

    ``inside``: what is there.
    """
    paths = place.paths
    if place.run_name(restart) not in inside:  # given up, or over: the worker sees that its run file is gone
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.run(place.attempt, restart))
        return False
    if (following := place.run_name(restart + 1)) in inside:
        (paths.root / following).touch()
        return False
    return True
