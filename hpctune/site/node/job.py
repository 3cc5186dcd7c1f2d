"""One small job that checks a node: submitted, awaited, and always removed at the end."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Unanswered
from hpctune.model.resources import Resources
from hpctune.output.display.slurm_reasons import explain
from hpctune.ports import Clock
from hpctune.site.findings import Advice, Check, seconds
from hpctune.site.node.checks import judge_node
from hpctune.site.node.facts import NodeFacts
from hpctune.site.node.program import MAX_S
from hpctune.site.storage import pingpong
from hpctune.site.storage.checks import judge_shared

Say = Callable[[str], None]
AREA = "Test job"
POLL_S = 5.0
_GONE_S = 15.0
_STARTED_S = 90.0
"""How long a running job may take until its first file is seen here."""


@contextlib.contextmanager
def scratch_in(directory: Path) -> Iterator[Path]:
    """A private folder in ``directory`` (created if missing), removed afterwards. Raises StorageError."""
    made = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".hpctune-doctor-", dir=directory))
    except OSError as error:
        raise StorageError(f"Cannot write in {directory}: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        for _ in range(5):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.2)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def look_at(folder: Path, alive: pingpong.Alive, here: NodeFacts, gpus: int, say: Say) -> Iterator[Advice]:
    """Everything about the node that runs the program in ``folder``."""
    say("asking the node")
    text = pingpong.await_file(folder, "facts.json", MAX_S, alive)
    if text is None:
        what = "the job started, but returned no answer"
        yield Advice((Check(AREA, "fail", what, _last_words(folder)),))
        return
    node = NodeFacts.from_json(json.loads(text))
    visibility, skew = pingpong.judge(pingpong.play(folder, alive, say))
    if skew is not None:
        node = replace(node, skew_s=skew[0], skew_error_s=skew[1])
    say("exclusive create")
    node = pingpong.race(folder, node, alive)
    yield judge_shared(visibility, node)
    yield judge_node(node, here, gpus_asked=gpus)


def _last_words(folder: Path) -> str:
    for name in ("stderr", "stdout"):
        with contextlib.suppress(OSError):
            lines = [line for line in (folder / name).read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"Its last words: {' '.join(lines[-1].split())[:300]}"
    return "It left no words. Is the directory there on the nodes?"


# -- on this machine --------------------------------------------------------------------------------------------------


def local_job(folder: Path, program: Path, python: str | None, here: NodeFacts, say: Say) -> Iterator[Advice]:
    """The same program as a process of this machine, as local trials are. ``python``: the interpreter's command."""
    interpreter = shlex.split(python) if python is not None else [sys.executable]
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [*interpreter, str(program), str(folder)], stdout=errors, stderr=errors, stdin=subprocess.DEVNULL
        )
        try:
            yield from look_at(folder, lambda: process.poll() is None, here, 0, say)
        finally:
            process.kill()
            process.wait()


# -- on a node --------------------------------------------------------------------------------------------------------


class SlurmJob:
    """The job on Slurm. ``pending_s``: how long it may wait in the queue."""

    def __init__(
        self, folder: Path, options: SlurmOptions, clock: Clock, pending_s: float, gpus: int, say: Say
    ) -> None:
        self._folder, self._options, self._clock = folder, options, clock
        self._pending_s, self._gpus, self._say = pending_s, gpus, say
        identity = f"doctor{uuid.uuid4().hex[:8]}"
        self._cluster, self._tag = SlurmCluster(folder, identity, options, clock), Tag(identity, "doctor", 1)
        self._asked_at = float("-inf")
        self._status: JobStatus | None = None

    def run(self, program: Path, here: NodeFacts) -> Iterator[Advice]:
        """Submit, wait, look; the job is over when this is."""
        perhaps_there = True
        try:
            (outcome,) = self._cluster.submit([self._request(program)])
            if not isinstance(outcome, Accepted):
                yield Advice((Check(AREA, "fail", f"the job was not accepted: {outcome.reason}"),))
                perhaps_there = isinstance(outcome, Unanswered)
                return
            began = time.monotonic()
            trouble = self._await_start(outcome.job_id)
            if trouble is not None:
                yield Advice((trouble,))
                return
            waited = time.monotonic() - began
            found = f"job {outcome.job_id} ran, {seconds(waited)} after its submission"
            yield Advice((Check(AREA, "ok", found),))
            yield from look_at(self._folder, self._alive, here, self._gpus, self._say)
        finally:
            if perhaps_there:
                self._end()

    def _request(self, program: Path) -> JobRequest:
        command = ("python", str(program), str(self._folder))
        resources = Resources.parse({"cpu": 1, "gpu": self._gpus} if self._gpus else {"cpu": 1})
        out, errors = self._folder / "stdout", self._folder / "stderr"
        return JobRequest(self._tag, "hpctune-doctor", command, resources, out, errors)

    def _await_start(self, job_id: str) -> Check | None:
        """None once it runs and its first file is here; else why not."""
        began = time.monotonic()
        running_since: float | None = None
        while not (self._folder / "started").exists():
            now = time.monotonic()
            self._look()
            state = self._status.state if self._status is not None else JobState.UNKNOWN
            if state.final:
                time.sleep(1.0)
                if not (self._folder / "started").exists():
                    what = f"job {job_id} ended as {state.value} without any output"
                    return Check(AREA, "fail", what, _last_words(self._folder))
            if state is JobState.RUNNING:
                running_since = running_since if running_since is not None else now
                if now - running_since > _STARTED_S:
                    what = f"job {job_id} runs, but no file of it is seen here after {_STARTED_S:.0f} s"
                    return Check(
                        AREA, "fail", what, "The directory is another one there. Choose one that nodes share: --dir"
                    )
            elif now - began > self._pending_s:
                return self._too_long(job_id)
            reason = self._status.reason if self._status is not None else ""
            self._say(f"job {job_id} {state.value.lower()}{f' ({reason})' if reason else ''}, {now - began:.0f} s")
            time.sleep(0.2)
            any(self._folder.iterdir())  # asks the server for the names again
        return None

    def _too_long(self, job_id: str) -> Check:
        reason = self._status.reason if self._status is not None else ""
        words = explain(reason)
        why = f"{reason}: {words}" if words else reason or "Slurm gives no reason yet"
        meaning = "It was cancelled. Trials would wait as well; more patience: --wait SECONDS, or another partition: -p"
        return Check(AREA, "warn", f"job {job_id} waited for {self._pending_s:.0f} s: {why}", meaning)

    def _look(self) -> None:
        """One squeue, not more often than every few seconds, and ever less often."""
        now = time.monotonic()
        if now - self._asked_at < POLL_S:
            return
        self._asked_at = now
        with contextlib.suppress(ClusterUnavailableError):
            found = self._cluster.jobs()
            self._status = found[0] if found else self._status

    def _alive(self) -> bool:
        self._look()
        return self._status is None or not self._status.state.final

    def _end(self) -> None:
        """Cancel it if it still is there: found by its tag, should its id not be known."""
        self._say("tidying up")
        deadline = time.monotonic() + _GONE_S
        cancelled = False
        while time.monotonic() < deadline:
            try:
                live = [j for j in self._cluster.jobs() if not j.state.final]
                if not live:
                    return
                if not cancelled:
                    done = (self._folder / "won-node").exists()  # it is leaving by itself
                    if not done:
                        self._cluster.cancel([j.job_id for j in live])
                    cancelled = not done
            except ClusterUnavailableError:
                pass
            time.sleep(1.0)

    @property
    def calls(self) -> int:
        """Commands of Slurm that were run."""
        return self._cluster.stats().total
