"""The thread of a driver that keeps the mirror of an experiment up to date."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.errors import TuneError
from hpctune.mirror import status
from hpctune.mirror.mirror import Interrupted, Mirror, discard_snapshot
from hpctune.mirror.status import MirrorStatus

RETRY_S = (5.0, 300.0)
"""The shortest and the longest pause after a failure, in seconds."""
LAST_PAUSES_S = (0.5, 1.0)
"""The pauses before the last pass is tried again, in seconds."""
HOPELESS_S = 15.0
"""Seconds that an ending driver waits for a mirror whose last pass failed."""


class MirrorFollower:
    """Runs passes of ``mirror`` until :meth:`close`. Nothing that happens here reaches the driver."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        known = status.read(mirror.paths)
        self._status = MirrorStatus(mirror.url)
        if known is not None and known.url == mirror.url:
            self._status = replace(known, began=0.0)
        self._wake, self._last = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="hpctune-mirror", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Run one more pass, and wait for it: as long as it may take, or HOPELESS_S seconds if the place fails."""
        self._last.set()
        self._wake.set()
        until = time.monotonic() + (HOPELESS_S if self._status.error else self._mirror.options.timeout_s)
        told = time.monotonic() + 5.0
        while self._thread.is_alive() and time.monotonic() < until:
            self._thread.join(0.2)
            if time.monotonic() >= told and self._thread.is_alive():
                told = time.monotonic() + 30.0
                progress = self._mirror.progress
                log.info(f"Copying to {self._mirror.url}: {progress.files} of {progress.of_files} files.")
        if self._thread.is_alive() or self._status.error:
            self._mirror.stopped.set()
            why = (self._status.error or "it takes too long").rstrip(".")
            log.warning(
                f"The copy at {self._mirror.url} is not complete: {why}. Nothing is lost here. To complete it: "
                f"hpctune sync {self._mirror.paths.root}"
            )
        discard_snapshot(self._mirror.paths)

    def _run(self) -> None:
        pauses = Backoff(*RETRY_S)
        while True:
            last = self._last.is_set()
            began = time.monotonic()
            failed = self._one()
            if last:
                self._insist(failed)
                return
            if failed:
                if self._mirror.progress.files:
                    pauses.reset()
                pause = pauses.take(2.0)
            else:
                pauses.reset()
                pause = max(0.0, self._mirror.options.period_s - (time.monotonic() - began))
            self._wake.wait(pause)

    def _insist(self, failed: bool) -> None:
        """Try the last pass again if it failed: the place may fail only now and then."""
        for pause_s in LAST_PAUSES_S:
            if failed and not self._mirror.stopped.wait(pause_s):
                failed = self._one()

    def _one(self) -> bool:
        """One pass; returns whether it failed."""
        began = time.time()
        self._tell(replace(self._status, began=began))
        try:
            there = self._mirror.sync()
        except Interrupted:
            self._tell(replace(self._status, began=0.0))
            return False
        except Exception as error:  # of any filesystem, and of users' own code
            text = (str(error) if isinstance(error, TuneError) else f"{type(error).__name__}: {error}").rstrip(".")
            if not self._status.error:
                log.warning(f"The copy at {self._mirror.url} is behind: {text}. The search goes on; it is tried again.")
            since = self._status.since if self._status.error else began
            failures = self._status.failures + 1
            self._tell(replace(self._status, error=text, since=since, began=0.0, failures=failures))
            return True
        if self._status.error:
            log.info(f"The copy at {self._mirror.url} is complete again.")
        self._tell(MirrorStatus(self._mirror.url, began, "", 0.0, len(there.files), there.bytes))
        return False

    def _tell(self, now: MirrorStatus) -> None:
        self._status = now
        status.write(self._mirror.paths, now)
