"""A search space as a searcher sees it: a flat list of named parameters, and the way back to nested configs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, Protocol

from hpctune.errors import SearchSpaceError
from hpctune.space import Categorical, Domain, Float, Integer, flatten_dict, unflatten_dict
from hpctune.space.points import matching_option, read_point, same
from hpctune.space.tree import KeyPath, branches, has_unresolved, is_grid, path_text, rebuild, unresolved, walk

_MISSING = object()


class Condition(NamedTuple):
    """When a parameter exists: while the choice ``parent`` takes the option with this number."""

    parent: str
    option: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """One domain of a search space.

    ``name``: its path as text, ``model/lr``; inside a choice the number of the option is part of it: ``model/1/lr``.
    """

    name: str
    domain: Domain
    condition: Condition | None = None

    @property
    def branching(self) -> bool:
        """Whether it is a choice with domains inside an option. Its value is then the number of the option."""
        return isinstance(self.domain, Categorical) and any(map(has_unresolved, self.domain.categories))

    @property
    def options(self) -> int:
        """How many options a choice has; 0 for a number."""
        return len(self.domain) if isinstance(self.domain, Categorical) else 0

    def option(self, value: Any) -> int:
        """Return the number of the option that this value of a choice stands for."""
        assert isinstance(self.domain, Categorical)
        if self.branching:
            return int(value)
        return next(number for number, option in enumerate(self.domain.categories) if same(option, value))

    def value(self, option: int) -> Any:
        """Return the value that stands for an option of a choice: the reverse of :meth:`option`."""
        assert isinstance(self.domain, Categorical)
        return option if self.branching else self.domain.categories[option]

    def active(self, values: Mapping[str, Any]) -> bool:
        """Return whether it exists in a configuration with these values."""
        return self.condition is None or values.get(self.condition.parent) == self.condition.option


class Layout(Protocol):
    """Turns flat values, by parameter name, into nested configs and back."""

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of these values: what varies, and lists that it is part of as a whole."""

    def flatten(self, config: Mapping[str, Any], *, strict: bool, where: str) -> dict[str, Any]:
        """Return the values that ``config`` sets; other entries are an error if ``strict``, and left out if not."""

    def missing(self, values: Mapping[str, Any]) -> list[Parameter]:
        """Return the parameters that have no value, though their conditions hold."""


class ParameterSpace:
    """The parameters of a space of hpctune domains, parents before those that depend on them.

    Args:
        space: The search space.
        who: The searcher's name, for error messages.
        constants: Whether its constants are part of the nested configs. True if the caller does not add them.
        computed: Whether it may hold ``sample_from``, which is no parameter and stays in nested configs as it is.

    Raises:
        SearchSpaceError: if it holds a grid, a ``sample_from`` (unless ``computed``), or two parameters of one name.
    """

    def __init__(self, space: Mapping[str, Any], who: str, constants: bool = False, computed: bool = False) -> None:
        self.space, self.constants = dict(space), constants
        self.parameters = list(_parameters(self.space, who, computed))
        self.by_name = {parameter.name: parameter for parameter in self.parameters}
        if len(self.by_name) < len(self.parameters):
            names = [parameter.name for parameter in self.parameters]
            twice = next(name for name in names if names.count(name) > 1)
            raise SearchSpaceError(
                f"Two parameters of the search space are called '{twice}' once their keys are joined with '/'. "
                "Rename one of them."
            )

    def missing(self, values: Mapping[str, Any]) -> list[Parameter]:
        return [p for p in self.parameters if p.name not in values and p.active(values)]

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        nested = _nested(self.space, (), values, whole=self.constants)
        return {} if nested is _MISSING else nested

    def flatten(self, config: Mapping[str, Any], *, strict: bool, where: str) -> dict[str, Any]:
        """Return the values that ``config`` sets. It may be nested, or flat with keys such as ``model/lr``.

        Raises:
            SearchSpaceError: if a value is not one of its domain's, or ``strict`` and an entry is no parameter.
        """
        if strict:
            config = read_point(self.space, config, where)
        values: dict[str, Any] = {}
        self._take_all("", self.space, config, values, where)
        return values

    def _take_all(self, prefix: str, node: Any, config: Any, values: dict[str, Any], where: str) -> None:
        for path, leaf in unresolved(node).items():
            given = _given(config, path)
            if given is not _MISSING:
                self._take("/".join((*filter(None, [prefix]), *map(str, path))), leaf, given, values, where)

    def _take(self, name: str, domain: Domain, given: Any, values: dict[str, Any], where: str) -> None:
        if not isinstance(domain, Categorical):
            if not domain.is_function() and not _within(domain, given):
                raise SearchSpaceError(f"{where} sets '{name}' to {given!r}, which is not in {domain!r}.")
            values[name] = domain.cast(given)
            return
        chosen = matching_option(domain.categories, given)
        if chosen is None:
            raise SearchSpaceError(f"{where} sets '{name}' to {given!r}, which is none of {domain.categories!r}.")
        number, inner = chosen
        category = domain.categories[number]
        values[name] = number if self.by_name[name].branching else category
        self._take_all(f"{name}/{number}", category, inner, values, where)


