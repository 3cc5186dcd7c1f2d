"""The domain behind ``sample_from``: whatever a function returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Domain
from hpctune.space.randomness import seeded_globals
from hpctune.space.view import config_view

if TYPE_CHECKING:
    from numpy.random import Generator


class Function(Domain):
    """Whatever a function returns: see :func:`hpctune.space.sample_from`."""

    def __init__(self, func: Callable[..., Any]) -> None:
        if not callable(func) or isinstance(func, Domain):
            raise SearchSpaceError(f"sample_from takes a function of spec, for example a lambda, not {func!r}.")
        if not accepts(func, None) and not accepts(func):
            raise SearchSpaceError(
                f"sample_from takes a function of spec, or of nothing. {getattr(func, '__name__', func)!r} has the "
                f"parameters {inspect.signature(func)}."
            )
        self.func = func

    @property
    def domain_str(self) -> str:
        return f"({getattr(self.func, '__name__', repr(self.func))})"

    def _values(self) -> object:
        return self.func

    def is_function(self) -> bool:
        return True

    def is_valid(self, value: Any) -> bool:
        return True  # only the function itself could know

    def draw(self, rng: Generator) -> Any:
        return self.call(rng, config_view({}))

    def _draw_with(self, rng: Generator, config: Mapping[str, Any] | None) -> Any:
        return self.call(rng, config_view(config or {}))

    def call(self, rng: Generator, spec: object) -> Any:
        """Return what the function makes of ``spec``, with the global random numbers seeded from ``rng``."""
        with seeded_globals(rng):
            return self.func(spec) if accepts(self.func, None) else self.func()


def accepts(func: Callable[..., Any], *arguments: object) -> bool:
    """Return whether a function can be called with these arguments; one that does not tell is called with none."""
    try:
        inspect.signature(func).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return not arguments
    return True
