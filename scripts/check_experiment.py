#!/usr/bin/env python3
"""Prove from an experiment's files that nothing was lost. Plain Python: it shares no code with hpctune.

    check_experiment.py DIR [--list FILE] [--queue FILE] [--audit DIR] [--asha max_t=27,grace_period=1,eta=3] [--errors]

What is checked, each by a rule of its own (`--rules` lists them): the journal is whole and each driver's part follows
the one before; every trial ended once; each result counts once, without gap, in the journal as in result.json and
progress.csv; only the run that held the trial counted; every attempt began from the newest checkpoint; none that was in
use was deleted, and those that are left are there; no job, and no working file, is left. With more files, more:

--list FILE    what `hpctune list DIR --json` printed: it must say what the journal says
--queue FILE   what `squeue --noheader --format=%k` printed in the end: no job of the experiment may be in it
--audit DIR    what the trials themselves noted (see scripts/chaos.py): where each run started from, what it reported
--asha K=V,... parameters of ASHAScheduler: its decisions are made again from the recorded results
--errors       trials may have ended in an error
--reused-ids   Slurm may have given a job's id twice: its controller lost its memory

Exits with 0 and one line when all is well, else with 1 and a line for each objection: `rule: what`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RULES = {
    "journal": "segments follow each other, and every line can be read",
    "drivers": "each driver's epoch is higher than the one before",
    "ended": "the experiment and every trial ended, each once, and is settled",
    "errors": "no trial ended in an error",
    "results": "each iteration counts once, in order, without gap",
    "runs": "only the newest run of a trial counts, each of its results once",
    "attempts": "one attempt at a time, numbered from 1, each with its own job",
    "restarts": "every attempt begins from the newest checkpoint",
    "in-use": "no checkpoint was deleted that an attempt started, or is to start, from",
    "exploits": "what a trial takes over is its donor's newest checkpoint",
    "checkpoints": "checkpoints that were not deleted are on disk, whole",
    "projections": "result.json and progress.csv hold what the journal counts",
    "leftovers": "no working file of an ended trial is left",
    "list": "hpctune list says what the journal says",
    "queue": "no job is left",
    "audit": "what runs say of themselves fits: where they started from, what they reported",
    "asha": "a trial was stopped at a rung exactly where the recorded results say so",
}


@dataclass
class Run:
    """One run of a trial, as the journal has it."""

    attempt: int
    restart: int
    pid: int
    job_id: str
    expected: str | None
    """The checkpoint that it was to start from, at least."""
    seq: int = 0
    iterations: list[int] = field(default_factory=list)
    saved: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Trial:
    """One trial, folded from the journal."""

    name: str
    dirname: str
    given: str | None
    start: str | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    last: int = 0
    attempts: int = 0
    open: int | None = None
    """The attempt that is not over."""
    restore: str | None = None
    """Where that attempt started from."""
    replaced: bool = False
    stop: str | None = None
    ended: str | None = None
    settled: bool = False
    runs: list[Run] = field(default_factory=list)
    checkpoints: dict[str, int] = field(default_factory=dict)


class Checker:
    """Folds the journal by itself, and notes objections."""

    def __init__(self, root: Path, ids_reused: bool = False) -> None:
        self.root, self.ids_reused = root, ids_reused
        self.spec: dict[str, Any] = json.loads((root / "experiment.json").read_text())
        self.trials: dict[str, Trial] = {}
        self.jobs: dict[str, tuple[str, int]] = {}
        self.objections: list[str] = []
        self.deleted: set[str] = set()
        self.facts: list[dict[str, Any]] = []
        self.epoch, self.over = 0, 0

    def object(self, rule: str, what: object) -> None:
        """Note that ``rule`` does not hold."""
        assert rule in RULES
        self.objections.append(f"{rule}: {what}")

    # -- the journal --------------------------------------------------------------------------------------------------

    def read_journal(self) -> None:
        """Every fact that counts: of each segment as much as its successor says that it has folded."""
        intact: list[tuple[int, list[bytes], dict[str, Any]]] = []
        for path in sorted((self.root / "journal").glob("*.jsonl")):
            lines = path.read_bytes().splitlines(keepends=True)
            if lines and lines[0].endswith(b"\n"):
                intact.append((int(path.stem), lines, json.loads(lines[0])))
        if not intact:
            self.object("journal", "there is none")
        for place, (number, lines, header) in enumerate(intact):
            before = intact[place - 1][0] if place else None
            if header.get("follows") != before or header["segment"] != number:
                self.object("journal", f"segment {number} follows {header.get('follows')}, and not {before}")
            limit = intact[place + 1][2]["bytes"] if place + 1 < len(intact) else math.inf
            size = len(lines[0])
            if limit != math.inf and limit > sum(map(len, lines)):
                self.object("journal", f"segment {number} is shorter than its successor found it")
            for line in lines[1:]:
                size += len(line)
                if size > limit or not line.endswith(b"\n"):
                    break
                self._line(number, line)

    def _line(self, number: int, line: bytes) -> None:
        try:
            data = json.loads(line)
        except ValueError:
            self.object("journal", f"segment {number} has a line that cannot be read: {line[:60]!r}")
            return
        for fact in data if isinstance(data, list) else [data]:
            self.facts.append(fact)
            self._fold(fact)

    def _fold(self, fact: dict[str, Any]) -> None:
        event = fact["event"]
        trial_id = fact["run"][0] if "run" in fact else fact.get("trial_id")
        if trial_id is not None and event != "TrialAdded":
            trial = self.trials.get(trial_id)
            if trial is None:
                self.object("journal", f"{event} of {trial_id}, which was never added")
            elif (fold := getattr(self, _method(event), None)) is not None:
                fold(trial, fact)
        elif event == "TrialAdded":
            if trial_id in self.trials:
                self.object("journal", f"{trial_id} was added twice")
            restore = fact.get("restore")
            self.trials[str(trial_id)] = Trial(fact["name"], fact["dirname"], restore, restore)
        elif event == "DriverStarted":
            if fact["epoch"] <= self.epoch:
                self.object("drivers", f"epoch {fact['epoch']} after {self.epoch}")
            self.epoch = fact["epoch"]
        elif event == "ExperimentEnded":
            self.over += 1
        elif event == "ExperimentReopened":
            self.over = 0

    # -- facts of trials ----------------------------------------------------------------------------------------------

    def _on_submit_requested(self, trial: Trial, fact: dict[str, Any]) -> None:
        if trial.open is not None or trial.ended:
            self.object("attempts", f"{trial.name}: attempt {fact['attempt']} begins, while {trial.open} is not over")
        if fact["attempt"] != trial.attempts + 1:
            self.object("attempts", f"{trial.name}: attempt {fact['attempt']} after {trial.attempts}")
        restore = fact.get("restore")
        if restore != trial.start:
            self.object("restarts", f"{trial.name}: attempt {fact['attempt']} is to start from {restore}, and the "
                                    f"newest is {trial.start}")  # fmt: skip
        if restore in self.deleted:
            self.object("in-use", f"{trial.name}: attempt {fact['attempt']} is to start from {restore}, which is gone")
        trial.attempts = trial.open = fact["attempt"]
        trial.restore, trial.replaced = restore, False

    def _close(self, trial: Trial, fact: dict[str, Any]) -> None:
        trial.open, trial.restore = None, None

    _on_retry_scheduled = _on_trial_paused = _on_attempt_revoked = _close

    def _on_submit_refused(self, trial: Trial, fact: dict[str, Any]) -> None:
        self._close(trial, fact)
        trial.attempts -= 1

    def _job(self, trial: Trial, attempt: int, job_id: str) -> None:
        if (
            job_id
            and not self.ids_reused
            and self.jobs.setdefault(job_id, (trial.name, attempt)) != (trial.name, attempt)
        ):
            self.object("attempts", f"job {job_id} is of {self.jobs[job_id]} and of {(trial.name, attempt)}")

    def _on_submit_acknowledged(self, trial: Trial, fact: dict[str, Any]) -> None:
        self._job(trial, fact["attempt"], fact["job_id"])

    def _on_run_started(self, trial: Trial, fact: dict[str, Any]) -> None:
        _, attempt, restart = fact["run"]
        before = trial.runs[-1] if trial.runs else None
        if attempt != trial.open or (before is not None and (attempt, restart) <= (before.attempt, before.restart)):
            self.object("runs", f"{trial.name}: run {attempt}.{restart} starts, while {trial.open} is open")
        expected = trial.restore
        if before is not None and before.attempt == attempt:
            expected = f"{trial.dirname}/{before.saved[-1][0]}" if before.saved else before.expected
        trial.runs.append(Run(attempt, restart, fact["pid"], fact["job_id"], expected))

    def _on_result_reported(self, trial: Trial, fact: dict[str, Any]) -> None:
        run, row, verdict = trial.runs[-1] if trial.runs else None, fact["row"], fact.get("verdict", "counted")
        iteration = int(row["training_iteration"])
        if run is None or [run.attempt, run.restart] != fact["run"][1:] or trial.open != run.attempt:
            self.object("runs", f"{trial.name}: a result of {fact['run'][1:]}, which does not hold the trial")
        else:
            if fact["seq"] <= run.seq:
                self.object("runs", f"{trial.name}: result {fact['seq']} of {fact['run'][1:]} twice")
            run.seq = fact["seq"]
            run.iterations.append(iteration)
        if fact.get("checkpoint"):
            self._saved(trial, *fact["checkpoint"][:2])
        if verdict != "counted":
            return
        if iteration != trial.last + 1 or trial.stop or trial.replaced or trial.ended:
            late = ", after its end was decided" if trial.stop or trial.replaced or trial.ended else ""
            self.object("results", f"{trial.name}: iteration {iteration} counts after {trial.last}{late}")
        trial.last = iteration
        trial.rows.append(row)

    def _saved(self, trial: Trial, name: str, iteration: int) -> None:
        trial.checkpoints.pop(name, None)
        trial.checkpoints[name] = iteration
        self.deleted.discard(f"{trial.dirname}/{name}")
        if trial.runs:
            trial.runs[-1].saved.append((name, iteration))
        if not trial.replaced:
            trial.start = f"{trial.dirname}/{name}"

    def _on_run_ended(self, trial: Trial, fact: dict[str, Any]) -> None:
        if not trial.runs or [trial.runs[-1].attempt, trial.runs[-1].restart] != fact["run"][1:]:
            self.object("runs", f"{trial.name}: the end of {fact['run'][1:]}, which does not hold the trial")
        if fact.get("checkpoint"):
            self._saved(trial, *fact["checkpoint"][:2])

    def _on_checkpoint_deleted(self, trial: Trial, fact: dict[str, Any]) -> None:
        path = f"{trial.dirname}/{fact['name']}"
        for other in self.trials.values():
            borrows = path == other.start and (not other.ended or not path.startswith(f"{other.dirname}/"))
            if path == other.restore or borrows:
                self.object("in-use", f"{path} was deleted, and {other.name} starts from it")
        if trial.checkpoints.pop(fact["name"], None) is None:
            self.object("checkpoints", f"{path} was deleted, and was never made")
        self.deleted.add(path)
        if trial.start == path:
            trial.start = f"{trial.dirname}/{list(trial.checkpoints)[-1]}" if trial.checkpoints else trial.given

    def _on_exploit_requested(self, trial: Trial, fact: dict[str, Any]) -> None:
        donor = self.trials.get(fact["donor"])
        if donor is None or donor is trial or fact["restore"] != donor.start:
            self.object("exploits", f"{trial.name}: takes over {fact['restore']}, and {fact['donor']} has "
                        f"{donor.start if donor else None}")  # fmt: skip
        trial.start, trial.last = fact["restore"], fact["iteration"]
        trial.replaced = trial.open is not None

    def _on_stop_requested(self, trial: Trial, fact: dict[str, Any]) -> None:
        trial.stop = fact["reason"]

    def _on_trial_ended(self, trial: Trial, fact: dict[str, Any]) -> None:
        if trial.ended:
            self.object("ended", f"{trial.name} ended twice")
        trial.ended = fact["phase"]
        self._close(trial, fact)

    def _on_trial_settled(self, trial: Trial, fact: dict[str, Any]) -> None:
        if trial.settled or not trial.ended:
            self.object("ended", f"{trial.name} was settled twice, or before its end")
        trial.settled = True

    def _on_trial_reopened(self, trial: Trial, fact: dict[str, Any]) -> None:
        trial.ended, trial.settled, trial.stop, trial.replaced = None, False, None, False
        if fact["restart"]:
            trial.rows, trial.last, trial.start = [], 0, trial.given
            trial.checkpoints.clear()

    # -- the end of it ------------------------------------------------------------------------------------------------

    def check_end(self, errors_allowed: bool) -> None:
        """Everything is over."""
        if self.over != 1:
            self.object("ended", f"the experiment ended {self.over} times")
        for trial in self.trials.values():
            if not (trial.ended and trial.settled) or trial.open is not None:
                self.object("ended", f"{trial.name} has not ended, or is not settled")
            if trial.ended == "ERROR" and not errors_allowed:
                self.object("errors", f"{trial.name} ended in an error")

    def check_files(self) -> None:
        """What lies in the trials' directories."""
        for trial in self.trials.values():
            directory = self.root / trial.dirname
            written = [json.loads(line) for line in _lines(directory / "result.json")]
            if written != trial.rows:
                self.object("projections", f"{directory.name}/result.json has {_iterations(written)}, and the journal "
                                           f"counts {_iterations(trial.rows)}")  # fmt: skip
            table = list(csv.DictReader(_lines(directory / "progress.csv")))
            if [row["training_iteration"] for row in table] != [str(r["training_iteration"]) for r in trial.rows]:
                self.object("projections", f"{directory.name}/progress.csv differs from what counts")
            for name in trial.checkpoints:
                if not (directory / name / ".hpctune.json").is_file():
                    self.object("checkpoints", f"{directory.name}/{name} is not there, or not whole")
            for path in directory.glob("*") if directory.is_dir() else ():
                if path.name == "control.json" or path.name.startswith("run-"):
                    self.object("leftovers", path)
        for path in (self.root / "jobs").glob("*"):
            self.object("leftovers", path)

    def check_list(self, listed: list[dict[str, Any]]) -> None:
        """What ``hpctune list`` said."""
        said = {row["trial_id"]: (row["status"], row["training_iteration"], row["name"]) for row in listed}
        for trial_id, trial in self.trials.items():
            held = (trial.ended, trial.last or None, trial.name)
            if said.pop(trial_id, None) != held:
                self.object("list", f"{trial.name}: the journal says {held}")
        if said:
            self.object("list", f"{', '.join(said)} are not in the journal")

    def check_queue(self, comments: str) -> None:
        """What ``squeue`` said."""
        for comment in comments.splitlines():
            if self.spec["experiment_id"] in comment:
                self.object("queue", f"a job is left: {comment}")

    # -- what the trials noted ----------------------------------------------------------------------------------------

    def check_audit(self, folder: Path, tolerance_s: float = 2.0) -> None:
        """Each run as it saw itself: a start, then its reports, each noted just before it was made."""
        noted: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for path in folder.glob("*.jsonl"):
            for line in _lines(path):
                entry = json.loads(line)
                noted[entry["trial"], entry["pid"]].append(entry)
        for trial_id, trial in self.trials.items():
            for run in trial.runs:
                entries = noted.get((trial_id, run.pid), [])
                start = next((e for e in entries if "restored" in e), None)
                if start is None:
                    if run.iterations:
                        self.object("audit", f"{trial.name}: run {run.attempt}.{run.restart} reported and never began")
                    continue
                self._audit_run(trial, run, start, [e["step"] for e in entries if "step" in e])
                self._audit_start(trial, run, start, noted, trial_id, tolerance_s)

    def _audit_run(self, trial: Trial, run: Run, start: dict[str, Any], steps: list[int]) -> None:
        name = f"{trial.name}: run {run.attempt}.{run.restart}"
        if steps != list(range(start["from"] + 1, start["from"] + 1 + len(steps))):
            self.object("audit", f"{name} began after {start['from']} and reported {steps}")
        if not set(run.iterations) <= set(steps):
            self.object("audit", f"{name} reported {steps}, and the journal has {run.iterations}")

    def _audit_start(
        self, trial: Trial, run: Run, start: dict[str, Any], noted: dict[tuple[str, int], list[dict[str, Any]]],
        trial_id: str, tolerance_s: float,
    ) -> None:  # fmt: skip
        restored, name = start["restored"], f"{trial.name}: run {run.attempt}.{run.restart}"
        found = None if restored is None else "/".join(Path(restored).parts[-2:])
        if run.restart == 0 or run.expected == found:
            if run.expected != found:
                self.object("audit", f"{name} began from {found}, and was to begin from {run.expected}")
            return
        # Slurm restarted it. What its predecessor saved up to then must not be lost; that may live on, and save more.
        before = next(r for r in reversed(trial.runs) if (r.attempt, r.restart) < (run.attempt, run.restart))
        steps = {e["step"]: e["at"] for e in noted.get((trial_id, before.pid), []) if "step" in e}
        least = [i for _, i in before.saved if steps.get(i, math.inf) < start["at"] - tolerance_s]
        if start["from"] < max(least, default=0):
            self.object("audit", f"{name} began after {start['from']}, and {max(least)} was saved")

    # -- ASHA ---------------------------------------------------------------------------------------------------------

    def check_asha(self, max_t: float, grace_period: float, eta: float) -> None:
        """Li et al., MLSys 2020, in its stopping form: at a rung a trial ends unless in the best 1 / eta so far."""
        sign = -1.0 if self.spec["mode"] == "min" else 1.0
        levels = [grace_period * eta**k for k in range(100) if grace_period * eta**k <= max_t]
        seen: dict[float, list[float]] = {level: [] for level in levels}
        judged: dict[float, set[str]] = {level: set() for level in levels}
        for place, fact in enumerate(self.facts):
            if fact["event"] != "ResultReported" or fact.get("verdict", "counted") != "counted":
                continue
            trial_id, row = fact["run"][0], fact["row"]
            told = next(self._stop_after(place, trial_id), "")
            time, score = row["training_iteration"], sign * row[self.spec["metric"]]
            if time >= max_t:
                if "max_t" not in told:
                    self.object("asha", f"{trial_id} was not stopped at iteration {time}")
                continue
            level = next((x for x in reversed(levels) if time >= x and trial_id not in judged[x]), None)
            cutoff = None if level is None or not seen[level] else _quantile(sorted(seen[level]), 1 - 1 / eta)
            if level is not None:
                judged[level].add(trial_id)
                seen[level].append(score)
            bad = cutoff is not None and score < cutoff
            close = cutoff is not None and math.isclose(score, cutoff, rel_tol=1e-9, abs_tol=1e-12)
            if bad != told.startswith("rung") and not close:
                self.object("asha", f"{trial_id} at iteration {time}: {score:g} against {cutoff}, and it was "
                                    f"{'stopped' if told else 'not stopped'}")  # fmt: skip

    def _stop_after(self, place: int, trial_id: str) -> Iterator[str]:
        """The reason of a stop that was decided on the fact at ``place``: before any other result."""
        for fact in self.facts[place + 1 :]:
            if fact["event"] == "ResultReported":
                return
            if fact["event"] == "StopRequested" and fact["trial_id"] == trial_id:
                yield fact["reason"]


