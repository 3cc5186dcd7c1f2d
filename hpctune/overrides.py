"""What the command line says over the user's script: filled by the CLI, merged in by the facade.

A script calls ``hpctune.run(...)`` knowing nothing of the command line. What the command line wants differently waits
in a context variable until the facade asks for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpctune.errors import UsageError
from hpctune.space.tree import GRID_KEY, branches, path_text

if TYPE_CHECKING:
    from hpctune.driverchain import DriverJobRequest

_SEPARATORS = re.compile(r"[./]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Each field None (or empty): as the script says.

    ``cluster``: "auto", "slurm", "local" or "debug". ``slurm``: fields of SlurmOptions. ``config``: value by
    "a/b" or "a.b", in place of the domain or constant that the search space has there. ``resume``: True, "AUTO" or any
    other form that ``hpctune.run(resume=...)`` takes. ``time_budget_s``: seconds. ``cancel_on_exit``: leaving cancels
    the jobs (their trials go on from their checkpoints after a resume). ``calls_per_minute``: Slurm commands at most.
    ``workers``: jobs that stay and take trial after trial. ``driver_job``: the driver shall be a Slurm job.
    ``share_with_group``: the group may read the experiment.
    """

    name: str | None = None
    storage_path: str | None = None
    num_samples: int | None = None
    max_concurrent: int | None = None
    time_budget_s: float | None = None
    cluster: str | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    resume: str | bool | None = None
    dry_run: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    verbose: int | None = None
    cancel_on_exit: bool = False
    calls_per_minute: int | None = None
    workers: int | None = None
    driver_job: DriverJobRequest | None = None
    share_with_group: bool = False

    @property
    def slurm_options(self) -> dict[str, Any]:
        """``slurm`` and ``calls_per_minute`` together."""
        limit = {} if self.calls_per_minute is None else {"calls_per_minute": self.calls_per_minute}
        return {**self.slurm, **limit}


_current: ContextVar[Overrides | None] = ContextVar("hpctune_overrides", default=None)


def current() -> Overrides:
    """The overrides in force; empty ones where nobody set any."""
    return _current.get() or Overrides()


@contextmanager
def use(overrides: Overrides) -> Iterator[Overrides]:
    """Let ``overrides`` be in force while this lasts."""
    token = _current.set(overrides)
    try:
        yield overrides
    finally:
        _current.reset(token)


def replace_values(space: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the search space with ``values`` (by "a/b" or "a.b") in place of what it has there.

    A number in a path is an index where the space has a list. Raises UsageError for a key that the space does not
    have; it names the nearest.
    """
    changed: Any = dict(space)
    for key, value in values.items():
        path = (key,) if key in changed else tuple(_SEPARATORS.split(key))
        changed = _replaced(changed, path, value, key, space)
    return dict(changed)


def _replaced(node: Any, path: tuple[str, ...], value: Any, key: str, space: Mapping[str, Any]) -> Any:
    if not path:
        return value
    children = {str(name): (name, child) for name, child in branches(node) or ()}
    if path[0] not in children:
        raise UsageError(_unknown(key, space))
    name, child = children[path[0]]
    new = _replaced(child, path[1:], value, key, space)
    if isinstance(node, dict):
        return {**node, name: new}
    return type(node)(new if index == name else item for index, item in enumerate(node))


def _unknown(key: str, space: Mapping[str, Any]) -> str:
    known = sorted(_keys(space))
    wanted = key.replace(".", "/")
    near = difflib.get_close_matches(wanted, known, 1, 0.5) or [k for k in known if k.split("/")[-1] == wanted][:1]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"The search space has no {key!r}.{hint} It has: {', '.join(known) or 'nothing'}."


def _keys(node: Any, path: tuple[Any, ...] = ()) -> Iterator[str]:
    """Every path of a search space, inner ones included."""
    for name, child in branches(node) or ():
        if name != GRID_KEY:
            yield path_text((*path, name))
            yield from _keys(child, (*path, name))
