"""Docstrings as Markdown: the references that our docstrings mark in the way of Sphinx are shown as code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|meth|func|attr|data|mod):`[~.]?([^`]+)`")


class Roles(Extension):
    """For mkdocstrings."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """An object was read, with its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value).replace("::\n", ":\n")
