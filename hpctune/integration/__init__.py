"""Integrations with other packages. A module imports its package, or says how to install it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from hpctune.errors import NotYetSupportedError
from hpctune.output.callback import LoggerCallback


def refuse(what: str, instead: str) -> NoReturn:
    """Raise NotYetSupportedError for ``what``."""
    raise NotYetSupportedError(f"{what} is not supported by this version of hpctune. {instead}")


class LaterCallback(LoggerCallback):
    """Base of logger callbacks still to come: making one raises NotYetSupportedError."""

    package: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse(
            type(self).__name__,
            f"Derive from hpctune.logger.LoggerCallback and call {self.package} in log_trial_result: that runs in the "
            "driver, so compute nodes need no internet.",
        )
