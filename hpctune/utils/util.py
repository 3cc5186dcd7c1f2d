"""``hpctune.utils``: small helper functions with Ray Tune's names."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from hpctune.common import env
from hpctune.common.log import log
from hpctune.errors import NotYetSupportedError, TrainableError, UsageError
from hpctune.launch.trainables import as_trainable
from hpctune.space import tree
from hpctune.storage.unpicklable import picklable
from hpctune.worker import is_class_trainable
from hpctune.worker.gpus import wait_for_gpu

__all__ = [
    "UtilMonitor",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "retry_fn",
    "unflatten_dict",
    "unflattened_lookup",
    "validate_save_restore",
    "wait_for_gpu",
    "warn_if_slow",
]


def date_str() -> str:
    """The current time as part of a file name: ``2024-05-17_09-30-00``."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}"


# -- dicts -----------------------------------------------------------------------------------------------------------


def flatten_dict(
    dt: Mapping[str, Any], delimiter: str = "/", prevent_delimiter: bool = False, flatten_list: bool = False
) -> dict[str, Any]:
    """One level of keys: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``. The result has the class of ``dt``.

    Args: as those of :func:`hpctune.space.tree.flatten_dict`.
    """
    return _as(dt, tree.flatten_dict(dt, delimiter, prevent_delimiter, flatten_list))


def unflatten_dict(dt: Mapping[str, Any], delimiter: str = "/") -> dict[str, Any]:
    """The nested dict of a flat one: the reverse of :func:`flatten_dict`. The result has the class of ``dt``."""
    return _as(dt, tree.unflatten_dict(dt, delimiter))


