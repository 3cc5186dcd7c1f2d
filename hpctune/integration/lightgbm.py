"""LightGBM callbacks. Not supported yet."""

from __future__ import annotations

from hpctune.integration import Later

INSTEAD = "Report from a callback of your own: it calls hpctune.report(...)."


class TuneReportCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class TuneReportCheckpointCallback(Later):
    """Not supported yet."""

    instead = INSTEAD
