"""Searches that are killed and go on, for the tests of trackers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SCRIPT = """
import os, sys, time
import hpctune as tune

FOLDER = "FOLDER_NAME"

def train(config):
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        start = checkpoint.to_dict()["step"]
    for step in range(start + 1, 9):
        if step == 4 and config["x"] == 1 and not os.path.exists(FOLDER + "/failed"):
            open(FOLDER + "/failed", "w").close()
            raise RuntimeError("once")
        while step == 6 and not os.path.exists(FOLDER + "/go"):
            time.sleep(0.05)
        tune.report({"loss": config["x"] / step, "nested": {"a": step}},
                    checkpoint=tune.Checkpoint.from_dict({"step": step}) if step % 2 == 0 else None)

if __name__ == "__main__":
    CALLBACK
    tune.run(train, config={"x": tune.grid_search([1, 2])}, name="exp", local_dir=".", callbacks=[callback],
             max_failures=2, verbose=0, resume="AUTO", cluster="local")
"""
"""Trial 1 fails once after its third result; both wait before the sixth for the file ``go``."""


def killed_and_resumed(folder: Path, callback: str, env: dict[str, str]) -> None:
    """Run the search, kill its driver when both trials have five results, and run the script again."""
    script = folder / "search.py"
    text = SCRIPT.replace("    CALLBACK", "\n".join(f"    {line}" for line in callback.splitlines()))
    script.write_text(text.replace("FOLDER_NAME", str(folder)))
    command = [sys.executable, str(script)]
    environment = {**os.environ, **env}
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    wait_for(lambda: rows_of(folder) >= 10, driver, folder)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    (folder / "go").touch()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "log").write_text((folder / "log").read_text() + done.stdout + done.stderr)


def rows_of(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("exp/*/result.json"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        assert time.monotonic() < limit, "the condition did not come"
        time.sleep(0.05)


def text_of(folder: Path) -> bytes:
    """Everything that lies in the folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "search.py")
