"""Keras callbacks. Not supported yet."""

from __future__ import annotations

from hpctune.integration import Later

INSTEAD = "Report from a callback of your own: on_epoch_end calls hpctune.report(...)."


class TuneReportCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class TuneReportCheckpointCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class ReportCheckpointCallback(Later):
    """Not supported yet."""

    instead = INSTEAD
