"""A job that transfers its files: its own directory stands for the node, a real sshd for the driver's host."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.file_transfer import ends
from tests.support.ssh_lab import NAME, Laptop
from tests.support.worker_support import Bench


class TransferBench(Bench):
    """One trial on the driver's host, and jobs that reach it by ssh as ``NAME`` of the laptop's configuration."""

    def __init__(
        self, root: Path, laptop: Laptop, trainable: Any, config: Mapping[str, Any] | None = None, **control: Any
    ) -> None:
        super().__init__(root, trainable, config, **control)
        self.laptop, self.node = laptop, root / "node"
        self.node.mkdir()

    def start(self, attempt: int = 1, **env: str) -> subprocess.Popen[str]:
        """Start a job as its script does. ``RESTART``: how often Slurm has started it before. ``POLL_S``: seconds from
        one look at the orders to the next."""
        restart, poll_s = env.pop("RESTART", "0"), env.pop("POLL_S", "0.2")
        here = self.node / f"{ends.STAGE_PREFIX}{len(self.processes)}"
        here.mkdir(mode=0o700)
        slurm = {"SLURM_JOB_ID": "7", "HPCTUNE_JOB_ID": "7", "SLURM_RESTART_COUNT": restart}
        trial = self.trial.root
        with (here / "stdout").open("ab") as out, (here / "stderr").open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "hpctune.file_transfer", NAME, str(self.paths.root), trial.name,
                 str(attempt), str(trial / "stdout"), str(trial / "stderr"), poll_s],
                env=self.laptop.environment() | slurm | {ends.STAGE_VARIABLE: str(here)} | env,
                cwd=self.node, stdout=out, stderr=errors, text=True, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def said(self) -> str:
        """What the last job wrote that is still on the node."""
        here = self.node / f"{ends.STAGE_PREFIX}{len(self.processes) - 1}"
        texts = [path.read_text() for path in (here / "stdout", here / "stderr") if path.exists()]
        return "".join(texts)


def saving(blocks: int = 3, steps: int = 6, pause: float = 0.02) -> Any:
    """A trainable that reports ``steps`` times, each time with a checkpoint of ``blocks`` files of random bytes, whose
    sums are in another file. It goes on from a checkpoint."""

    def train(config: dict[str, Any]) -> None:
        import hashlib
        import json
        import tempfile
        import time
        from pathlib import Path

        import hpctune

        checkpoint, first = hpctune.get_checkpoint(), 1
        if checkpoint is not None:
            first = json.loads(Path(checkpoint.path, "sums.json").read_text())["step"] + 1
        for step in range(first, steps + 1):
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "inner").mkdir()
                data = {f"inner/{number}": os.urandom(40_000 + number) for number in range(blocks)}
                for name, content in data.items():
                    Path(directory, name).write_bytes(content)
                sums = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
                Path(directory, "sums.json").write_text(json.dumps({"step": step, "sums": sums}))
                print(f"step {step}")
                hpctune.report({"step": step, "from": first}, checkpoint=hpctune.Checkpoint(directory))
            time.sleep(pause)

    return train


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint of :func:`saving` has all that it was saved with."""
    try:
        sums = json.loads((checkpoint / "sums.json").read_text())["sums"]
        found = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in sums}
        return found == sums and (checkpoint / ".hpctune.json").stat().st_size > 0
    except (OSError, ValueError):
        return False


class Watcher:
    """Looks at the driver's side again and again, by plain reading: each checkpoint that a run file names is there,
    complete, and what has been read of a run file never changes."""

    def __init__(self, trial: Path) -> None:
        self._trial, self.wrong, self.looks = trial, list[str](), 0
        self._read: dict[Path, bytes] = {}
        self._complete: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.look()

    def look(self) -> None:
        self.looks += 1
        for path in sorted(self._trial.glob("run-*.jsonl")):
            data = path.read_bytes()
            if not data.startswith(self._read.get(path, b"")):
                self.wrong.append(f"{path.name} has changed")
            self._read[path] = data[: data.rfind(b"\n") + 1]
            for line in self._read[path].splitlines():
                name = json.loads(line).get("checkpoint")
                if name and name not in self._complete:
                    if is_complete(self._trial / name):
                        self._complete.add(name)
                    else:
                        self.wrong.append(f"{path.name} names {name}, which is not complete")
