"""An experiment on a cluster, as a source of files that are brought here: its list by hpctune there, files by SFTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hpctune.errors import NotAnExperimentError, StorageError
from hpctune.mirror.fetch import Wanted, fetch_from
from hpctune.mirror.manifest import NAME, Manifest
from hpctune.remote.session import Session
from hpctune.ssh.sessions import SftpSessions

AT_ONCE = 4
"""Files that come side by side; a server allows ten sessions, unless it says otherwise."""
_BLOCK = 1 << 20


class ExperimentThere:
    """The experiment ``name`` on the cluster, by one connection. ``chosen``: the checkpoints of which checksums are
    wanted, as TRIAL/CHECKPOINT; "all" for all of them. ``known``: the list, if it was just read; then ``name`` is the
    experiment's directory."""

    def __init__(self, session: Session, name: str, chosen: Sequence[str], known: bytes | None = None) -> None:
        self.url = f"{session.cluster.name}:{name}"
        self._session, self._name, self._chosen = session, name, chosen
        self._sessions = SftpSessions(session.connection)
        self._known = known
        self._root = name

    def read(self, name: str) -> bytes:
        """The list of the files."""
        if self._known is not None:
            known, self._known = self._known, None
            return known
        if name != NAME:
            raise StorageError(f"{self.url}: only {NAME} is read, not {name}.")
        out, errors = bytearray(), bytearray()
        words = ["fetch", self._name, "--contents", *(word for one in self._chosen for word in ("--checkpoint", one))]
        code = self._session.hpctune(words, {}, out.extend, errors.extend)
        if code:
            text = errors.decode(errors="replace").strip().removeprefix("hpctune: error: ")
            raise NotAnExperimentError(f"{self._session.cluster.name}: {text}")
        try:
            said = json.loads(out)
            self._root = str(said["root"])
            return json.dumps(said["manifest"]).encode()
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.url}: the list of files cannot be read ({error}).") from error

    @property
    def root(self) -> str:
        """Its directory there; known after :meth:`read`."""
        return self._root

    def get(self, name: str, path: Path, size: int | None) -> None:
        """Copy the first ``size`` bytes of a file to a local one; None: all of them."""
        source = f"{self._root}/{name}"
        traffic = self._session.traffic
        with self._sessions.connection.breaking():
            try:
                with self._sessions.client() as files, files.open(source, "rb") as file, path.open("wb") as sink:
                    file.prefetch(size)
                    left = sys.maxsize if size is None else size
                    while left and (block := file.read(min(left, _BLOCK))):
                        sink.write(block)
                        left -= len(block)
                        traffic.received += len(block)
                    traffic.calls += 3
            except (FileNotFoundError, PermissionError) as error:
                raise StorageError(f"{self.url}: {source}: {error.strerror}.") from error

    def close(self) -> None:
        """End the sessions."""
        self._sessions.close()


class Fetching:
    """Brings one experiment there. Broken connections are made again. Raises NotAnExperimentError, StorageError.

    ``chosen``: the checkpoints that will be wanted, as far as that is known. ``root``: its directory there.
    """

    def __init__(self, session: Session, name: str, chosen: Sequence[str]) -> None:
        self._session, self._name = session, name
        self._chosen = list(chosen)
        self._list: bytes | None = session.insisting(self._read)

    def _read(self) -> bytes:
        there = ExperimentThere(self._session, self._name, self._chosen)
        text = there.read(NAME)
        self.root = there.root
        self.experiment_id = Manifest.from_json(text).experiment_id
        return text

    def bring(self, directory: Path, wanted: Wanted, chosen: Sequence[str]) -> Manifest:
        """Bring the wanted files into ``directory``; what is here is not brought again."""
        if list(chosen) != self._chosen:
            self._chosen, self._list = list(chosen), None

        def once() -> Manifest:
            there = ExperimentThere(self._session, self.root, self._chosen, self._list)
            self._list = None  # one list, one try
            try:
                return fetch_from(there, directory, wanted, at_once=AT_ONCE)
            finally:
                there.close()

        return self._session.insisting(once, lambda: self._session.traffic.received)
