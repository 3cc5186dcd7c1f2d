"""Executables that stand for Slurm's, with scripted answers, and a cluster that calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest
from hpctune.model.resources import Resources

FAKE = r"""#!{python}
import json, os, sys, time
from pathlib import Path
home = Path({home!r})
name = Path(sys.argv[0]).name
with (home / "calls").open("a") as log:
    log.write(json.dumps([name, sys.argv[1:], dict(os.environ)]) + "\n")
answers = home / name
queue = sorted(answers.glob("*.json")) if answers.exists() else []
if not queue:
    sys.exit(0)
answer = json.loads(queue[0].read_text())
if len(queue) > 1:
    queue[0].unlink()
sys.stdout.write(answer["out"]); sys.stderr.write(answer["err"]); sys.stdout.flush(); sys.stderr.flush()
if answer["hang"]:
    time.sleep(60)
sys.exit(answer["rc"])
"""


class Clock:
    def __init__(self) -> None:
        self.at = 1e9

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Slurm:
    """Scripted answers; the last one given is repeated."""

    def __init__(self, home: Path) -> None:
        self.home, self.count = home, 0
        for name in ("sbatch", "squeue", "scancel", "sinfo", "scontrol"):
            program = home / "bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(FAKE.format(python=sys.executable, home=str(home)))
            program.chmod(0o755)

    def says(self, name: str, out: str = "", err: str = "", rc: int = 0, hang: bool = False) -> None:
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        self.count += 1
        answer = {"out": out, "err": err, "rc": rc, "hang": hang}
        (folder / f"{self.count:04d}.json").write_text(json.dumps(answer))

    @property
    def calls(self) -> list[tuple[str, list[str], dict[str, str]]]:
        path = self.home / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def cluster(tmp_path: Path, clock: Clock, **options: Any) -> SlurmCluster:
    return SlurmCluster(tmp_path / "exp", "e1", SlurmOptions(**options), clock)


def request(tmp_path: Path, number: int = 1, resources: object = None) -> JobRequest:
    trial = tmp_path / "exp" / f"trial{number}"
    return JobRequest(
        Tag("e1", f"t{number}", 1), "x", ("python", "-V"), Resources.parse(resources), trial / "out", trial / "err"
    )
