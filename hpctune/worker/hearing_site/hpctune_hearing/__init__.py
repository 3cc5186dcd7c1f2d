"""What a program logs to another package is heard: the real package is loaded, and methods of its are followed.

It runs in the user's Python: nothing but the standard library is needed.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def installed(name: str, site: str) -> Any:
    """The package that is installed; None if there is none. ``site``: the place of what is imported in its stead.

    A directory of this name, such as one with old runs, is none.
    """
    before = list(sys.path)
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != site]
    own = sys.modules.pop(name, None)
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        found = None
    finally:
        sys.path[:] = before  # processes that this one spawns get it
        if own is not None:
            sys.modules[name] = own
    return None if found is None or getattr(found, "__file__", None) is None else found


def hear(kind: Any, name: str, listener: Any) -> None:
    """Let ``listener`` have the object and the arguments of a method after it was called."""
    original = getattr(kind, name)

    def hearing(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        listener(self, *args, **kwargs)
        return answer

    hearing.__name__, hearing.__doc__ = name, original.__doc__
    setattr(kind, name, hearing)
