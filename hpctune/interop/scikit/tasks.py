"""Calls of functions that are made in jobs. What is large in their arguments is stored once for all of them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from hpctune.common import unpickling
from hpctune.storage import atomic, permissions, values
from hpctune.storage.objects import Parameter
from hpctune.worker.context import get_trial_dir

LARGE = 1 << 14
"""Bytes from which data is stored once."""
RESULT = "sklearn-result.pkl"
"""The file in a trial's directory with what it returned."""


class _Writer(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, large: dict[int, tuple[int, Any]]) -> None:
        super().__init__(file)
        self._large = large

    def persistent_id(self, value: Any) -> int | None:
        if _size(value) < LARGE:
            return None
        return self._large.setdefault(id(value), (len(self._large), value))[0]


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, large: Sequence[Parameter]) -> None:
        super().__init__(file)
        self._large = large

    def persistent_load(self, number: Any) -> Any:
        return self._large[number].get()


class Shared:
    """Values, each pickled alone, that share their large data. A process reads it once, where it is used."""

    def __init__(self, given: Sequence[Any]) -> None:
        large: dict[int, tuple[int, Any]] = {}
        self._texts = [self._dumped(value, large) for value in given]
        self._large = [Parameter(value) for _, value in large.values()]

    @staticmethod
    def _dumped(value: Any, large: dict[int, tuple[int, Any]]) -> bytes:
        buffer = io.BytesIO()
        _Writer(buffer, large).dump(value)
        return buffer.getvalue()

    def __getitem__(self, number: int) -> Any:
        return _Reader(io.BytesIO(self._texts[number]), self._large).load()

    def __len__(self) -> int:
        return len(self._texts)


class CallOne:
    """The trainable: makes the call that its configuration numbers, and keeps what it returns. ``search``: the
    fingerprint of the calls."""

    __name__ = "call"

    def __init__(self, calls: Sequence[Callable[[], Any]], search: str | None = None) -> None:
        self._calls, self.search = Shared(calls), search

    def __call__(self, config: Mapping[str, Any]) -> dict[str, Any]:
        try:
            value = self._calls[config["call"]]()
        except Exception as error:
            keep((False, error))
            raise
        keep((True, value))
        return {"returned": 1}


def keep(result: Any) -> None:
    """Keep a result in the directory of the running trial."""
    atomic.write(Path(str(get_trial_dir())) / RESULT, cloudpickle.dumps(result), mode=permissions.PRIVATE_FILE)


def kept(directory: Path) -> Any:
    """What :func:`keep` has kept there; None if nothing was."""
    if not permissions.exists(str(directory / RESULT)):
        return None
    return unpickling.loads(values.trusted_bytes(directory / RESULT))


def _size(value: Any) -> int:
    """The bytes of data: of arrays, sparse matrices, tables; 0 of anything else."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "scipy", "pandas", "polars"):
        return 0
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if hasattr(value, "memory_usage"):  # of pandas
        return int(value.memory_usage(index=True).sum())
    return int(getattr(getattr(value, "data", None), "nbytes", 0))
