"""What the callbacks of all training frameworks share: choosing metrics, and reporting them with a checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.common.checks import check_whole
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.worker import report
from hpctune.worker.ranks.session import current_rank

Metrics = str | Sequence[str] | Mapping[str, str] | None
_told_absent: set[str] = set()


def check_metrics(metrics: Any) -> Metrics:
    """Raise UsageError unless ``metrics`` is a name, a list of names, a dict of new name -> name, or None."""
    values = metrics.values() if isinstance(metrics, Mapping) else [metrics] if isinstance(metrics, str) else metrics
    if metrics is not None and not (
        isinstance(metrics, (str, list, tuple, Mapping)) and all(isinstance(name, str) for name in values)
    ):
        raise UsageError(f"metrics must be a name, a list of names, or a dict of new name -> name, not {metrics!r}.")
    found: Metrics = metrics
    return found


def chosen(metrics: Metrics, logs: Mapping[str, Any], missing_ok: bool = False) -> dict[str, Any]:
    """Of ``logs`` what ``metrics`` asks for, under its new names. Raises UsageError for what is not there.

    ``missing_ok``: it may come later, so this is only told, once.
    """
    if metrics is None:
        return dict(logs)
    names = [metrics] if isinstance(metrics, str) else metrics
    pairs = names.items() if isinstance(names, Mapping) else [(name, name) for name in names]
    absent = [name for _, name in pairs if name not in logs]
    if absent and not missing_ok:
        raise UsageError(f"There is no metric {absent[0]!r}. Known are: {', '.join(logs) or 'none'}.")
    for name in absent:
        if name not in _told_absent:
            _told_absent.add(name)
            log.warning(f"There is no metric {name!r} here. Known are: {', '.join(logs) or 'none'}.")
    return {new: logs[name] for new, name in pairs if name in logs}


def events_of(on: Any, known: Mapping[str, str]) -> frozenset[str]:
    """The methods for the events ``on``. Raises UsageError for an unknown one."""
    wanted = [on] if isinstance(on, str) else list(on)
    methods = {f"on_{name.removeprefix('on_')}" for name in wanted}
    unknown = sorted(methods - set(known.values()))
    if unknown:
        raise UsageError(f"on={on!r}: there is no event {unknown[0]!r}. Valid are: {', '.join(known)}.")
    return frozenset(methods)


def check_frequency(frequency: Any) -> int:
    """Raise UsageError unless ``frequency`` is a whole number that is not negative."""
    check_whole("frequency", frequency, 0)
    return int(frequency)


def takes_part(first: bool) -> bool:
    """Whether this process reports: the first one does, and in a trainer's trial all do."""
    rank = current_rank()
    return first or (rank is not None and rank.together)


def report_saved(metrics: Mapping[str, Any], save: Callable[[Path], Any]) -> None:
    """Report ``metrics`` with a checkpoint of what ``save`` writes into a directory.

    Every process of a trial takes part in saving, as some frameworks need it. The model is that of the first one.
    """
    rank = current_rank()
    first = rank is None or rank.world.rank == 0
    with tempfile.TemporaryDirectory(prefix="hpctune-checkpoint-") as folder:
        save(Path(folder))
        report(dict(metrics), checkpoint=Checkpoint.from_directory(folder) if first else None)
