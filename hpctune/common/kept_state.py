"""Objects that a user passes in, that each experiment copies, and that show afterwards what became of the copy."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

_Self = TypeVar("_Self")
_BEFORE = "_before_it_was_used"


def without_use(state: dict[str, Any]) -> dict[str, Any]:
    """``state``, an object's attributes, without what is kept of the time before it was used."""
    return {name: value for name, value in state.items() if name != _BEFORE}


def forget_use(given: Any) -> None:
    """What ``given`` is now is what the next experiment starts from."""
    vars(given).pop(_BEFORE, None)


def before_use(given: _Self) -> _Self:
    """``given`` as it was before an experiment used it: what the next experiment starts from."""
    state = vars(given).get(_BEFORE)
    if state is None:
        return given
    made = copy.copy(given)
    vars(made).clear()
    vars(made).update(state)
    return made


def show_use(given: Any, used: Any, *, but: tuple[str, ...] = ()) -> None:
    """Give ``given`` the attributes of ``used``, the copy that an experiment has used, except ``but``."""
    if given is used or given is None or type(given) is not type(used) or not hasattr(given, "__dict__"):
        return
    before = vars(given).get(_BEFORE) or dict(vars(given))
    vars(given).update({name: value for name, value in without_use(vars(used)).items() if name not in but})
    vars(given)[_BEFORE] = before
