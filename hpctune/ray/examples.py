"""``ray.tune.examples``: the example scripts that come with Ray, where they are. hpctune has none of its own.

They are found beside the script that imports them, or in a Ray that is installed; their ``import ray`` is hpctune.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

PACKAGE = "ray.tune.examples"
_PARTS = tuple(PACKAGE.split("."))


def find(name: str) -> ModuleSpec | None:
    """The spec of the package of examples, or of a module in it; None if it is not here."""
    folders = _folders()
    if not folders:
        return None
    if name == PACKAGE:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = folders
        return spec
    package, _, _ = name.rpartition(".")
    return PathFinder.find_spec(name, folders if package == PACKAGE else _inside(package, folders))


def _folders() -> list[str]:
    """The folders of examples: around an entry of the path of modules, or below one."""
    entries = [Path(entry) for entry in sys.path if entry]
    found = [folder for entry in entries for folder in (entry, *entry.parents) if folder.parts[-3:] == _PARTS]
    found += [entry.joinpath(*_PARTS) for entry in entries if entry.joinpath(*_PARTS).is_dir()]
    return list(dict.fromkeys(map(str, found)))


def _inside(package: str, folders: list[str]) -> list[str]:
    below = package.removeprefix(f"{PACKAGE}.").split(".")
    return [str(Path(folder, *below)) for folder in folders]
