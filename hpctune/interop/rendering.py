"""Calls as data: they can be made, and written as Python source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hpctune.errors import UsageError
from hpctune.space.describe import TYPE, described_domain
from hpctune.space.domain import Categorical, Domain
from hpctune.space.function import Function
from hpctune.space.samplers import Weighted
from hpctune.space.tree import grid_values, is_grid

_WIDTH = 100
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function. ``module``, ``name``: where it is. Options that are None are left out."""

    module: str
    name: str
    arguments: Sequence[Any] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> dict[str, Any]:
        """The options without those that are None."""
        return {name: value for name, value in self.options.items() if value is not None}


def call(place: str, *arguments: Any, **options: Any) -> Call:
    """A call of ``module:name``."""
    module, _, name = place.partition(":")
    return Call(module, name, arguments, options)


def made(value: Any) -> Any:
    """``value`` with all calls in it made."""
    if isinstance(value, Call):
        import importlib

        function: Callable[..., Any] = getattr(importlib.import_module(value.module), value.name)
        options = {name: made(option) for name, option in value.given.items()}
        return function(*map(made, value.arguments), **options)
    if isinstance(value, Mapping):
        return {key: made(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(made, value))
    return value


def source(name: str, value: Call, heading: str) -> str:
    """A Python file that assigns ``value`` to ``name``. ``heading``: its docstring."""
    modules: dict[str, set[str]] = {}
    text = f"{name} = {_text(value, modules, 0)}\n"
    imports = [
        "import hpctune as tune",
        *(f"from {m} import {', '.join(sorted(n))}" for m, n in sorted(modules.items())),
    ]
    return f'"""{heading}"""\n\n' + "\n".join(imports) + f"\n\n{text}"


def _text(value: Any, modules: dict[str, set[str]], depth: int) -> str:
    if isinstance(value, Domain) or is_grid(value):
        value = _as_call(value)
    if isinstance(value, Call):
        parts = [_text(each, modules, depth + 1) for each in value.arguments]
        parts += [f"{name}={_text(option, modules, depth + 1)}" for name, option in value.given.items()]
        if value.module == "hpctune":
            return _joined(f"tune.{value.name}(", parts, ")", depth)
        modules.setdefault(value.module, set()).add(value.name)
        return _joined(f"{value.name}(", parts, ")", depth)
    if isinstance(value, Mapping):
        parts = [
            f"{_quoted(key) if isinstance(key, str) else repr(key)}: {_text(child, modules, depth + 1)}"
            for key, child in value.items()
        ]
        return _joined("{", parts, "}", depth)
    if isinstance(value, list):
        return _joined("[", [_text(child, modules, depth + 1) for child in value], "]", depth)
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, (bool, int, float, tuple)):
        return repr(value)
    raise UsageError(f"{value!r} cannot be written as Python source.")


def _quoted(text: str) -> str:
    """A literal in double quotes, if that needs no backslash."""
    return f'"{text}"' if text.isprintable() and not {'"', "\\"} & {*text} else repr(text)


def _joined(begin: str, parts: Sequence[str], end: str, depth: int) -> str:
    line = f"{begin}{', '.join(parts)}{end}"
    if len(line) + len(_INDENT) * depth <= _WIDTH and "\n" not in line:
        return line
    inner = _INDENT * (depth + 1)
    return begin + "".join(f"\n{inner}{part}," for part in parts) + f"\n{_INDENT * depth}{end}"


def _as_call(domain: Any) -> Call:
    """The call that makes a domain or a grid."""
    if is_grid(domain):
        return call("hpctune:grid_search", grid_values(domain))
    if isinstance(domain, Categorical):
        if isinstance(domain.sampler, Weighted):
            weights = list(domain.sampler.probabilities)
            return call("hpctune.space.distributions:weighted_choice", list(domain.categories), weights)
        return call("hpctune:choice", list(domain.categories))
    if isinstance(domain, Function) and is_dataclass(domain.func) and not isinstance(domain.func, type):
        kind = type(domain.func)
        given = {field.name: getattr(domain.func, field.name) for field in fields(domain.func)}
        return call("hpctune:sample_from", call(f"{kind.__module__}:{kind.__name__}", **given))
    stated = described_domain(domain)
    if "function" in stated:
        raise UsageError(f"{domain!r} cannot be written as Python source.")
    return call(f"hpctune:{stated.pop(TYPE)}", *stated.values())
