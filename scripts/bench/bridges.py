"""hpctune beside the tools whose scripts it runs, on a Slurm of four nodes with two CPUs each, which it brings up.

    python scripts/bench/bridges.py --peers /path/to/python [--trials 24] [--epochs 10] [--seconds 0.3]

``--peers`` is the python of an environment with optuna, hydra-core and hydra-submitit-launcher. Rows, each with the
same script by the tool itself and by hpctune (``hpctune: ...``):

- ``optuna``: eight jobs of an array run the script, with a JournalStorage on the shared directory, until the study has
  all trials
- ``hydra``: a multirun of an app with the submitit launcher; hpctune runs it by its sweeper
- ``loop``: a loop over sbatch, with a job for each configuration
- ``agents``: a stand-in for W&B's agents, which need a server: eight jobs of an array take configurations from a
  directory, until there is none

Each trial sleeps for some epochs and writes its result at the end; it saves no checkpoint. So many times (``--kills``)
all processes of a job that runs (or, one time in five, of the driver on the login node, if there is one) are ended with
SIGKILL, at moments and by choices from the same seed. After a killed driver, and after a driver that has ended with
failed trials, hpctune is started again, with the option that tries those again. The other tools have no such command:
an array, a loop and a multirun are started once.

Printed: the makespan, the CPU hours that Slurm had allocated, how often Slurm was called, and how many trials have no
result at the end; each beside hpctune's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slurm_peers import CANCELS, CPUS, NODES, QUERIES, SUBMITS, jobs, private_slurm, requests, sum_of

WORK = """
import os, sys, time
EPOCHS, SECONDS = {epochs}, {seconds}
def train(x):
    for epoch in range(EPOCHS):
        time.sleep(SECONDS)
    with open({results!r} + "/" + repr(x), "w") as file:
        file.write(str(x))
    return (x - 1) ** 2
"""
OPTUNA = """
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from work import train

def objective(trial):
    return train(trial.suggest_float("x", 0, 10))

def enough(study, trial):
    if len(study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])) >= {trials}:
        study.stop()

storage = JournalStorage(JournalFileBackend("journal.log"))
study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
study.optimize(objective, n_trials={trials}, callbacks=[enough])
"""
HYDRA = """
import sys
sys.path.insert(0, {place!r})
import hydra
from work import train

@hydra.main(config_path=None, version_base="1.3")
def main(cfg):
    return train(cfg.x)

if __name__ == "__main__":
    main()
"""
LOOP = """#!/bin/bash
for x in $(seq {trials}); do
    sbatch -p {partition} --mem=200M -t 30 -o /dev/null {python} $x
