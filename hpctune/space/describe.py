"""A search space as JSON, for people and for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.errors import SearchSpaceError
from hpctune.space import functions
from hpctune.space.domain import Categorical, Domain
from hpctune.space.function import Function
from hpctune.space.numeric import Float, Integer
from hpctune.space.samplers import LogUniform, Normal, Quantized, Weighted
from hpctune.space.tree import grid_values, is_grid

TYPE = "type"
_ARGUMENTS = {
    **{f"{q}{name}": {"lower", "upper", *extra} for q, extra in (("", ""), ("q", "q"))
       for name in ("uniform", "loguniform", "randint", "lograndint")},
    "randn": {"mean", "sd"},
    "qrandn": {"mean", "sd", "q"},
}  # fmt: skip
"""The arguments of the functions that make numeric domains."""


def described(space: Any) -> Any:
    """``space`` with each domain as a dict: its ``type`` (the name of the function that makes it) and its arguments.

    ``{"lr": loguniform(1e-4, 1)}`` becomes ``{"lr": {"type": "loguniform", "lower": 0.0001, "upper": 1.0}}``.
    """
    if is_grid(space):
        return {TYPE: "grid_search", "values": [described(value) for value in grid_values(space)]}
    if isinstance(space, Domain):
        return described_domain(space)
    if isinstance(space, Mapping):
        return {str(key): described(child) for key, child in space.items()}
    if isinstance(space, (list, tuple)):
        return [described(child) for child in space]
    return space


def described_domain(domain: Domain) -> dict[str, Any]:
    """One domain as a dict."""
    if isinstance(domain, Categorical):
        weights = {"weights": list(domain.sampler.probabilities)} if isinstance(domain.sampler, Weighted) else {}
        return {TYPE: "choice", "values": [described(value) for value in domain.categories], **weights}
    if isinstance(domain, Function):
        return {TYPE: "sample_from", "function": repr(domain)}
    sampler = domain.exact_sampler()
    step = {"q": domain.sampler.q} if isinstance(domain.sampler, Quantized) else {}
    prefix = "q" if step else ""
    if isinstance(domain, Float) and isinstance(sampler, Normal):
        return {TYPE: f"{prefix}randn", "mean": sampler.mean, "sd": sampler.sd, **step}
    if isinstance(domain, (Float, Integer)):
        whole = isinstance(domain, Integer)
        name = ("lograndint" if whole else "loguniform") if isinstance(sampler, LogUniform) else "randint"
        name = name if whole or isinstance(sampler, LogUniform) else "uniform"
        return {TYPE: f"{prefix}{name}", "lower": domain.lower, "upper": domain.upper, **step}
    return {TYPE: type(domain).__name__, "function": repr(domain)}


def domains_of(description: Any, name: str = "") -> dict[str, list[Domain | None]]:
    """The domains of a space as :func:`described` gives it, by the flat names of their parameters.

    A name has several domains if options of a choice have one each. None: the domain is not known, such as that of a
    function.
    """
    found: dict[str, list[Domain | None]] = {}
    children: list[tuple[str, Any]] = []
    if isinstance(description, list):
        children = [(str(number), child) for number, child in enumerate(description)]
    elif isinstance(description, Mapping):
        kind = description.get(TYPE)
        if kind in ("choice", "grid_search") and isinstance(description.get("values"), list):
            options = description["values"]
            nested = [option for option in options if isinstance(option, Mapping)]
            if not nested:
                return {name: [Categorical(options)]}
            children = [("", option) for option in nested]
        elif kind == "sample_from" and "function" in description:
            return {name: [None]}
        elif isinstance(kind, str) and _ARGUMENTS.get(kind) == description.keys() - {TYPE}:
            return {name: [_numeric(kind, description)]}
        else:
            children = list(description.items())
    for key, child in children:
        for inner, domains in domains_of(child, "/".join(part for part in (name, key) if part)).items():
            found.setdefault(inner, []).extend(domains)
    return found


def log_scales(description: Any) -> dict[str, bool]:
    """Whether each numeric parameter of a space, as :func:`described` gives it, is drawn on a logarithmic scale.

    Without the parameters that are choices, and those that have several domains.
    """
    return {
        name: isinstance(domains[0].exact_sampler(), LogUniform)
        for name, domains in domains_of(description).items()
        if len(domains) == 1 and isinstance(domains[0], (Float, Integer))
    }


def _numeric(kind: str, description: Mapping[str, Any]) -> Domain | None:
    make = getattr(functions, kind)
    try:
        made: Domain = make(**{name: value for name, value in description.items() if name != TYPE})
    except (SearchSpaceError, TypeError):  # bounds that JSON does not have
        return None
    return made
