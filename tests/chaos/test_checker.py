"""The independent checker objects to every way in which an experiment's files can be wrong, by name."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


chaos, checker = load("chaos"), load("check_experiment")


class Good:
    """A finished experiment, and what else the checker wants. ``lines``: of its journal, each a list of facts."""

    def __init__(self, place: Path) -> None:
        self.place, self.root, self.audit = place, place / "results" / "exp", place / "audit"
        self.journal = self.root / "journal" / "000001.jsonl"

    def check(self, *more: str) -> tuple[int, list[str]]:
        command = [sys.executable, str(SCRIPTS / "check_experiment.py"), str(self.root), "--audit", str(self.audit)]
        command += ["--list", str(self.place / "list.json"), "--queue", str(self.place / "queue.txt"), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()

    @property
    def lines(self) -> list[list[dict[str, Any]]]:
        found = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [line if isinstance(line, list) else [line] for line in found]

    @lines.setter
    def lines(self, lines: list[list[dict[str, Any]]]) -> None:
        self.journal.write_text("".join(json.dumps(line if len(line) != 1 else line[0]) + "\n" for line in lines))

    def change(self, event: str, act: Callable[[dict[str, Any]], Any], number: int = 0) -> None:
        """``act`` on the fact with this number of this kind; what it returns takes its place (None: nothing does)."""
        lines, seen = self.lines, 0
        for line in lines:
            for place, fact in enumerate(line):
                if fact.get("event") == event:
                    seen += 1
                    if seen == number + 1:
                        new = act(fact)
                        line[place : place + 1] = [] if new is None else new if isinstance(new, list) else [new]
                        self.lines = [one for one in lines if one]
                        return
        raise AssertionError(f"there is no {event} number {number}")

    def trial_directory(self) -> Path:
        return sorted(self.root.glob("train_*"))[0]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on this machine, of which one worker was killed, and which another driver took over."""
    place = tmp_path_factory.mktemp("good")
    good = Good(place)
    good.audit.mkdir()
    script = place / "search.py"
    script.write_text(chaos.search_script("asha", good.audit, 6, 0.01, "tune.LocalOptions(cpus=2)").replace(
        "note(step=step)", "note(step=step)\n        if step == 3 and done == 0 and config['speed'] > 0.1: os._exit(9)"
    ))  # fmt: skip
    env = {"TUNE_RESULT_DIR": str(place / "results"), "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, str(script)], check=True, timeout=120, env={**os.environ, **env}, capture_output=True
    )
    listed = [sys.executable, "-m", "hpctune.cli.main", "list", str(good.root), "--json"]
    (place / "list.json").write_text(subprocess.run(listed, check=True, capture_output=True, text=True).stdout)
    (place / "queue.txt").write_text("hpctune:another:1_0001:1\n(null)\n")
    return place


@pytest.fixture
def good(finished: Path, tmp_path: Path) -> Good:
    shutil.copytree(finished, tmp_path / "copy")
    return Good(tmp_path / "copy")


def test_a_good_experiment_passes(good: Good) -> None:
    code, said = good.check("--asha", chaos.ASHA_RULE)
    assert code == 0, said
    assert re.fullmatch(r"all is well: 6 trials, \d+ results, \d+ runs, 1 drivers", said[0])
    assert len([f for line in good.lines for f in line if f.get("event") == "RunStarted"]) > 6, "one went on"


def again(fact: dict[str, Any]) -> list[dict[str, Any]]:
    return [fact, fact]


def gone(fact: dict[str, Any]) -> None:
    return None


