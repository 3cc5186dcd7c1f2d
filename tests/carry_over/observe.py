"""Runs the cases of scripts and writes what they observed: ``observe.py --out FILE SCRIPT...``.

A case is a function ``case_...`` that takes an empty folder. What it returns, or raises, is its observation. ``import
ray`` is Ray itself or hpctune, as the process was started.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))  # for trials


def plain(value: Any) -> Any:
    """``value`` as JSON has it; numbers that JSON lacks are words."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if isinstance(value, str | int | float | bool | None) else f"<{type(value).__name__}>"


def observe(name: str, only: str = "") -> dict[str, Any]:
    """What the cases of one script observe."""
    module = importlib.import_module(name)
    found = {}
    for case, function in list(vars(module).items()):
        if not case.startswith("case_") or only not in case:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                found[case.removeprefix("case_")] = plain(function(Path(folder)))
            except Exception as error:
                names = [each.__name__ for each in type(error).__mro__ if each not in (object, BaseException)]
                found[case.removeprefix("case_")] = {"raises": names, "says": str(error)[:300]}
                traceback.print_exc()
            print(f"{time.monotonic() - began:6.1f} s  {name}.{case}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("scripts", nargs="+")
    given = parser.parse_args()
    import ray

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its other display calls no ProgressReporter
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    found = {name: observe(name, given.only) for name in given.scripts}
    given.out.write_text(json.dumps({"version": ray.__version__, "found": found}))


if __name__ == "__main__":
    main()
