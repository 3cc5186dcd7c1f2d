"""The older name of :mod:`hpctune.search.concurrency_limiter`."""

from hpctune.search.concurrency_limiter import ConcurrencyLimiter

__all__ = ["ConcurrencyLimiter"]
