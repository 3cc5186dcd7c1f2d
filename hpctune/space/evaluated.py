"""``{"eval": "spec.config.a * 2"}`` in a search space: an expression in the place of ``sample_from``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from hpctune.space.function import Function

KEY = "eval"


class Expression:
    """A function of ``spec`` that an expression in Python states. It may use ``spec``, ``random`` and ``np``."""

    def __init__(self, text: str) -> None:
        self.__name__ = text
        self._code_text = text

    def __call__(self, spec: Any) -> Any:
        import numpy

        return eval(self._code_text, {"random": random, "np": numpy}, {"spec": spec})


def with_expressions(node: Any) -> Any:
    """``node``, a part of a search space, with its expressions as functions that are asked for each configuration."""
    if isinstance(node, Mapping):
        if len(node) == 1 and isinstance(text := node.get(KEY), str):
            return Function(Expression(text))
        changed = {key: with_expressions(value) for key, value in node.items()}
        return changed if any(changed[key] is not node[key] for key in node) else node
    return node
