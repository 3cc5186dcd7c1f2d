"""What is done about failures besides trying again, as data."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.common.checks import check_flag, is_number, is_whole
from hpctune.errors import UsageError

MAX_GROWTHS = 3
"""How often a trial's request may grow."""


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """What an experiment does about trials that hang, die of too small a request, or all fail in the same way.

    - ``report_timeout_s``: a running trial that has not reported for so long has failed; None: it may be silent.
    - ``grow_memory``, ``grow_time``: after an end out of memory, or at the time limit without a new result, the next
      attempt asks for so many times as much, three times at most, and no failure counts; None: it is as it was.
    - ``exclude_nodes_after``: a node where so many attempts in a row died gets no more trials; None: it does.
    - ``same_error_limit``: the experiment stops when its first so many trials have all failed with one and the same
      error; None: it goes on.
    - ``canary``: one trial runs alone until it has reported; the experiment stops if it fails before.
    """

    report_timeout_s: float | None = None
    grow_memory: float | None = None
    grow_time: float | None = None
    exclude_nodes_after: int | None = None
    same_error_limit: int | None = None
    canary: bool = False

    def __post_init__(self) -> None:
        for name, above in (("report_timeout_s", 0.0), ("grow_memory", 1.0), ("grow_time", 1.0)):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and above < value < float("inf")):
                raise UsageError(f"{name} must be a number greater than {above:g}, or None; not {value!r}.")
        for name in ("exclude_nodes_after", "same_error_limit"):
            value = getattr(self, name)
            if value is not None and not (is_whole(value) and value >= 1):
                raise UsageError(f"{name} must be a whole number of 1 or more, or None; not {value!r}.")
        check_flag("canary", self.canary)