class NamedValues:
    """The layout of a space in a library's own format: parameters by name, with '/' between the keys of nested ones."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.names = names

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return unflatten_dict(values)

    def flatten(self, config: Mapping[str, Any], *, strict: bool, where: str) -> dict[str, Any]:
        flat = flatten_dict(config)
        unknown = [name for name in flat if self.names is not None and name not in self.names]
        if strict and unknown:
            raise SearchSpaceError(
                f"{where} sets '{unknown[0]}', which is no parameter of the search space. "
                f"It has: {', '.join(map(repr, self.names or ()))}."
            )
        return {name: value for name, value in flat.items() if name not in unknown}

    def missing(self, values: Mapping[str, Any]) -> list[Parameter]:
        return []


def _parameters(
    space: Any, who: str, computed: bool, prefix: str = "", condition: Condition | None = None
) -> Iterator[Parameter]:
    for path, leaf in walk(space):
        name = prefix + path_text(path)
        if is_grid(leaf):
            raise SearchSpaceError(
                f"{who} cannot search '{name}': it is a grid_search, of which every value is tried. "
                "Use choice([...]) for it, or drop search_alg= to get grid search."
            )
        if not isinstance(leaf, Domain):
            continue
        if leaf.is_function():
            if computed:
                continue
            raise SearchSpaceError(
                f"{who} cannot search '{name}': it is a sample_from, whose values it cannot know. "
                "Use a domain such as uniform or choice for it, and compute what depends on it in the trainable."
            )
        yield Parameter(name, _searched(leaf), condition)
        if isinstance(leaf, Categorical):
            for option, category in enumerate(leaf.categories):
                if has_unresolved(category):
                    inner = f"{name}/{option}/" if branches(category) is not None else f"{name}/{option}"
                    yield from _parameters(category, who, computed, inner, Condition(name, option))


def _searched(domain: Domain) -> Domain:
    """The domain as libraries search it: bounds that are equal, which most of them refuse, are a choice of one."""
    if isinstance(domain, Float) and domain.lower == domain.upper:
        return Categorical([domain.lower])
    return domain


def _nested(node: Any, path: KeyPath, values: Mapping[str, Any], prefix: str = "", whole: bool = False) -> Any:
    """``node`` with its values; without what does not vary, unless ``whole``. A parameter without value is left out."""
    pairs = branches(node)
    if pairs is None:
        if not isinstance(node, Domain):
            return node if whole else _MISSING
        return _value(node, prefix + path_text(path), values)
    keep = whole or not isinstance(node, dict)
    if not whole and not has_unresolved(node):
        return _MISSING
    children = {key: _nested(child, (*path, key), values, prefix, keep) for key, child in pairs}
    if not isinstance(node, dict):
        return rebuild(node, children)
    return {key: child for key, child in children.items() if child is not _MISSING}


def _value(domain: Domain, name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        return domain if domain.is_function() else _MISSING
    value = values[name]
    if not isinstance(domain, Categorical) or not any(map(has_unresolved, domain.categories)):
        return value
    category = domain.categories[value]
    if branches(category) is None:
        return _nested(category, (), values, f"{name}/{value}", whole=True)
    return _nested(category, (), values, f"{name}/{value}/", whole=True)


def _given(config: Any, path: KeyPath) -> Any:
    """The value that ``config`` has at ``path``, literally or as flat key."""
    if isinstance(config, Mapping) and path and path_text(path) in config:
        return config[path_text(path)]
    for key in path:
        try:
            config = config[key]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return config


def _within(domain: Domain, value: Any) -> bool:
    """Whether a number lies between the bounds of a numeric domain; it need not be a multiple of its q."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    number = float(value)
    if isinstance(domain, Integer):
        return number.is_integer() and domain.smallest <= number <= domain.largest
    return not isinstance(domain, Float) or domain.lower <= number <= domain.upper


def agree(asked: Any, recorded: Any) -> bool:
    """Whether a config holds what was suggested; it may hold more."""
    if isinstance(asked, dict) and isinstance(recorded, Mapping):
        return all(key in recorded and agree(value, recorded[key]) for key, value in asked.items())
    if isinstance(asked, (list, tuple)) and isinstance(recorded, (list, tuple)):
        return len(asked) == len(recorded) and all(map(agree, asked, recorded))
    return same(asked, recorded)
