"""The older name of :mod:`hpctune.search.searcher`."""

from hpctune.search.concurrency_limiter import ConcurrencyLimiter
from hpctune.search.searcher import Searcher

__all__ = ["ConcurrencyLimiter", "Searcher"]
