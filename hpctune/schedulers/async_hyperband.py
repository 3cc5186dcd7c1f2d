"""Asynchronous successive halving."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class AsyncHyperBandScheduler(LaterScheduler):
    """Not supported yet."""


ASHAScheduler = AsyncHyperBandScheduler
