"""The saved states of callbacks, restored in the next driver."""

from __future__ import annotations

import pickle

from hpctune.common import unpickling
from hpctune.errors import StorageError, TuneError
from hpctune.output.callback import CallbackList
from hpctune.storage import atomic, permissions, values
from hpctune.storage.layout import ExperimentPaths

SAVE_S = 10.0
"""Seconds between two looks at what has changed."""


class CallbackStates:
    """Keeps the states of ``callbacks`` in one file, which exists if any callback has a state."""

    def __init__(self, paths: ExperimentPaths, callbacks: CallbackList) -> None:
        self._path, self._callbacks = paths.callbacks, callbacks
        self._saved = b""
        self._saved_at = float("-inf")

    def restore(self) -> None:
        """Give back what the last driver has saved. Raises StorageError, TuneError."""
        if not self._callbacks.stateful or not self._path.exists():
            return
        try:
            saved = values.trusted_bytes(self._path)
            states = unpickling.loads(saved)
        except Exception as error:
            why = error if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
            raise TuneError(
                f"Cannot read the saved states of the callbacks: {why} To start them without state: rm {self._path}"
            ) from error
        self._callbacks.set_states(states)
        self._saved = saved

    def save(self, now: float) -> None:
        """Save what has changed, if it is time. Where the storage refuses, it is tried again later."""
        if self._callbacks.stateful and now - self._saved_at >= SAVE_S:
            self._saved_at = now
            states = pickle.dumps(self._callbacks.states())
            if states != self._saved:
                try:
                    atomic.write(self._path, states, mode=permissions.PRIVATE_FILE)
                except StorageError:
                    return
                self._saved = states
