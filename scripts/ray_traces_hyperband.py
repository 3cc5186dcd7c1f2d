"""Record what Ray Tune's HyperBand schedulers decide on made-up results, for tests/unit/schedulers/test_ray.py.

Run by scripts/record_ray_traces.py. Ray's scheduler interface alone is called, with stand-ins for trials and
controller, in a small world: some trials run at a time, one of them reports, fails or ends, and the scheduler fills
free places.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Step = dict[str, Any]


def cases() -> dict[str, dict[str, Any]]:
    """name -> scheduler, its arguments, how many trials, how many of them run at a time, and what befalls them.

    With HyperBandForBOHB all brackets are full: what happens to the last one else depends on when no trial runs.
    ``ahead``: so many are added before the first runs, the others one by one as these begin to run; else all are.
    """
    base: dict[str, Any] = {"time_attr": "training_iteration", "metric": "loss", "mode": "min"}
    small = {**base, "max_t": 9}
    plain, bohb = {"scheduler": "HyperBandScheduler"}, {"scheduler": "HyperBandForBOHB"}
    return {
        "hyperband_default": {**plain, "arguments": base, "trials": 143, "slots": 12},
        "hyperband_rounds": {**plain, "arguments": small, "trials": 34, "slots": 5},
        "hyperband_few_trials": {**plain, "arguments": {**base, "max_t": 27}, "trials": 14, "slots": 4},
        "hyperband_max_eta2": {
            **plain, "arguments": {**base, "mode": "max", "max_t": 16, "reduction_factor": 2},
            "trials": 43, "slots": 43,
        },
        "hyperband_eta4": {
            **plain, "arguments": {**base, "max_t": 64, "reduction_factor": 4}, "trials": 98, "slots": 20,
        },
        "hyperband_eta5": {
            **plain, "arguments": {**base, "max_t": 25, "reduction_factor": 5}, "trials": 72, "slots": 9,
        },
        "hyperband_failures": {
            **plain, "arguments": {**base, "max_t": 27}, "trials": 49, "slots": 6, "fails": 0.03, "ends": 0.03,
        },
        "hyperband_keep_last": {
            **plain, "arguments": {**small, "stop_last_trials": False}, "trials": 17, "slots": 4, "longest": 14,
        },
        "hyperband_one_by_one": {**plain, "arguments": small, "trials": 40, "slots": 6, "ahead": 9},
        "hb_bohb_default": {**bohb, "arguments": {**base, "max_t": 27}, "trials": 49, "slots": 7},
        "hb_bohb_few_trials": {**bohb, "arguments": {**base, "max_t": 27}, "trials": 39, "slots": 7},
        "hb_bohb_one_by_one": {**bohb, "arguments": small, "trials": 31, "slots": 4, "ahead": 6},
    }  # fmt: skip


class StandIn:
    """What the schedulers look at in a trial."""

    is_saving = False

    def __init__(self, index: int) -> None:
        self.index, self.trial_id, self.status = index, f"t{index}", "PENDING"
        self.iteration, self.last_result = 0, None

    def __repr__(self) -> str:
        return self.trial_id


class Recorder:
    """Plays one case and keeps what happens. It is what the schedulers take for the controller."""

    def __init__(self, name: str, case: dict[str, Any]) -> None:
        from ray.tune import schedulers

        self.case, self.rng = case, random.Random(name)
        self.scheduler: Any = getattr(schedulers, case["scheduler"])(**case["arguments"])
        self.search_alg = SimpleNamespace(searcher=SimpleNamespace(on_pause=str, on_unpause=str))
        self.trials: list[StandIn] = []
        self.stopped: list[int] = []
        self.ready: list[int] = []
        self.steps: list[Step] = []
        self.levels = [self.rng.random() for _ in range(case["trials"])]

    def get_trials(self) -> list[StandIn]:
        return self.trials

    def stop_trial(self, trial: StandIn) -> None:
        """The scheduler stops another trial than the one that reports."""
        if trial.status in ("TERMINATED", "ERROR"):
            return
        self.stopped.append(trial.index)
        self.scheduler.on_trial_remove(self, trial)
        trial.status = "TERMINATED"

    def play(self) -> list[Step]:
        ahead = self.case.get("ahead", self.case["trials"])
        while True:
            while len(self.trials) < self.case["trials"] and self._count("PENDING") < ahead:
                trial = StandIn(len(self.trials))
                self.trials.append(trial)
                self.scheduler.on_trial_add(self, trial)
                self.steps.append({"add": trial.index})
            if self._admit():
                continue
            running = [t for t in self.trials if t.status == "RUNNING"]
            if not running:
                return self.steps
            self._event(self.rng.choice(running))

    def _count(self, status: str) -> int:
        return sum(t.status == status for t in self.trials)

    def _admit(self) -> bool:
        if self._count("RUNNING") >= self.case["slots"]:
            return False
        chosen = self.scheduler.choose_trial_to_run(self)
        if chosen is None:
            return False
        self.steps.append({"run": chosen.index, "paused": chosen.status == "PAUSED"})
        chosen.status = "RUNNING"
        return True

    def _event(self, trial: StandIn) -> None:
        lot = self.rng.random()
        if lot < self.case.get("fails", 0.0):
            self._over(trial, "ERROR")
            return
        if trial.last_result and lot < self.case.get("fails", 0.0) + self.case.get("ends", 0.0):
            self._over(trial, "TERMINATED")
            return
        trial.iteration += 1
        row = {"training_iteration": trial.iteration, "loss": self._loss(trial)}
        trial.last_result = row
        decision = self.scheduler.on_trial_result(self, trial, dict(row))
        step = {"result": trial.index, "row": row, "decision": str(decision)}
        if decision == "STOP":
            self.scheduler.on_trial_complete(self, trial, row)
        trial.status = {"STOP": "TERMINATED", "PAUSE": "PAUSED"}.get(decision, "RUNNING")
        self._note(step)
        if trial.iteration == self.case.get("longest") and trial.status == "RUNNING":
            self._over(trial, "TERMINATED")

    def _over(self, trial: StandIn, status: str) -> None:
        if status == "ERROR":
            self.scheduler.on_trial_error(self, trial)
        else:
            self.scheduler.on_trial_complete(self, trial, trial.last_result)
        trial.status = status
        self._note({"over": trial.index, "status": status})

    def _note(self, step: Step) -> None:
        """With what it means for the others: who was stopped, and which paused trials may go on now."""
        stopped, self.stopped = sorted(self.stopped), []
        ready = self._ready()
        news = bool(stopped) or ready != self.ready or step.get("decision") != "CONTINUE"
        self.ready = ready
        if news or self.rng.random() < 0.1:  # what changes nothing is left out, but for some
            self.steps.append({**step, "stopped": stopped, "ready": ready})

    def _ready(self) -> list[int]:
        kept, dummy = [t.status for t in self.trials], StandIn(-1)
        dummy.status = "RUNNING"
        self.trials.append(dummy)
        ready = []
        while (chosen := self.scheduler.choose_trial_to_run(self)) is not None:
            if chosen.status == "PAUSED":
                ready.append(chosen.index)
            chosen.status = "RUNNING"
        self.trials.pop()
        for trial, status in zip(self.trials, kept, strict=True):
            trial.status = status
        return sorted(ready)

    def _loss(self, trial: StandIn) -> float:
        loss = round(self.levels[trial.index] + 1.0 / trial.iteration + self.rng.gauss(0.0, 0.05), 6)
        return loss if self.case["arguments"]["mode"] == "min" else -loss


def record(target: Path, version: str) -> None:
    """Write one file for each case."""
    for name, case in cases().items():
        recorder = Recorder(name, case)
        steps = recorder.play()
        left = [t.index for t in recorder.trials if t.status not in ("TERMINATED", "ERROR")]
        head = json.dumps({"ray": version, **case, "left": left})[:-1]
        lines = ",\n".join(json.dumps(step) for step in steps)
        (target / f"{name}.json").write_text(f'{head}, "steps": [\n{lines}\n]}}\n')
        print(name, len(steps), "left:", left)
