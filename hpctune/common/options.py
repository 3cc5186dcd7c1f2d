"""Options that are given by their names, as a dict or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hpctune.common.text import nearest
from hpctune.errors import UsageError


def option_values(kind: type[Any], given: Mapping[Any, Any], title: str) -> dict[str, Any]:
    """The values for the dataclass ``kind``. Names may contain dashes instead of underscores.

    Raises UsageError for a name that it has no field for. ``title``: how the message calls it.
    """
    names = [field.name for field in fields(kind)]
    values = {str(name).replace("-", "_"): value for name, value in given.items()}
    for name in sorted(set(values) - set(names)):
        raise UsageError(
            f"{title} has no option {name!r}. {nearest(name, names)}Valid are: {', '.join(sorted(names))}."
        )
    return values
