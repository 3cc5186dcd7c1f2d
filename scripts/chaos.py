#!/usr/bin/env python3
"""Kill everything, at random, during a search on a real Slurm; then prove from the files that nothing was lost.

    scripts/chaos.py --minutes 30 --seed 7 --search asha       a long one, by hand
    scripts/chaos.py --seconds 30 --seed 1 --search pbt        a short one, as the tests run it

Brings up a private cluster (scripts/slurm-cluster) and starts a search whose trials note where they started from and
what they are about to report. Then, every second or so, something that `--seed` chooses happens: the driver is killed,
told to leave, or a second one is started; a worker is killed; a job is requeued, cancelled or preempted; a node is lost
for a while; Slurm's controller is stopped. In the end everything is given back and the search ends in peace, failed
trials included; scripts/check_experiment.py, which shares no code with hpctune, judges what lies there. With
`--accounting`, the sums of `hpctune cost` must also be those of sacct, within 1%.

Exits with the checker's status; 2: the search did not end; 3: Slurm is not installed. `--keep` leaves the files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
SLURM = ("--nodes", "4", "--requeue-delay", "5", "--slurmd-timeout", "5", "--grace-time", "3", "--kill-wait", "3")
ASHA_RULE = "max_t=27,grace_period=1,eta=3"
PEACE_S = 240.0
"""How long the end may take once nothing happens any more."""

TRAIN = """
import json, os, time
import hpctune as tune

def note(**entry):
    path = os.path.join(AUDIT, f"{tune.get_trial_id()}-{os.getpid()}.jsonl")
    with open(path, "a") as file:
        file.write(json.dumps({"trial": tune.get_trial_id(), "pid": os.getpid(), "at": time.time(), **entry}) + "\\n")

def train(config):
    checkpoint, done, value = tune.get_checkpoint(), 0, 0.0
    if checkpoint is not None:
        with open(os.path.join(checkpoint.path, "state.json")) as file:
            done, value = json.load(file)
    note(**{"from": done, "restored": None if checkpoint is None else checkpoint.path,
            "job": os.environ.get("SLURM_JOB_ID"), "restart": os.environ.get("SLURM_RESTART_COUNT")})
    while tune.get_trial_id().endswith("00000") and os.path.exists(DURING):
        time.sleep(PAUSE)  # so the search does not end before enough has happened
    for step in range(done + 1, 1000):
        time.sleep(PAUSE)
        value += config["speed"] * (1.0 - value)
        note(step=step)
        with tune.checkpoint_dir(step) as directory:
            with open(os.path.join(directory, "state.json"), "w") as file:
                json.dump([step, value], file)
        tune.report(value=value)

common = dict(
    name="exp", metric="value", mode="max", num_samples=TRIALS, max_failures=-1, resume="AUTO", verbose=1,
    config={"speed": tune.uniform(0.01, 0.3)}, keep_checkpoints_num=2, raise_on_failed_trial=False, cluster=CLUSTER,
    max_concurrent_trials=6,
)
"""
SEARCHES = {
    "asha": """
from hpctune.schedulers import ASHAScheduler
tune.run(train, scheduler=ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3), **common)
""",
    "pbt": """
from hpctune.schedulers import PopulationBasedTraining
tune.run(train, stop={"training_iteration": 24}, scheduler=PopulationBasedTraining(
    time_attr="training_iteration", perturbation_interval=4, seed=1,
    hyperparam_mutations={"speed": tune.uniform(0.01, 0.3)}), **common)
