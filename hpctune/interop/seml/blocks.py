"""The parameters of a SEML file: ``fixed``, ``grid`` and ``random`` of each configuration."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hpctune.common.checks import is_number, is_whole
from hpctune.common.text import nearest
from hpctune.errors import UsageError

BLOCKS = ("fixed", "grid", "random")
COLLECTION = "parameter_collection"
_RANGE = ("min", "max")
GRID: dict[str, tuple[str, ...]] = {
    "choice": ("options",),
    "range": (*_RANGE, "step"),
    "uniform": (*_RANGE, "num"),
    "loguniform": (*_RANGE, "num"),
}
"""The types of a parameter under ``grid``, with their keys. Each may have a ``zip_id``."""
RANDOM: dict[str, tuple[str, ...]] = {
    "choice": ("options",),
    "uniform": _RANGE,
    "loguniform": _RANGE,
    "randint": _RANGE,
    "randint_unique": _RANGE,
}
"""The types under ``random``. Each may have a ``seed``."""
_MAY = {"grid": ("zip_id",), "random": ("seed",)}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parameters that hold together: those of a sub-configuration and of all that it stands in.

    ``name``: of the sub-configuration, "a.b" for one inside another; "" for the file itself. ``fixed``: values, and
    ``grid``, ``random``: what is said of them, by the parameter's name. ``samples``, ``seed``: of ``random``.
    """

    name: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: int | None = None
    seed: int | None = None

    @property
    def where(self) -> str:
        """Begins messages about it."""
        return f"{self.name}: " if self.name else ""


def configurations(content: Mapping[str, Any]) -> list[Configuration]:
    """The configurations that a file's content defines, without the blocks ``seml`` and ``slurm``: those that have no
    sub-configurations, in SEML's order. Raises UsageError, which names the parameter."""
    found: list[Configuration] = []
    waiting = deque([(Configuration(), content)])
    while waiting:
        above, stated = waiting.popleft()
        own, inner = _read(stated, above.name)
        if not (own.fixed or own.grid or own.random or own.samples is not None or own.seed is not None):
            raise UsageError(f"{own.where}there are no parameters: give fixed, grid or random.")
        level = _merged(above, own)
        if not inner:
            found.append(level)
        for name, each in inner.items():
            waiting.append((replace(level, name=f"{level.name}.{name}" if level.name else name), each))
    return found


def _read(stated: Mapping[str, Any], name: str) -> tuple[Configuration, dict[str, Mapping[str, Any]]]:
    """What one level says, and its sub-configurations."""
    where = f"{name}: " if name else ""
    inner: dict[str, Mapping[str, Any]] = {}
    blocks: dict[str, Mapping[str, Any]] = {}
    for key, value in stated.items():
        if key in BLOCKS and value is None:
            continue
        if not isinstance(value, Mapping):
            meant = nearest(str(key), BLOCKS) if key not in BLOCKS else ""
            raise UsageError(
                f"{where}{key!r} is {value!r}, and must be a block: {', '.join(BLOCKS)}, or a sub-configuration with "
                f"these. {meant}A value belongs into fixed."
            )
        (blocks if key in BLOCKS else inner)[str(key)] = value
    drawn = dict(blocks.get("random", {}))
    samples, seed = drawn.pop("samples", None), drawn.pop("seed", None)
    read = Configuration(
        name,
        flat(blocks.get("fixed", {})),
        dict(_parameters("grid", blocks.get("grid", {}), where)),
        dict(_parameters("random", drawn, where)),
        _whole(f"{where}random.samples", samples, 1),
        _whole(f"{where}random.seed", seed, 0),
    )
    _check_names(read)
    return read, inner


