#!/usr/bin/env python3
"""Lists the public names of Ray that a tuning script can import, and those that hpctune lacks.

    python scripts/ray_names.py --ray /tmp/rayenv/bin/python            # what is missing
    python scripts/ray_names.py --ray /tmp/rayenv/bin/python --record   # and keep the names for the tests
    python scripts/ray_names.py --wheel ray-0.8.7-cp37-cp37m-manylinux1_x86_64.whl    # of one that cannot be installed

The Python that is given has Ray installed. Only names are taken: modules, and what they define. There is one record for
each generation, 0.x, 1.x and 2.x.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).resolve().parents[1] / "tests" / "traces"

INSPECT = r"""
import ast, importlib, inspect, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
import ray
import ray.tune
ALONE = (
    "ray ray.air ray.air.config ray.air.constants ray.air.integrations.comet ray.air.integrations.mlflow "
    "ray.air.integrations.wandb ray.air.result ray.air.session ray.exceptions ray.train ray.train.context "
    "ray.train.error ray.util ray.util.multiprocessing ray.util.placement_group ray.util.queue"
).split()

def assigned(module):
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return set()
    targets = []
    for node in tree.body:
        targets += getattr(node, "targets", [getattr(node, "target", None)])
    return {t.id for t in targets if isinstance(t, ast.Name)}

def public(module):
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return sorted({n for n in declared if not n.startswith("_")})
    every = ("ray.tune.result", "ray.air.constants")
    own = set(vars(module)) if module.__name__ in every else assigned(module)
    found = set()
    for name, value in vars(module).items():
        if name.startswith("_") or name == "TYPE_CHECKING" or inspect.ismodule(value):
            continue
        constant = name.isupper() and name in own
        if constant or getattr(value, "__module__", None) == module.__name__ and callable(value):
            found.add(name)
    return sorted(found)

def skipped(name):
    return any(part.startswith("_") or part in ("tests", "examples") for part in name.split("."))

names = ["ray.tune", *ALONE]
names += [m.name for m in pkgutil.walk_packages(ray.tune.__path__, "ray.tune.", onerror=str) if not skipped(m.name)]
found = {}
for name in sorted(set(names)):
    try:
        found[name] = public(importlib.import_module(name))
    except BaseException:
        found[name] = []  # it needs a package that is not installed
json.dump({"version": ray.__version__, "names": found}, sys.stdout)
"""


def names_of(python: str) -> dict[str, Any]:
    """The version and the public names of the Ray that ``python`` has."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", INSPECT], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{python} cannot import Ray:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"version"') :])
    return found


def names_in(wheel: Path) -> dict[str, Any]:
    """The version and the public names of Ray Tune that a wheel has, as its sources say."""
    found: dict[str, list[str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            path = entry.partition("purelib/")[2] or entry
            parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
            wanted = path.startswith("ray/tune/") or path in ("ray/__init__.py", "ray/exceptions.py")
            inside = any(part.startswith("_") or part in ("tests", "examples") for part in parts)
            if path.endswith(".py") and wanted and not inside:
                found[".".join(parts)] = stated(archive.read(entry), whole=path.endswith("__init__.py"))
    return {"version": wheel.name.split("-")[1], "names": found}


def stated(source: bytes, *, whole: bool) -> list[str]:
    """The public names of a module: those of ``__all__``, else what it defines; ``whole``: and what it imports."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and whole:
            names |= {each.asname or each.name for each in node.names}
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name) and target.id == "__all__":
                return sorted(name for name in ast.literal_eval(node.value) if not name.startswith("_"))
            if isinstance(target, ast.Name) and target.id.isupper():
                names.add(target.id)
    return sorted(name for name in names if not name.startswith("_"))


def missing_in_hpctune(names: dict[str, list[str]]) -> list[str]:
    """The names that hpctune neither has, nor says why it has them not."""
    import hpctune.ray

    hpctune.ray.install()
    importlib.import_module("ray")
    from hpctune.errors import MissingPackageError
    from hpctune.ray import modules
    from hpctune.ray.names import known

    lacking = []
    for module, members in sorted(names.items()):
        if not known(module) and not modules.reason_for(module):
            lacking.append(module)
            continue
        for member in members if known(module) else ():
            try:
                modules.found(module, member)
            except MissingPackageError:  # it is here, for those who have the package
                continue
            except modules.RayNameError:
                if not modules.reason_for(f"{module}.{member}"):
                    lacking.append(f"{module}.{member}")
    return lacking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", default=sys.executable, metavar="PYTHON", help="a Python that has Ray")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="a wheel of Ray, which is only read")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDS}/ray_names_GENERATION.json")
    given = parser.parse_args()
    found = names_in(given.wheel) if given.wheel else names_of(given.ray)
    if given.record:
        generation = found["version"].partition(".")[0]
        (RECORDS / f"ray_names_{generation}.json").write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    missing = missing_in_hpctune(found["names"])
    for name in missing:
        print(name)
    print(f"{len(missing)} names of Ray {found['version']} are missing in hpctune without a reason", file=sys.stderr)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
