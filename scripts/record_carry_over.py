#!/usr/bin/env python3
"""Records what the scripts of tests/carry_over observe with an installed Ray.

python scripts/record_carry_over.py --ray /tmp/rayenv/bin/python                  # all: some minutes
python scripts/record_carry_over.py --ray /tmp/rayenv/bin/python stoppers spaces
python scripts/record_carry_over.py --ray /tmp/ray1/bin/python generation_1

The Python that is given has ``ray[tune]`` installed: the newest, or ray[tune]==1.13.0 (on Python 3.10, with
protobuf<3.21, numpy<1.24, pandas<2 and pydantic<2) for the script generation_1. What the script documented observes is
not recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PLACE = Path(__file__).resolve().parents[1] / "tests" / "carry_over"


def record(python: str, name: str) -> int:
    """Run one script and write what it observed. Returns the number of its cases."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        subprocess.run([python, str(PLACE / "observe.py"), "--out", str(out), name], check=True, env=env, cwd=folder)
        observed = json.loads(out.read_text())
    lines = [f"{json.dumps(case)}: {json.dumps(value)}" for case, value in observed["found"][name].items()]
    text = f'{{"ray": "{observed["version"]}", "cases": {{\n' + ",\n".join(lines) + "\n}}\n"
    (PLACE / "recorded" / f"{name}.json").write_text(text)
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", default=sys.executable, metavar="PYTHON", help="a Python that has Ray")
    parser.add_argument("names", nargs="*", help="only these scripts")
    given = parser.parse_args()
    helpers = ("lab", "documented", "generation_1")
    every = sorted(path.stem for path in (PLACE / "scripts").glob("*.py") if path.stem not in helpers)
    for name in given.names or every:
        print(f"{name}: {record(given.ray, name)} cases", flush=True)


if __name__ == "__main__":
    main()
