"""The public functions that describe a search space, with the names and semantics of Ray Tune."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Categorical, value_list
from hpctune.space.function import Function
from hpctune.space.numeric import Float, Integer
from hpctune.space.tree import GRID_KEY

P = ParamSpec("P")
R = TypeVar("R")


def _explains_itself(define: Callable[P, R]) -> Callable[P, R]:
    """Make a wrong call of ``define`` say what was called, what is wrong with it, and how to write it."""
    signature = inspect.signature(define)
    usage = f"{define.__name__}({', '.join(signature.parameters)})"

    @functools.wraps(define)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        shown = [reprlib.repr(value) for value in args] + [
            f"{name}={reprlib.repr(value)}" for name, value in kwargs.items()
        ]
        call = f"{define.__name__}({', '.join(shown)})"
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise SearchSpaceError(f"{call}: {error}. {_advice(usage)}") from None
        if any(inspect.isroutine(value) for value in (*args, *kwargs.values())):
            raise SearchSpaceError(f"{call}: a function was given where a value belongs. {_advice(usage)}")
        try:
            return define(*args, **kwargs)
        except SearchSpaceError as error:
            raise SearchSpaceError(f"{call}: {error}") from None

    return checked


def _advice(usage: str) -> str:
    return f"Write {usage}; for a value computed by a function of your own, write sample_from(lambda spec: ...)."


@_explains_itself
def uniform(lower: float, upper: float) -> Float:
    """Draw a float uniformly from ``lower`` to ``upper``."""
    return Float(lower, upper).uniform()


@_explains_itself
def quniform(lower: float, upper: float, q: float) -> Float:
    """Draw a float uniformly and round it to a multiple of ``q``; both bounds must be multiples of ``q``."""
    return Float(lower, upper).uniform().quantized(q)


@_explains_itself
def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """Draw a float uniformly on a logarithmic scale; ``lower`` must be positive. ``base`` does not change it."""
    return Float(lower, upper).loguniform(base)


@_explains_itself
def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """Draw a float uniformly on a logarithmic scale and round it to a multiple of ``q``."""
    return Float(lower, upper).loguniform(base).quantized(q)


@_explains_itself
def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Draw a float from the normal distribution with this mean and standard deviation."""
    return Float().normal(mean, sd)


@_explains_itself
def qrandn(mean: float, sd: float, q: float) -> Float:
    """Draw a float from a normal distribution and round it to a multiple of ``q``."""
    return Float().normal(mean, sd).quantized(q)


@_explains_itself
def randint(lower: int, upper: int) -> Integer:
    """Draw an integer uniformly from ``lower`` (included) to ``upper`` (excluded)."""
    return Integer(lower, upper).uniform()


@_explains_itself
def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Draw a multiple of ``q`` uniformly from ``lower`` to ``upper``, both included."""
    return Integer(lower, upper).uniform().quantized(q)


@_explains_itself
def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """Draw an integer on a logarithmic scale from ``lower`` (included, positive) to ``upper`` (excluded)."""
    return Integer(lower, upper).loguniform(base)


@_explains_itself
def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """Draw a multiple of ``q`` on a logarithmic scale from ``lower`` to ``upper``, both included."""
    return Integer(lower, upper).loguniform(base).quantized(q)


@_explains_itself
def choice(categories: Iterable[Any]) -> Categorical:
    """Draw one of ``categories``, each equally likely. A category may itself be a space with domains in it."""
    return Categorical(categories).uniform()


def sample_from(func: Callable[..., Any]) -> Function:
    """Let a function compute the value.

    It is called with ``spec``, where ``spec.config.lr`` (or ``spec["config"]["lr"]``) is the value of another
    parameter, sampled, from a grid or constant; or with nothing, if it takes no argument. It may use the global
    ``random`` and ``numpy.random``: they are seeded for the call, so the experiment's seed fixes them as well.

    A function that stands in the space without ``sample_from`` is a constant and reaches the trial as it is.
    """
    return Function(func)


@_explains_itself
def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Try every one of ``values``. Several grid axes form their product; num_samples repeats the whole grid."""
    return {GRID_KEY: value_list(values)}
