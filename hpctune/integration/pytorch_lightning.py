"""PyTorch Lightning callbacks. Not supported yet."""

from __future__ import annotations

from hpctune.integration import Later

INSTEAD = "Report from a callback of your own: on_validation_end calls hpctune.report(...)."


class TuneCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class TuneReportCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class TuneReportCheckpointCallback(Later):
    """Not supported yet."""

    instead = INSTEAD