def changed(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fact: {**fact, **fields}


def with_row(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fact: {**fact, "row": {**fact["row"], **fields}}


def edit_file(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def drop_last_line(path: Path, lines: int = 1) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))


def newest_checkpoint(good: Good) -> Path:
    return sorted(good.trial_directory().glob("checkpoint_*"))[-1]


def restart_from_older(fact: dict[str, Any]) -> dict[str, Any]:
    assert fact["restore"]
    return {**fact, "restore": fact["restore"].replace("000002", "000001")}


def audits(good: Good, word: str) -> Path:
    """The notes of a run that went on from a checkpoint, or that began anew."""
    return next(
        p for p in sorted(good.audit.glob("*.jsonl"))
        if (json.loads(p.read_text().splitlines()[0])["restored"] is not None) is (word == "went on")
    )  # fmt: skip


def retried(good: Good) -> int:
    """Which SubmitRequested is the first second attempt."""
    requests = [f for line in good.lines for f in line if f.get("event") == "SubmitRequested"]
    return next(number for number, fact in enumerate(requests) if fact["attempt"] == 2)


def early(good: Good) -> int:
    """Which result is one that others of its trial follow."""
    results = [f for line in good.lines for f in line if f.get("event") == "ResultReported"]
    long = next(f["run"] for f in results if f["row"]["training_iteration"] == 3)
    return next(number for number, fact in enumerate(results) if fact["run"] == long)


def delete_what_is_in_use(good: Good) -> None:
    requests = [f for line in good.lines for f in line if f.get("event") == "SubmitRequested"]
    fact = requests[retried(good)]
    deleted = {"at": 0, "event": "CheckpointDeleted", "trial_id": fact["trial_id"], "name": Path(fact["restore"]).name}
    good.change("SubmitRequested", lambda fact: [fact, deleted], retried(good))


def count_for_an_old_run(good: Good) -> None:
    """A result of a first attempt comes in after the second has begun."""
    facts = [f for line in good.lines for f in line]
    second = next(f for f in facts if f.get("event") == "RunStarted" and f["run"][1] == 2)
    number = [f for f in facts if f.get("event") == "ResultReported"].index(
        next(f for f in facts if f.get("event") == "ResultReported" and f["run"] == second["run"])
    )
    good.change("ResultReported", lambda fact: {**fact, "run": [fact["run"][0], 1, 0]}, number)


def mutate_list(good: Good) -> None:
    rows = json.loads((good.place / "list.json").read_text())
    rows[0]["training_iteration"] -= 1
    (good.place / "list.json").write_text(json.dumps(rows))


def put_a_job_into_the_queue(good: Good) -> None:
    identity = json.loads((good.root / "experiment.json").read_text())["experiment_id"]
    (good.place / "queue.txt").write_text(f"hpctune:{identity}:x_00001:1 my words\n")


def let_a_stopped_trial_go_on(good: Good) -> None:
    """Without the decision, and without what followed from it: only the rule itself can tell."""
    stops = [f for line in good.lines for f in line if f.get("event") == "StopRequested"]
    number = next(n for n, fact in enumerate(stops) if fact["reason"].startswith("rung"))
    good.change("StopRequested", gone, number)


def stopped(good: Good) -> int:
    """Which result is the one at which a trial was stopped at a rung."""
    facts = [f for line in good.lines for f in line]
    stop = next(f for f in facts if f.get("event") == "StopRequested" and f["reason"].startswith("rung"))
    results = [f for f in facts if f.get("event") == "ResultReported"]
    return max(number for number, fact in enumerate(results) if fact["run"][0] == stop["trial_id"])


def exploit_something_else(good: Good) -> None:
    names = [f["trial_id"] for line in good.lines for f in line if f.get("event") == "TrialAdded"]
    fact = {"at": 0, "event": "ExploitRequested", "trial_id": names[0], "donor": names[1], "restore": "none/such",
            "iteration": 0, "config": {}, "evaluated": {}, "reason": "", "tag": ""}  # fmt: skip
    good.change("SearchExhausted", lambda exhausted: [fact, exhausted])


MUTATIONS: dict[str, tuple[str, Callable[[Good], object]]] = {
    "a line is garbled": ("journal", lambda g: edit_file(g.journal, '"event"', '"event')),
    "a segment is missing": ("journal", lambda g: edit_file(g.journal, '"segment":1', '"segment":2,"follows":1')),
    "an old driver's epoch": ("drivers", lambda g: g.change("DriverStarted", again)),
    "a trial ended twice": ("ended", lambda g: g.change("TrialEnded", again)),
    "a trial never ended": ("ended", lambda g: g.change("TrialEnded", gone)),
    "a trial was never settled": ("ended", lambda g: g.change("TrialSettled", gone)),
    "the experiment did not end": ("ended", lambda g: g.change("ExperimentEnded", gone)),
    "a trial failed": ("errors", lambda g: g.change("TrialEnded", changed(phase="ERROR"))),
    "a result is missing": ("results", lambda g: g.change("ResultReported", gone, early(g))),
    "a result counts twice": ("results",
        lambda g: g.change("ResultReported", lambda f: [f, {**f, "seq": f["seq"] + 100}], early(g))),
    "a result was taken twice": ("runs", lambda g: g.change("ResultReported", again, early(g))),
    "an old run counts": ("runs", count_for_an_old_run),
    "an attempt is repeated": ("attempts", lambda g: g.change("SubmitRequested", again)),
    "a number is left out": ("attempts", lambda g: g.change("SubmitRequested", changed(attempt=7))),
    "two attempts share a job": ("attempts",
        lambda g: g.change("SubmitAcknowledged", lambda f: [f, {**f, "attempt": 9}])),
    "an attempt begins too early": ("restarts",
        lambda g: g.change("SubmitRequested", restart_from_older, retried(g))),
    "what is used is deleted": ("in-use", delete_what_is_in_use),
    "something else is taken over": ("exploits", exploit_something_else),
    "a checkpoint is gone": ("checkpoints", lambda g: shutil.rmtree(newest_checkpoint(g))),
    "a checkpoint is torn": ("checkpoints", lambda g: (newest_checkpoint(g) / ".hpctune.json").unlink()),
    "result.json lacks a line": ("projections", lambda g: drop_last_line(g.trial_directory() / "result.json")),
    "result.json says something else": ("projections",
        lambda g: edit_file(g.trial_directory() / "result.json", '"value":', '"value":1')),
    "progress.csv lacks a line": ("projections", lambda g: drop_last_line(g.trial_directory() / "progress.csv")),
    "a control file is left": ("leftovers", lambda g: (g.trial_directory() / "control.json").touch()),
    "a run file is left": ("leftovers", lambda g: (g.trial_directory() / "run-1.0.jsonl").touch()),
    "a job's script is left": ("leftovers",
        lambda g: ((g.root / "jobs").mkdir(exist_ok=True), (g.root / "jobs" / "7.sh").touch())),
    "the list differs": ("list", mutate_list),
    "a job is left": ("queue", put_a_job_into_the_queue),
    "a run began anew": ("audit",
        lambda g: edit_file(audits(g, "went on"), '"restored": "', '"restored": null, "x": "')),
    "a run began elsewhere": ("audit", lambda g: edit_file(audits(g, "went on"), '"from": ', '"from": 1')),
    "a report was never made": ("audit", lambda g: drop_last_line(audits(g, "began anew"), 2)),
    "a run never began": ("audit", lambda g: audits(g, "began anew").unlink()),
    "a bad trial was not stopped": ("asha", let_a_stopped_trial_go_on),
    "a result was another": ("asha", lambda g: g.change("ResultReported", with_row(value=100.0), stopped(g))),
}  # fmt: skip


@pytest.mark.parametrize("what", MUTATIONS)
def test_each_wrong_is_objected_to_by_name(good: Good, what: str) -> None:
    rule, mutate = MUTATIONS[what]
    mutate(good)
    code, said = good.check("--asha", chaos.ASHA_RULE)
    assert code == 1
    assert any(line.startswith(f"{rule}: ") for line in said), said


def test_every_rule_has_a_mutation() -> None:
    assert {rule for rule, _ in MUTATIONS.values()} == set(checker.RULES)


def test_it_shares_no_code_with_what_it_checks() -> None:
    text = (SCRIPTS / "check_experiment.py").read_text()
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported <= sys.stdlib_module_names


def test_failed_trials_may_be_allowed(good: Good) -> None:
    good.change("TrialEnded", changed(phase="ERROR"))
    (good.place / "list.json").write_text("[]")
    assert not [line for line in good.check("--errors")[1] if line.startswith("errors")]