done
"""
JOB = "#!/bin/bash\nPYTHONPATH={place} {python} -c 'import sys, work; work.train(int(sys.argv[1]))' $1\n"
AGENT = """#!/bin/bash
# takes the next configuration, as an agent asks its server for one
while next=$(ls queue | head -1) && [ -n "$next" ]; do
    mv queue/$next taken/$next 2>/dev/null || continue
    PYTHONPATH={place} {python} -c 'import sys, work; work.train(int(sys.argv[1]))' ${{next#x}}
done
"""


@dataclass
class Row:
    """One way to run the work.

    ``start``: the command, and ``again``: the one after the driver was killed, if there is a way. ``ends``: whether the
    command ends when the search does; otherwise it has submitted, and all jobs are waited for.
    """

    name: str
    start: list[str]
    again: list[str] | None = None
    ends: bool = True
    files: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None


def rows(given: argparse.Namespace) -> list[Row]:
    """All rows, the tool itself before hpctune."""
    n, limits = given.trials, ["-p", "main", "--mem=200M", "-t", "30"]
    ours = ["--cluster", "slurm", "-p", "main", "--mem", "200M", "-t", "30", "--storage-path", "results", "-v", "0"]
    pool = [*ours, "--workers", str(NODES * CPUS)]
    retried = ["--max-concurrent", str(NODES * CPUS)]
    array = ["sbatch", *limits, f"--array=1-{NODES * CPUS}", "-o", "/dev/null"]
    launch = [
        "app.py", "-m", f"+x=range(1,{n + 1})", "hydra.sweep.dir=out", "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=main", "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=30",
        f"hydra.launcher.array_parallelism={NODES * CPUS}",
    ]  # fmt: skip
    sweeper = [sys.executable, "app.py", "-m", "hydra/sweeper=hpctune", f"+x=range(1,{n + 1})", "hydra.sweep.dir=out"]
    sweeper += ["hydra.sweeper.cluster=slurm", "hydra.sweeper.slurm={partition: main, mem: 200M, time: 30}"]
    sweeper += [f"hydra.sweeper.n_jobs={NODES * CPUS}"]
    sbatch = LOOP.format(trials=n, partition="main", python="job.sh")
    study = {"study.py": OPTUNA.format(trials=n)}
    return [
        Row("optuna", [*array, "--wrap", f"{given.peers} study.py"], ends=False, files=study),
        Row("hpctune: optuna", ["hpctune", "run", "study.py", *ours, *retried, "--name", "e"],
            ["hpctune", "run", "study.py", *ours, *retried, "--name", "e", "--resume", "AUTO+ERRORED"], files=study),
        Row("hpctune: optuna, workers", ["hpctune", "run", "study.py", *pool, "--name", "e"],
            ["hpctune", "run", "study.py", *pool, "--name", "e", "--resume", "AUTO+ERRORED"], files=study),
        Row("hydra", [given.peers, *launch], files={"app.py": HYDRA}),
        Row("hpctune: hydra", sweeper, [*sweeper, "hydra.sweeper.resume=true"], files={"app.py": HYDRA}),
        Row("loop", ["bash", "submit.sh"], ends=False, files={"submit.sh": sbatch, "job.sh": JOB}),
        Row("hpctune: loop", ["hpctune", "run", "submit.sh", *ours[:2], *ours[-4:], "--name", "e"],
            ["hpctune", "resume", "results/e", "--errored"], files={"submit.sh": sbatch, "job.sh": JOB}),
        Row("agents (stand-in)", [*array, "agent.sh"], ends=False, files={"agent.sh": AGENT},
            prepare=lambda place: queue(place, n)),
        Row("hpctune: loop, workers", ["hpctune", "run", "submit.sh", *ours[:2], *ours[-4:], "--name", "e",
            "--workers", str(NODES * CPUS)],
            ["hpctune", "resume", "results/e", "--errored"], files={"submit.sh": sbatch, "job.sh": JOB}),
    ]  # fmt: skip


def queue(place: Path, trials: int) -> None:
    """The stand-in's configurations."""
    (place / "queue").mkdir()
    (place / "taken").mkdir()
    for x in range(1, trials + 1):
        (place / "queue" / f"x{x}").touch()


RESTARTS = 5
"""How often a driver that has ended with failed trials is started again."""
LOOKS = [0]
"""How often this script itself has asked squeue: two requests each."""


def alive() -> list[tuple[str, str]]:
    """Jobs that are not over, with their states."""
    LOOKS[0] += 1
    return [(name, state) for name, (state, _, _) in jobs().items() if state in ("PENDING", "RUNNING", "COMPLETING")]


class Killer:
    """Kills jobs and drivers at moments that a seed decides."""

    def __init__(self, kills: int, length_s: float, seed: int) -> None:
        self.random = random.Random(seed)
        self.moments = sorted(self.random.uniform(0.1, 0.9) * length_s for _ in range(kills))
        self.began, self.done = time.time(), 0

    def strike(self, driver: subprocess.Popen[bytes] | None) -> bool:
        """Kill what is due; True if it was the driver."""
        if not self.moments or time.time() - self.began < self.moments[0]:
            return False
        running = sorted(name for name, state in alive() if state == "RUNNING")
        if not running:
            return False
        self.moments.pop(0)
        of_driver, which = self.random.random() < 0.2, self.random.random()
        self.done += 1
        if of_driver and driver is not None and driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            return True
        victim = running[int(which * len(running))]
        subprocess.run(["scancel", "--signal=KILL", "--full", victim], check=False, capture_output=True)
        return False


def measure(row: Row, given: argparse.Namespace, top: Path, kills: int) -> dict[str, float]:
    """Run one row; what it took."""
    place = top / f"{'-'.join(re.findall('[a-z]+', row.name))}-{kills}"
    results = place / "done"
    results.mkdir(parents=True)
    blanks = {"place": str(place), "python": given.peers, "trials": given.trials}
    work = WORK.format(epochs=given.epochs, seconds=given.seconds, results=str(results))
    for name, text in {**row.files, "work.py": work}.items():
        made = text.format(**blanks) if text in (HYDRA, JOB, AGENT) else text
        (place / name).write_text(made)
    if row.prepare:
        row.prepare(place)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ideal_s = given.trials * given.epochs * given.seconds / (NODES * CPUS)
    LOOKS[0] = 0
    known, before, killer = set(jobs()), requests(), Killer(kills, ideal_s, given.seed)
    log = (place / "log").open("w")

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        print(shlex.join(command), file=log, flush=True)
        return subprocess.Popen(command, cwd=place, env=env, stdout=log, stderr=log)

    driver, again = start(row.start), 0
    deadline = time.time() + given.limit_s
    while time.time() < deadline:
        dead = killer.strike(driver if row.ends else None)
        if dead and row.again is not None:
            driver = start(row.again)
        ended = driver.poll() is not None
        missing = len(list(results.iterdir())) < given.trials
        if ended and missing and row.again is not None and killer.done and again < RESTARTS:
            driver, again = start(row.again), again + 1  # as its last words say
        elif ended and not alive():
            break
        time.sleep(0.2)
    wall_s = time.time() - killer.began
    if driver.poll() is None:
        driver.kill()
    subprocess.run(["scancel", "--me"], check=False)
    while alive():
        time.sleep(0.2)
    log.close()
    caused = requests() - before
    caused["KILL_JOB"] -= killer.done
    spans = [(start, end) for name, (_, start, end) in jobs().items() if name not in known and start and end]
    found = len(list(results.iterdir()))
    print(f"    {row.name}: {killer.done} kills, {found} results, {dict(caused)}", file=sys.stderr, flush=True)
    return {
        "wall_s": wall_s,
        "cpu_s": sum(end - start for start, end in spans),
        "calls": sum_of(caused, (*SUBMITS, *QUERIES, *CANCELS)) - 2 * LOOKS[0],
        "lost": max(given.trials - found, 0),
    }


PAIRS = (
    ("optuna", "hpctune: optuna"), ("optuna", "hpctune: optuna, workers"), ("hydra", "hpctune: hydra"),
    ("loop", "hpctune: loop"), ("agents (stand-in)", "hpctune: loop, workers"),
)  # fmt: skip


def report(found: dict[tuple[str, int], dict[str, float]], given: argparse.Namespace) -> None:
    """The table."""
    length_s = given.epochs * given.seconds
    print(
        f"{given.trials} trials of {length_s:g} s, {NODES} nodes of {CPUS} CPUs, ideal "
        f"{given.trials * length_s / (NODES * CPUS):.1f} s, seed {given.seed}, load {os.getloadavg()[0]:.1f}"
    )
    columns = ["by", "kills", "makespan", "CPU hours", "calls to Slurm", "trials lost"]
    columns += ["makespan / hpctune's", "CPU hours / hpctune's"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    partner = dict(reversed(PAIRS))
    for (name, kills), m in found.items():
        other = found.get((partner.get(name, ""), kills))
        ratios = "| | |" if other is None else (
            f"| {m['wall_s'] / other['wall_s']:.2f} | {m['cpu_s'] / max(other['cpu_s'], 1e-9):.2f} |"
        )  # fmt: skip
        took = f"{m['wall_s']:.1f} s | {m['cpu_s'] / 3600:.4f} | {m['calls']:.0f} | {m['lost']:.0f}"
        print(f"| {name} | {kills} | {took} {ratios}")


def main() -> None:
    """Run all rows, without kills and with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="a python with optuna, hydra-core, hydra-submitit-launcher")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--kills", type=int, nargs="*", default=[0, 10])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=180.0, help="a row that takes longer is ended")
    parser.add_argument("--rows", nargs="*")
    parser.add_argument("--keep", type=Path, help="a directory for the runs, which is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-bridges-") as temporary:
        top = Path(temporary)
        top.chmod(0o755)
        found = {}
        with private_slurm(top / "slurm", "--requeue-delay", "5", "--accounting"):  # submitit asks sacct
            for kills in given.kills:
                for row in rows(given):
                    if not given.rows or row.name in given.rows:
                        found[row.name, kills] = measure(row, given, given.keep or top, kills)
            report(found, given)
            print(json.dumps([[*key, value] for key, value in found.items()]), file=sys.stderr)


if __name__ == "__main__":
    main()
