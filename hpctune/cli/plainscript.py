"""Finds out, before a script is run, whether it can define a search. A plain training script would run to its end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hpctune.common.text import quoted
from hpctune.errors import ConfigFileError

_PACKAGES = frozenset({"hpctune", "ray"})
_DEFINED = frozenset({"tuner", "experiment"})
_MAX_FILES = 200
"""Modules beside the script that are read at most."""


def refuse_plain(path: Path) -> None:
    """Raises ConfigFileError if the script at ``path``, and the modules beside it that it imports, have nothing to do
    with a search: no import of hpctune, no ``tuner`` and no ``experiment``. Runs nothing."""
    if not any(tree is None or _is_about_a_search(tree) for tree in _trees(path.absolute())):
        raise ConfigFileError(_words(path))


def imports_ray(path: Path) -> bool:
    """Whether the script at ``path``, or a module beside it that it imports, imports ``ray``. Runs nothing."""
    return any(
        name.split(".")[0] == "ray" for tree in _trees(path.absolute()) if tree is not None for name in _imported(tree)
    )


def _trees(path: Path) -> Iterator[ast.Module | None]:
    """The syntax trees of the script and of the modules in its directory that it imports. None: cannot be parsed."""
    root, waiting, seen = path.parent, [path], set[Path]()
    while waiting and len(seen) < _MAX_FILES:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            yield None
            continue
        yield tree
        for name in _imported(tree):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:length])
                waiting += [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()]


def _is_about_a_search(tree: ast.Module) -> bool:
    if any(name.split(".")[0] in _PACKAGES for name in _imported(tree)):
        return True
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return bool(stored & _DEFINED) or any(
        alias.name == "*" or (alias.asname or alias.name) in _DEFINED
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _words(path: Path) -> str:
    name = path.name
    return (
        f"{path} defines no search: it imports no hpctune, and has no 'tuner' and no 'experiment'. It was not run. "
        f"Three ways to tune it:\n"
        f"  1. as it is, as a program: in a new file tune.py\n"
        f"       import hpctune as tune\n"
        f'       tuner = tune.Tuner(tune.Command("python {name} --lr {{lr}}"), '
        f'param_space={{"lr": tune.loguniform(1e-4, 1e-1)}},\n'
        f'                          tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=20))\n'
        f"     where {name} prints a line 'hpctune: loss=0.3'; then: hpctune run {quoted(path.with_name('tune.py'))}\n"
        f"  2. the same, with one line in {name}: import hpctune; hpctune.report(loss=loss)\n"
        f"  3. as a function: def train(config): ... hpctune.report(loss=loss), and "
        f"tuner = hpctune.Tuner(train, param_space=...)"
    )
