"""YAML as people write it for hyperparameters: ``1e-4`` is a number, a key that occurs twice is an error."""

from __future__ import annotations

import re
from typing import Any

from hpctune.errors import ConfigFileError


def load(text: str) -> Any:
    """The content of a YAML text. Raises ConfigFileError with the line of an error."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
        """YAML 1.1, but ``1e-4`` is a number as in YAML 1.2."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                name = self.construct_object(key, deep=True)
                if isinstance(name, str) and name in seen:
                    raise yaml.MarkedYAMLError(problem=f"{name!r} occurs twice", problem_mark=key.start_mark)
                seen.add(str(name))
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.[\d_]+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ConfigFileError(f"{where}{error.problem or error}") from error
    except yaml.YAMLError as error:
        raise ConfigFileError(str(error)) from error
