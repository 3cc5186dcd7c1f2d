"""Searchers whose libraries are no more say what to use instead."""

from __future__ import annotations

import pytest

from hpctune.errors import MissingPackageError, UsageError
from hpctune.search import create_searcher


def test_sigopt_was_shut_down() -> None:
    with pytest.raises(UsageError, match=r"SigOpt service.*was shut down.*OptunaSearch"):
        create_searcher("sigopt", metric="loss", mode="min")


def test_dragonfly_does_not_run_with_a_numpy_of_today() -> None:
    with pytest.raises(MissingPackageError, match=r"dragonfly-opt.*numpy 1.24.*BayesOptSearch"):
        create_searcher("dragonfly", metric="loss", mode="min")
