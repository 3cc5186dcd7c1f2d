"""The source of random numbers of ``ray.tune.search.sample``, which searchers written for Ray use (FLAML's do)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpctune.space.randomness import as_generator

if TYPE_CHECKING:
    from hpctune.space.randomness import RandomSource


class CompatibleGenerator(np.random.Generator):
    """numpy's Generator, made from a seed, another generator, a legacy RandomState, or fresh entropy (None)."""

    def __init__(self, generator_or_seed: RandomSource = None) -> None:
        super().__init__(as_generator(generator_or_seed).bit_generator)
