"""MXNet, whose development has ended: no supported Python can install it."""

from __future__ import annotations

from typing import Any

from hpctune.errors import MissingPackageError


class TuneReportCallback:
    """Raises MissingPackageError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise MissingPackageError(
            f"{type(self).__name__}: MXNet was retired in 2023 and does not install on Python 3.11 or later. Use "
            "PyTorch (hpctune.integration.pytorch_lightning) or Keras (hpctune.integration.keras)."
        )


class TuneCheckpointCallback(TuneReportCallback):
    """Raises MissingPackageError."""
