"""Random streams: one independent, addressable stream for every value that is ever drawn.

numpy is imported inside the functions, so that defining a search space stays cheap.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from hpctune.errors import SearchSpaceError

if TYPE_CHECKING:
    from numpy.random import Generator, RandomState

    RandomSource: TypeAlias = int | Generator | RandomState | None

_SEED_LIMIT = 2**63


def as_generator(rng: RandomSource) -> Generator:
    """Return a numpy Generator for a seed, a Generator (itself), a legacy RandomState, or None (fresh entropy).

    Raises:
        SearchSpaceError: for anything else, or a negative seed.
    """
    import numpy as np

    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(None if rng is None else as_seed(rng))


def as_seed(rng: RandomSource) -> int:
    """Return a seed: the integer itself, or one drawn from a Generator, a RandomState or fresh entropy (None).

    Raises:
        SearchSpaceError: for anything else, or a negative seed.
    """
    import numpy as np

    if rng is None:
        rng = np.random.default_rng()
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(_SEED_LIMIT))
    if isinstance(rng, np.random.RandomState):
        return int(rng.randint(_SEED_LIMIT, dtype=np.int64))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return int(rng)
    raise SearchSpaceError(
        f"{rng!r} is no source of randomness. Give a seed (an integer of 0 or more), "
        "a numpy.random.Generator, a numpy.random.RandomState, or None."
    )


def stream(seed: int, number: int, name: str, nth: int) -> Generator:
    """Return the stream for the ``nth`` draw of the parameter ``name`` in configuration ``number``.

    The same four arguments give the same stream in every process; different ones give independent streams.
    """
    import numpy as np

    word = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    sequence = np.random.SeedSequence(seed, spawn_key=(number, word, nth))
    return np.random.Generator(np.random.PCG64(sequence))


@contextmanager
def seeded_globals(rng: Generator) -> Iterator[None]:
    """Seed the global ``random`` and ``numpy.random`` from ``rng`` for the block, and put them back after it.

    It makes ``sample_from(lambda spec: np.random.uniform(...))`` reproducible, and keeps such functions from
    disturbing the random numbers of the program around them.
    """
    import numpy as np

    python_state, numpy_state = random.getstate(), np.random.get_state()
    seed = int(rng.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
