"""``ray.util``, as far as tuning scripts use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.model.resources import STRATEGIES, PlacementGroupFactory
from hpctune.ray.core import ObjectRef
from hpctune.ray.machine import get_node_ip_address
from hpctune.ray.remote import named_actors, users_line
from hpctune.storage.unpicklable import find_unpicklable

_logged: set[str] = set()
_logging_once = True
VALID_PLACEMENT_GROUP_STRATEGIES = {*STRATEGIES}


class ActorPool:
    """Calls of actors, in turn. They run when they are submitted."""

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle, self._waiting = list(actors), list[Any]()
        self._turn = 0

    def map(self, fn: Callable[[Any, Any], ObjectRef], values: Iterable[Any]) -> Iterator[Any]:
        """The results, in the order of ``values``."""
        for value in values:
            self.submit(fn, value)
        while self.has_next():
            yield self.get_next()

    map_unordered = map

    def submit(self, fn: Callable[[Any, Any], ObjectRef], value: Any) -> None:
        """Call ``fn(actor, value)``."""
        if not self._idle:
            raise UsageError(f"{users_line()}: the ActorPool has no actor.")
        actor = self._idle[self._turn % len(self._idle)]
        self._turn += 1
        self._waiting.append(fn(actor, value))

    def has_next(self) -> bool:
        """Whether a result waits."""
        return bool(self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result. Raises StopIteration if there is none."""
        if not self._waiting:
            raise StopIteration("No more results to get")
        return self._waiting.pop(0).get()

    get_next_unordered = get_next

    def has_free(self) -> bool:
        """Whether an actor can be called."""
        return bool(self._idle)

    def pop_idle(self) -> Any:
        """Take an actor out; None if there is none."""
        return self._idle.pop() if self._idle else None

    def push(self, actor: Any) -> None:
        """Add an actor."""
        self._idle.append(actor)


def log_once(key: str) -> bool:
    """Whether this is the first call with ``key``."""
    if not _logging_once or key in _logged:
        return False
    _logged.add(key)
    return True


def disable_log_once_globally() -> None:
    """``log_once`` is False from now on."""
    global _logging_once
    _logging_once = False


def get_node_instance_id() -> str:
    """A name for this node."""
    return get_node_ip_address()


def as_completed(refs: Iterable[ObjectRef], *_: Any, **__: Any) -> Iterator[Any]:
    """The values of ``refs``."""
    for ref in refs:
        yield ref.get()


def map_unordered(fn: Any, items: Iterable[Any], *_: Any, **__: Any) -> Iterator[Any]:
    """The values of the remote function ``fn`` for ``items``."""
    for item in items:
        yield fn.remote(item).get()


def inspect_serializability(base_obj: Any, name: str | None = None, depth: int = 3, **_: Any) -> tuple[bool, set[Any]]:
    """Whether it can be pickled, and the part that cannot."""
    found = find_unpicklable(base_obj)
    if found:
        log.warning(f"Cannot be pickled: {found}")
    return not found, {found} if found else set()


class PlacementGroup:
    """Resources that were asked for together; this process has its own in any case."""

    def __init__(self, bundles: list[dict[str, float]], strategy: str = "PACK") -> None:
        checked = PlacementGroupFactory(bundles, strategy)
        self.bundle_specs, self.strategy = checked.bundles, checked.strategy

    def ready(self) -> ObjectRef:
        """It is."""
        return ObjectRef(self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """It is ready."""
        return True

    @property
    def bundle_count(self) -> int:
        """The number of bundles."""
        return len(self.bundle_specs)


def placement_group(bundles: list[dict[str, float]], strategy: str = "PACK", **options: Any) -> PlacementGroup:
    """Nothing is reserved: tasks and actors run in this process."""
    refuse_labels(options)
    return PlacementGroup(bundles, strategy)


def refuse_labels(options: Any) -> None:
    """Raise UsageError for ``bundle_label_selector``."""
    if options.get("bundle_label_selector"):
        raise UsageError(
            "bundle_label_selector is not here: nodes are chosen by the Slurm option constraint, "
            "SlurmOptions(constraint=...) or --constraint of hpctune run."
        )


def remove_placement_group(group: PlacementGroup) -> None:
    """Nothing."""


def get_current_placement_group() -> PlacementGroup | None:
    """None: this process is in none."""
    return None


def get_placement_group(name: str) -> NoReturn:
    """Raises ValueError: none has a name."""
    raise ValueError(f"There is no placement group {name!r}.")


def placement_group_table(group: PlacementGroup | None = None) -> dict[str, Any]:
    """Empty."""
    return {}


def list_named_actors(all_namespaces: bool = False) -> list[str]:
    """The names of this process's actors."""
    return named_actors()


class PlacementGroupSchedulingStrategy:
    """Where a task or an actor runs; here, in this process."""

    def __init__(self, placement_group: PlacementGroup, *_: Any, **__: Any) -> None:
        self.placement_group = placement_group


class NodeAffinitySchedulingStrategy:
    """Where a task or an actor runs; here, in this process."""

    def __init__(self, node_id: str, soft: bool, **_: Any) -> None:
        self.node_id, self.soft = node_id, soft
