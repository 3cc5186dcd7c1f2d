#!/usr/bin/env python3
"""Runs the example scripts of an installed Ray as they are, on hpctune, and prints a table.

python scripts/ray_examples.py --ray /tmp/rayenv/bin/python            # on this machine
python scripts/ray_examples.py --ray /tmp/rayenv/bin/python --cluster slurm pbt_example.py ...
python scripts/ray_examples.py --ray /tmp/rayenv/bin/python --random-images mnist_pytorch.py ...    # without internet
"""

from __future__ import annotations

import argparse
import atexit
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CANNOT = {
    "pb2_ppo_example.py": "RLlib is not here",
    "pbt_ppo_example.py": "RLlib is not here",
    "utils.py": "no script: the others import it",
    "common.py": "no script: the others import it",
    "mnist_ptl_mini.py": "it needs PyTorch Lightning 1",
    "pbt_transformers.py": "it needs an earlier Transformers",
}
_NETWORK = re.compile("URLError|ConnectionError|HTTPError|Error downloading|couldn't connect to")
_SMALL = re.compile(r"A trial needs \d+ [CG]PUs, and this machine offers \d+")
_MISSING = re.compile(r"No module named '([\w.]+)'|needs the package (\w+), which is not")


def examples(python: str) -> list[Path]:
    """The scripts of the Ray that ``python`` has."""
    code = "import importlib.util; print(importlib.util.find_spec('ray').submodule_search_locations[0])"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    place = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=env).stdout.strip()
    folder = Path(place) / "tune" / "examples"
    return sorted(path for path in folder.rglob("*.py") if not path.name.startswith("__"))


def write_images(home: Path) -> None:
    """Files of MNIST's names and format in ``home``, with a few random images: torchvision takes them as downloaded."""
    raw = home / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random.seed(1)
    for kind, count in (("train", 2048), ("t10k", 512)):
        images = struct.pack(">4i", 2051, count, 28, 28) + random.randbytes(count * 28 * 28)
        labels = struct.pack(">2i", 2049, count) + bytes(random.randrange(10) for _ in range(count))
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(labels)


def run(path: Path, cluster: str, limit_s: float, home: Path | None) -> tuple[str, float]:
    """Run one script. ``home``: a home directory with its data. Returns how it went, and the seconds."""
    if path.name in CANNOT:
        return f"not run: {CANNOT[path.name]}", 0.0
    smoke = ["--", "--smoke-test"] if "--smoke-test" in path.read_text() else []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=os.environ.get("HPCTUNE_RESULT_DIR")) as results:
        command = [sys.executable, "-m", "hpctune.cli.main", "run", str(path), "--cluster", cluster, *smoke]
        env = {**os.environ, "HPCTUNE_RESULT_DIR": results} | ({} if home is None else {"HOME": str(home)})
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=limit_s, env=env, cwd=results
            )
        except subprocess.TimeoutExpired:
            return f"not finished after {limit_s:g} s", time.monotonic() - began
        errors_of_trials = "".join(file.read_text() for file in Path(results).rglob("error.txt"))
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return "runs", seconds
    text = done.stdout + done.stderr + errors_of_trials
    if _NETWORK.search(text):
        return "not run: its data could not be downloaded", seconds
    if small := _SMALL.search(text):
        return f"not run: {small[0]}", seconds
    missing = _MISSING.search(text)
    if missing:
        return f"not run: the package {missing[1] or missing[2]} is not installed", seconds
    errors = [line for line in text.splitlines() if "error" in line.lower()]
    return f"fails ({done.returncode}): {(errors or text.splitlines() or [''])[-1][:150]}", seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", default=sys.executable, metavar="PYTHON", help="a Python that has Ray")
    parser.add_argument("--cluster", default="local")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--random-images", action="store_true", help="images of MNIST's format in place of a download")
    parser.add_argument("names", nargs="*", help="only these")
    given = parser.parse_args()
    paths = [path for path in examples(given.ray) if not given.names or path.name in given.names]
    failed = 0
    home = None
    if given.random_images:
        home = Path(tempfile.mkdtemp(prefix="ray-examples-"))
        atexit.register(shutil.rmtree, home)
        write_images(home)
    for path in paths:
        how, seconds = run(path, given.cluster, given.limit, home)
        failed += how.startswith(("fails", "not finished"))
        print(f"| {path.name:52} | {seconds:6.1f} s | {how} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