def _whole(name: str, value: Any, least: int) -> int | None:
    if value is not None and not (is_whole(value) and value >= least):
        raise UsageError(f"{name} must be a whole number of {least} or more, not {value!r}.")
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by "a.b". An empty dict is a value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _parameters(block: str, stated: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The parameters of ``grid`` or ``random``, those inside others by "a.b"."""
    for name, given in stated.items():
        full = f"{prefix}{name}"
        if not isinstance(given, Mapping) or not given:
            raise UsageError(
                f"{where}the parameter {full!r} under {block} must say its type, such as "
                f"{{type: choice, options: [1, 2]}}; not {given!r}."
            )
        kind = given.get("type")
        if kind == COLLECTION:
            inside = given.get("params")
            if not isinstance(inside, Mapping) or not inside:
                raise UsageError(f"{where}the parameter {full!r} under {block} is a {COLLECTION} without params.")
            yield from _parameters(block, inside, where, f"{full}.")
        elif isinstance(kind, str):
            yield full, _checked(block, f"{where}the parameter {full!r} under {block}", kind, given)
        elif kind is None and not all(isinstance(each, Mapping) for each in given.values()):
            raise UsageError(
                f"{where}the parameter {full!r} under {block} has no type. It is one of {', '.join(_types(block))}."
            )
        else:
            yield from _parameters(block, given, where, f"{full}.")


def _types(block: str) -> Mapping[str, tuple[str, ...]]:
    return GRID if block == "grid" else RANDOM


def _checked(block: str, what: str, kind: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    types = _types(block)
    if kind not in types:
        raise UsageError(f"{what} cannot be of the type {kind!r}. {nearest(kind, types)}There are: {', '.join(types)}.")
    needed, may = types[kind], (*types[kind], *_MAY[block])
    unknown = next((key for key in given if key not in (*may, "type")), None)
    if unknown is not None:
        raise UsageError(f"{what}: {kind} has no {unknown!r}. {nearest(str(unknown), may)}It has: {', '.join(may)}.")
    missing = [key for key in needed if key not in given]
    if missing:
        raise UsageError(f"{what}: {kind} needs {' and '.join(missing)}.")
    if "options" in given:
        if not (isinstance(given["options"], list) and given["options"]):
            raise UsageError(f"{what}: options must be a list with at least one value, not {given['options']!r}.")
        return given
    _check_numbers(what, kind, {key: given[key] for key in needed})
    _whole(f"{what}: seed", given.get("seed"), 0)
    return given


def _check_numbers(what: str, kind: str, given: Mapping[str, Any]) -> None:
    wrong = next((key for key, value in given.items() if not is_number(value)), None)
    if wrong is not None:
        raise UsageError(f"{what}: {wrong} must be a number, not {given[wrong]!r}.")
    low, high = given["min"], given["max"]
    empty = low == high if kind == "range" else kind.startswith("randint") and int(low) >= int(high)
    if low > high or empty:
        raise UsageError(f"{what}: min {low!r} must be less than max {high!r}.")
    if kind == "loguniform" and low <= 0:
        raise UsageError(f"{what}: min of loguniform must be greater than 0, not {low!r}.")
    if "step" in given and given["step"] <= 0:
        raise UsageError(f"{what}: step must be greater than 0, not {given['step']!r}.")
    if "num" in given and not (float(given["num"]).is_integer() and given["num"] >= 1):
        raise UsageError(f"{what}: num must be a whole number of 1 or more, not {given['num']!r}.")


def _check_names(level: Configuration) -> None:
    """Raise UsageError for a parameter that two blocks have, or that is inside another one."""
    blocks = {block: getattr(level, block) for block in BLOCKS}
    names = sorted(name for each in blocks.values() for name in each)
    for name, following in itertools.pairwise(names):
        if name == following:
            both = [block for block, each in blocks.items() if name in each]
            raise UsageError(f"{level.where}the parameter {name!r} is under {' and '.join(both)}. Keep one of them.")
    known = set(names)
    for name in names:
        parts = name.split(".")
        outer = next((o for n in range(1, len(parts)) if (o := ".".join(parts[:n])) in known), None)
        if outer is not None:
            raise UsageError(f"{level.where}the parameter {name!r} is inside {outer!r}, which has a value itself.")


def _merged(above: Configuration, own: Configuration) -> Configuration:
    """What holds below: a parameter of the inner level replaces that of the outer one, in whichever block it is."""
    names = {*own.fixed, *own.grid, *own.random}
    blocks = {
        block: {**{n: v for n, v in getattr(above, block).items() if n not in names}, **getattr(own, block)}
        for block in BLOCKS
    }
    samples = above.samples if own.samples is None else own.samples
    seed = above.seed if own.seed is None else own.seed
    level = Configuration(own.name, **blocks, samples=samples, seed=seed)
    _check_names(level)
    return level
