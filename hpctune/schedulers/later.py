"""What stands in for schedulers that this version does not have: their names, and an error that says so."""

from __future__ import annotations

from typing import Any, NoReturn

from hpctune.errors import NotYetSupportedError


def refuse(name: str) -> NoReturn:
    """Raise NotYetSupportedError for the scheduler ``name``."""
    raise NotYetSupportedError(
        f"{name} is not supported by this version of hpctune. What works today: FIFOScheduler (the default), "
        "ASHAScheduler (AsyncHyperBandScheduler) and MedianStoppingRule."
    )


class LaterScheduler:
    """Base of schedulers still to come: making one raises NotYetSupportedError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse(type(self).__name__)