""",
}
SLURM_OPTIONS = "tune.SlurmOptions(partition='scavenge', poll_s=1.0, quiet_poll_s=3.0, calls_per_minute=None)"


def search_script(
    search: str, audit: Path, trials: int, pause_s: float, cluster: str = SLURM_OPTIONS, during: str = ""
) -> str:
    """A script that starts the search, or goes on with it. Its first trial waits while the file `during` is there."""
    text = TRAIN + SEARCHES[search]
    for name, value in (("AUDIT", str(audit)), ("TRIALS", trials), ("PAUSE", pause_s), ("DURING", during)):
        text = text.replace(name, repr(value))
    return text.replace("CLUSTER", cluster)


class Chaos:
    """One search, and what is done to it."""

    def __init__(
        self, place: Path, search: str, seed: int, trials: int, pause_s: float, accounting: bool = False
    ) -> None:
        self.place, self.search, self.rng = place, search, random.Random(seed)
        self.root, self.audit, self.script = place / "results" / "exp", place / "audit", place / "search.py"
        self.audit.mkdir()
        self.during = place / "during"
        self.during.touch()
        self.script.write_text(search_script(search, self.audit, trials, pause_s, during=str(self.during)))
        self.slurm, self.options = place / "slurm", (*SLURM, *(["--accounting"] if accounting else []))
        self.accounting = accounting
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "TUNE_", "HPCTUNE_"))}
        self.env["TUNE_RESULT_DIR"] = str(place / "results")
        self.began = time.monotonic()
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.done: Counter[str] = Counter()

    # -- the world ----------------------------------------------------------------------------------------------------

    def up(self) -> int:
        """Bring the cluster up; the exit status."""
        status, said = self._cluster("up", "--owner-pid", str(os.getpid()), *self.options)
        self.env["SLURM_CONF"] = said.strip().removeprefix("export SLURM_CONF=")
        return status

    def _cluster(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(HERE / "slurm-cluster"), *arguments, "--dir", str(self.slurm)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            print(done.stderr.strip(), file=sys.stderr)
        return done.returncode, done.stdout

    def ask(self, *command: str) -> str:
        """The output of a Slurm command; "" where it fails."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=30, check=False)
            return done.stdout if done.returncode == 0 else ""
        return ""

    def jobs(self, states: str = "RUNNING") -> list[str]:
        """Ids of the trials' jobs."""
        said = self.ask("squeue", "--noheader", f"--states={states}", "--format=%i %k")
        return [line.split()[0] for line in said.splitlines() if " hpctune:" in line]

    def start_driver(self) -> None:
        """One more driver."""
        with (self.place / "drivers.log").open("ab") as log:
            command = [sys.executable, str(self.script)]
            driver = subprocess.Popen(command, stdout=log, stderr=log, env=self.env, cwd=self.place)
        self.drivers.append(driver)

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        """The drivers that live."""
        return [driver for driver in self.drivers if driver.poll() is None]

    # -- what may happen ----------------------------------------------------------------------------------------------

    def kill_driver(self) -> str:
        for driver in self.alive:
            driver.kill()
        return "driver killed"

    def tell_driver(self) -> str:
        number = self.rng.choice((signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))
        for driver in self.alive:
            driver.send_signal(number)
        return f"driver told to leave by {number.name}"

    def second_driver(self) -> str:
        self.start_driver()
        return "one more driver started"

    def kill_worker(self) -> str:
        pids = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"hpctune.worker" in words and str(self.root).encode() in words and b"srun" not in words[0]:
                    pids.append(int(path.parent.name))
        if not pids:
            return ""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.rng.choice(sorted(pids)), signal.SIGKILL)
        return "worker killed"

    def _to_a_job(self, *command: str) -> str:
        jobs = self.jobs()
        if not jobs:
            return ""
        self.ask(*command, self.rng.choice(jobs))
        return " ".join(command)

    def requeue(self) -> str:
        return self._to_a_job("scontrol", "requeue")

    def cancel(self) -> str:
        return self._to_a_job("scancel")

    def preempt(self) -> str:
        node = f"n{self.rng.randint(1, 4)}"
        self.ask("sbatch", "--partition=urgent", "--exclusive", f"--nodelist={node}", "--output=/dev/null",
                 "--wrap=sleep 2")  # fmt: skip
        return "preempted"

    def lose_node(self) -> str:
        node = f"n{self.rng.randint(1, 4)}"
        self._cluster("stop", "--kill", node)
        self.later.append((time.monotonic() + self.rng.uniform(4, 25), lambda: self._cluster("start", node)))
        return "node lost"

    def stop_controller(self) -> str:
        killed = self.rng.random() < 0.5
        self._cluster("stop", *(["--kill"] if killed else []), "slurmctld")
        time.sleep(self.rng.uniform(1, 6))
        self._cluster("start", "slurmctld")
        return "controller killed" if killed else "controller away"

    # -- the whole ----------------------------------------------------------------------------------------------------

    def run(self, seconds: float, events: int) -> int:
        """Chaos for so long, and until so much has happened, then peace. The exit status."""
        weights = {
            self.kill_driver: 6, self.tell_driver: 2, self.second_driver: 1, self.kill_worker: 4, self.requeue: 4,
            self.cancel: 1, self.preempt: 2, self.lose_node: 2, self.stop_controller: 1,
        }  # fmt: skip
        self.start_driver()
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.done.total() < events:
            time.sleep(self.rng.uniform(0.2, 2.0))
            happened = self.rng.choices(list(weights), list(weights.values()))[0]()
            if happened:
                self.done[happened] += 1
                print(f"{time.monotonic() - self.began:7.1f} s  {happened}", flush=True)
            self._catch_up(time.monotonic())
            if not self.alive and self.rng.random() < 0.8:
                self.start_driver()
        return self._peace()

    def _catch_up(self, now: float) -> None:
        for due, act in [x for x in self.later if x[0] <= now]:
            self.later.remove((due, act))
            act()

    def ended(self) -> bool:
        """Whether the experiment is over."""
        segments = sorted((self.root / "journal").glob("*.jsonl"))
        return any(b'"ExperimentEnded"' in path.read_bytes() for path in segments[-1:])

    def _peace(self) -> int:
        self.during.unlink()
        self._catch_up(float("inf"))
        self._cluster("up", "--owner-pid", str(os.getpid()), *self.options)
        deadline = time.monotonic() + PEACE_S
        while time.monotonic() < deadline:
            if not self.alive:
                if self.ended() and not self._reopened():
                    return self._judge()
                self.start_driver()
            time.sleep(0.3)
        print("the search did not end", file=sys.stderr)
        return 2

    def _reopened(self) -> bool:
        """Let trials go on whose jobs were cancelled; whether there were any."""
        command = [sys.executable, "-m", "hpctune.cli.main", "resume", str(self.root), "--errored"]
        status = self.ask(sys.executable, "-m", "hpctune.cli.main", "status", str(self.root), "--json")
        if '"failed": []' in status:
            return False
        with (self.place / "drivers.log").open("ab") as log:
            self.drivers.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.env, cwd=self.place))
        self.done["failed trials tried again"] += 1
        return True

    def _judge(self) -> int:
        deadline = time.monotonic() + 30
        while self.jobs("all") and time.monotonic() < deadline and self.jobs("PENDING,RUNNING,COMPLETING,SUSPENDED"):
            time.sleep(0.5)
        (self.place / "queue.txt").write_text(self.ask("squeue", "--noheader", "--format=%k"))
        listed = self.ask(sys.executable, "-m", "hpctune.cli.main", "list", str(self.root), "--json")
        (self.place / "list.json").write_text(listed)
        command = [sys.executable, str(HERE / "check_experiment.py"), str(self.root), "--audit", str(self.audit)]
        command += ["--list", str(self.place / "list.json"), "--queue", str(self.place / "queue.txt")]
        if self.done["controller killed"]:
            command.append("--reused-ids")  # it forgets the jobs of its last seconds, and numbers on from before them
        if self.search == "asha":
            command += ["--asha", ASHA_RULE]
        print(f"after {time.monotonic() - self.began:.0f} s: {dict(self.done)}", flush=True)
        status = subprocess.run(command, check=False).returncode
        return status or (self._compare_cost() if self.accounting else 0)

    def _compare_cost(self) -> int:
        """Compare `hpctune cost` with plain sums of what sacct says of the partition of the trials."""
        deadline = time.monotonic() + 60
        while "Unknown" in self._sacct("End") and time.monotonic() < deadline:
            time.sleep(0.5)  # Slurm tells slurmdbd of an end a little later; until then the two would differ by seconds
        said = self.ask(sys.executable, "-m", "hpctune.cli.main", "cost", str(self.root), "--json")
        lines = self._sacct("CPUTimeRAW,ElapsedRaw,AllocNodes")
        found = json.loads(said)
        rows = [[int(word) for word in line.split("|")] for line in lines.splitlines()]
        sums = {
            "cpu_hours_held": sum(cpu_s for cpu_s, _, _ in rows) / 3600,
            "node_hours_held": sum(elapsed * nodes for _, elapsed, nodes in rows) / 3600,
        }
        causes = {group["cause"]: round(group["cpu_hours_held"], 4) for group in found["groups"]}
        print(f"cost: {found['total']}, by cause {causes}; sacct: {sums}", flush=True)
        right = bool(rows) and all(abs(found["total"][name] - value) <= 0.01 * value for name, value in sums.items())
        print("the ledger is what sacct says" if right else "the ledger is not what sacct says", flush=True)
        return 0 if right else 1

    def _sacct(self, columns: str) -> str:
        """What sacct says of the allocations in the partition of the trials."""
        return self.ask(
            "sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--partition=scavenge",
            "--starttime=now-1days", f"--format={columns}",
        )  # fmt: skip

    def close(self) -> None:
        """End every driver, and the cluster with all its jobs."""
        for driver in self.drivers:
            if driver.poll() is None:
                driver.kill()
            driver.wait()
        self._cluster("down")


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--events", type=int, default=8, help="go on, however long, until so much has happened")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--search", choices=sorted(SEARCHES), default="asha")
    parser.add_argument("--trials", type=int, help="default: enough for the time")
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between two reports of a trial")
    parser.add_argument("--keep", type=Path, help="put everything into this new directory, and leave it")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd; compare the cost with sacct's")
    given = parser.parse_args()
    seconds = given.minutes * 60 + given.seconds or 30.0
    trials = given.trials or (max(8, int(seconds / 2)) if given.search == "asha" else max(6, int(seconds / 8)))
    place = given.keep.absolute() if given.keep else Path(tempfile.mkdtemp(prefix="hpctune-chaos-"))
    place.mkdir(exist_ok=True, mode=0o755)
    place.chmod(0o755)
    chaos = Chaos(place, given.search, given.seed, trials, given.pause, given.accounting)
    try:
        status = chaos.up()
        return status or chaos.run(seconds, given.events)
    finally:
        chaos.close()
        if given.keep is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