def _method(event: str) -> str:
    """``ResultReported`` -> ``_on_result_reported``."""
    return "_on" + "".join(f"_{c.lower()}" if c.isupper() else c for c in event)


def _quantile(ranked: list[float], share: float) -> float:
    position = (len(ranked) - 1) * share
    low = math.floor(position + 1e-9)
    above = ranked[min(low + 1, len(ranked) - 1)]
    return ranked[low] + (above - ranked[low]) * max(position - low, 0.0)


def _iterations(rows: list[dict[str, Any]]) -> list[Any]:
    return [row.get("training_iteration") for row in rows]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--list", type=Path)
    parser.add_argument("--queue", type=Path)
    parser.add_argument("--audit", type=Path)
    parser.add_argument("--asha")
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--reused-ids", action="store_true")
    parser.add_argument("--rules", action="store_true", help="list the rules")
    given = parser.parse_args(arguments)
    if given.rules or given.directory is None:
        print("\n".join(f"{rule:12} {text}" for rule, text in RULES.items()))
        return 0
    checker = Checker(given.directory, given.reused_ids)
    checker.read_journal()
    checker.check_end(given.errors)
    checker.check_files()
    if given.list is not None:
        checker.check_list(json.loads(given.list.read_text()))
    if given.queue is not None:
        checker.check_queue(given.queue.read_text())
    if given.audit is not None:
        checker.check_audit(given.audit)
    if given.asha is not None:
        pairs = dict(pair.split("=") for pair in given.asha.split(","))
        checker.check_asha(float(pairs["max_t"]), float(pairs["grace_period"]), float(pairs["eta"]))
    for objection in checker.objections:
        print(objection)
    if not checker.objections:
        results = sum(len(trial.rows) for trial in checker.trials.values())
        runs = sum(len(trial.runs) for trial in checker.trials.values())
        print(f"all is well: {len(checker.trials)} trials, {results} results, {runs} runs, {checker.epoch} drivers")
    return 1 if checker.objections else 0


if __name__ == "__main__":
    sys.exit(main())