def _as(like: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    kind = type(like)
    return kind(made) if kind is not dict and issubclass(kind, dict) and kind.__init__ is not dict.__init__ else made


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """A new dict with the entries of ``d1`` and ``d2``. Nested dicts are merged, too; ``d2`` wins."""
    return dict(deep_update(copy.deepcopy(dict(d1)), d2, new_keys_allowed=True))


def deep_update(
    original: MutableMapping[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Sequence[str] | None = None,
    override_all_if_type_changes: Sequence[str] | None = None,
    override_all_key_list: Sequence[str] | None = None,
) -> MutableMapping[str, Any]:
    """Put the entries of ``new_dict`` into ``original``, which is changed and returned. Nested dicts are merged.

    Args:
        new_keys_allowed: Whether ``new_dict`` may have keys that ``original`` lacks.
        allow_new_subkey_list: Keys below which new keys are always allowed.
        override_all_if_type_changes: Keys whose dict is replaced, not merged, if its "type" entry changes.
        override_all_key_list: Keys whose dict is always replaced.

    Raises:
        UsageError: for a key that is new and not allowed.
    """
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise UsageError(f"There is no parameter {key!r}. Valid are: {', '.join(map(str, original)) or 'none'}.")
        old = original.get(key)
        replaced = key in (override_all_key_list or ())
        if isinstance(old, MutableMapping) and isinstance(value, Mapping) and not replaced:
            retyped = "type" in value and value["type"] != old.get("type")
            if not retyped or key not in (override_all_if_type_changes or ()):
                deep_update(old, value, new_keys_allowed or key in (allow_new_subkey_list or ()))
                continue
        original[key] = value
    return original


_MISSING = object()


def unflattened_lookup(flat_key: str, lookup: Any, delimiter: str = "/", default: Any = _MISSING) -> Any:
    """The value at ``a/b/0`` in nested dicts and lists. Raises KeyError if there is none and no ``default``."""
    if isinstance(lookup, Mapping) and flat_key in lookup:
        return lookup[flat_key]
    value = lookup
    for part in flat_key.split(delimiter):
        try:
            value = value[int(part)] if isinstance(value, (list, tuple)) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            if default is not _MISSING:
                return default
            raise KeyError(flat_key) from None
    return value


class UtilMonitor:
    """Not supported yet: a thread that samples CPU, memory and GPU use."""

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        raise NotYetSupportedError("UtilMonitor is not supported yet. On Slurm, sstat -j JOB shows what a job uses.")


# -- checking trainables ---------------------------------------------------------------------------------------------


def validate_save_restore(trainable_cls: Any, config: Mapping[str, Any] | None = None, num_gpus: int = 0) -> bool:
    """Check in this process that a restored class trainable goes on at the iteration at which it was saved.

    ``num_gpus`` is accepted for compatibility and has no effect.

    Raises:
        TrainableError: if it does not, or if it is not a class trainable.
    """
    cls = as_trainable(trainable_cls)
    if not is_class_trainable(cls):
        raise TrainableError(f"validate_save_restore is for classes derived from Trainable, not {trainable_cls!r}.")
    first = cls(dict(config or {}))
    try:
        for _ in range(3):
            result = first.train()
            if result.get("done"):
                break
        saved = first.save()
        second = cls(dict(config or {}))
        try:
            second.restore(saved)
            again = second.train()
        finally:
            second.stop()
    finally:
        first.stop()
    key = "training_iteration"
    if again[key] != result[key] + 1:
        raise TrainableError(
            f"{cls.__name__} was saved at iteration {result[key]} and restored to iteration {again[key] - 1}."
        )
    return True


def diagnose_serialization(trainable: Any) -> bool | set[str]:
    """Find the parts of a trainable that cannot be pickled.

    Returns:
        True if it can be pickled. Otherwise the names of the globals, closure variables and attributes that cannot.
    """
    if picklable(trainable):
        return True
    unpicklable = {name: value for name, value in _used_by(trainable).items() if not picklable(value)}
    for name, value in sorted(unpicklable.items(), key=lambda pair: pair[0]):
        log.warning(f"Cannot be pickled: {name} = {value!r}")
    return set(unpicklable) or {getattr(trainable, "__name__", repr(trainable))}


def _used_by(trainable: Any) -> dict[str, Any]:
    function: Callable[..., Any] | None = trainable if hasattr(trainable, "__code__") else None
    if function is None:
        members = {f"{getattr(trainable, '__name__', 'it')}.{k}": v for k, v in vars(trainable).items()}
        return {name: value for name, value in members.items() if not name.split(".")[-1].startswith("__")}
    names = function.__code__.co_names
    used = {name: function.__globals__[name] for name in names if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return used | {name: cell.cell_contents for name, cell in cells}


class warn_if_slow:  # noqa: N801 - the name is Ray Tune's
    """Warn on stderr if the block takes long: ``with warn_if_slow("saving"): ...``.

    ``threshold``: seconds (default: TUNE_WARN_THRESHOLD_S, else 0.5).
    """

    def __init__(
        self, name: str, threshold: float | None = None, message: str | None = None, disable: bool = False
    ) -> None:
        self.name, self.disable = name, disable
        self.threshold = env.settings().warn_threshold_s if threshold is None else threshold
        self.message = message or "The `{name}` operation took {duration:.3f} s, which may be a performance bottleneck."
        self.too_slow = False

    def __enter__(self) -> warn_if_slow:
        self._start = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        duration = time.monotonic() - self._start
        self.too_slow = duration > self.threshold
        if self.too_slow and not self.disable and kind is None:
            log.warning(self.message.format(name=self.name, duration=duration))


def retry_fn(
    fn: Callable[[], Any],
    exception_type: type[Exception] | Sequence[type[Exception]] = Exception,
    num_retries: int = 3,
    sleep_time: float = 1,
    timeout: float | None = None,
) -> bool:
    """Call ``fn`` until it raises none of these exceptions, at most ``num_retries`` times. Returns whether it did so.

    ``sleep_time``: seconds between two calls. ``timeout``: seconds after which no further call begins.
    """
    kinds = exception_type if isinstance(exception_type, type) else tuple(exception_type)
    began = time.monotonic()
    for left in range(num_retries - 1, -1, -1):
        try:
            fn()
        except kinds as error:
            log.warning(f"{getattr(fn, '__name__', fn)} failed: {error!r}")
            if left == 0 or (timeout is not None and time.monotonic() - began > timeout):
                return False
            time.sleep(sleep_time)
        else:
            return True
    return False
