"""A copy of the journal on this node, for trials that follow the search."""

from __future__ import annotations

import stat

from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server


class JournalCopy:
    """What the driver writes, as far as it is known here. It grows with each look."""

    def __init__(self, server: Server, place: Place) -> None:
        self._server = server
        self._there, self._here = f"{place.root}/journal", place.experiment.journal

    def look(self) -> None:
        """Bring what is new. A later look goes on where one broke off."""
        self._here.mkdir(exist_ok=True)
        there = self._server.entries(self._there)
        for name, entry in sorted(there.items()):
            if stat.S_ISREG(entry.mode):
                self._bring(name, entry.size)
        for path in self._here.iterdir():
            if path.name not in there:
                path.unlink()

    def _bring(self, name: str, size: int) -> None:
        with (self._here / name).open("ab") as file:
            if file.tell() > size:  # it was repaired
                file.truncate(0)
                file.seek(0)
            if file.tell() < size:
                file.write(self._server.read(f"{self._there}/{name}", file.tell()))
