"""Sizes: what people write, and what they read."""

from __future__ import annotations

import pytest

from hpctune.common.checks import as_bytes
from hpctune.common.text import size
from hpctune.errors import UsageError


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2000, "2 kB"), (9_960_000, "10 MB"), (842_000_000, "842 MB"),
     (999_900_000, "1 GB"), (76 * 10**9, "76 GB"), (3 * 10**12, "3 TB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_for_people(amount: int, words: str) -> None:
    assert size(amount) == words


@pytest.mark.parametrize(
    ("given", "number"),
    [(1, 1), (5e9, 5_000_000_000), ("500 GB", 500 * 10**9), ("1.5TiB", 3 * 2**39), ("20g", 20 * 10**9), ("7", 7),
     ("100 kB", 100_000), (" 2 MiB ", 2 << 20), ("3B", 3), (".5k", 500)],
)  # fmt: skip
def test_from_people(given: object, number: int) -> None:
    assert as_bytes("it", given) == number


@pytest.mark.parametrize("bad", [0, -1, 0.5, True, "lots", "", "GB", "-1 GB", "1 GBs", "1 XB", float("nan"),
                                 float("inf"), [1]])  # fmt: skip
def test_what_is_no_size(bad: object) -> None:
    with pytest.raises(UsageError, match="max must be a size of at least one byte"):
        as_bytes("max", bad)
