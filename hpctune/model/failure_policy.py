"""The failure policy of an experiment, as data: what happens after failures, other than a new attempt."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.common.checks import check_flag, is_number, is_whole
from hpctune.errors import UsageError

MAX_GROWTHS = 3
"""How many times a trial's request may grow."""


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """What an experiment does if trials hang, end because a request was too small, or all fail in the same way.

    - ``report_timeout_s``: a running trial fails if it has not reported for this many seconds. None: no limit.
    - ``grow_memory``, ``grow_time``: factors. If a trial runs out of memory, or reaches the time limit without a new
      result, the next attempt asks for this many times as much, and no failure counts. This happens at most three
      times. None: requests do not grow.
    - ``exclude_nodes_after``: a node on which this many attempts in a row died gets no more trials. None: no node is
      excluded.
    - ``same_error_limit``: the experiment stops if its first trials, this many, have all failed with the same error.
      None: it goes on.
    - ``canary``: one trial runs alone until it has reported. If it fails before, the experiment stops.
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
