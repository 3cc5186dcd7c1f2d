"""Libraries that draw from the process's global random numbers, and that warn and print a lot, kept to themselves."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any


@contextlib.contextmanager
def quiet(also_stdout: bool = False) -> Iterator[None]:
    """Drop the warnings of a library (the user can do nothing about them); ``also_stdout``: and what it prints."""
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        if also_stdout:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


class GlobalRandomness:
    """Random numbers for a library that takes them from ``random``, ``numpy.random`` and torch's global generators.

    While it is in use, those generators go on from where this one left them; afterwards they are as they were.

    Args:
        seed: Where the generators begin; None: anywhere.
        torch: Whether the library uses torch.
    """

    def __init__(self, seed: int | None, torch: bool = False) -> None:
        self._torch = torch
        with self._kept():
            _seed(seed, torch)
            self._state = _get(torch)

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Make the global generators this one's for a while."""
        with self._kept():
            _set(self._state)
            try:
                yield
            finally:
                self._state = _get(self._torch)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        outside = _get(self._torch)
        try:
            yield
        finally:
            _set(outside)


def _torch() -> Any:
    return import_module("torch")


def _seed(seed: int | None, torch: bool) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if torch:
        _torch().manual_seed(random.getrandbits(32) if seed is None else seed)


def _get(torch: bool) -> tuple[Any, Any, Any]:
    import numpy as np

    return random.getstate(), np.random.get_state(), _torch().get_rng_state() if torch else None


def _set(state: tuple[Any, Any, Any]) -> None:
    import numpy as np

    random.setstate(state[0])
    np.random.set_state(state[1])
    if state[2] is not None:
        _torch().set_rng_state(state[2])
