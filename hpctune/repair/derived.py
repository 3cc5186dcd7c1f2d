"""Checks of the loggers' files: the same loggers write them again from the journal, and the result is compared."""

from __future__ import annotations

import io
import re
import struct
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from hpctune.common import unpickling
from hpctune.model.trial import Phase, Trial
from hpctune.output.callback import Callback, CallbackList
from hpctune.output.loggers.csv import PROGRESS_FILE, CSVLoggerCallback
from hpctune.output.loggers.error_file import write_error
from hpctune.output.loggers.json import PARAMS_FILE, PARAMS_PICKLE, RESULT_FILE, JsonLoggerCallback
from hpctune.output.loggers.tensorboard import RAY, TBXLoggerCallback
from hpctune.repair.facts import Facts, policy_files
from hpctune.repair.findings import Finding, RebuildFiles, RebuildPolicyLog
from hpctune.storage import values
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial as TrialView

LoggerMaker = Callable[[], Callback]
LOGGERS: dict[str, type[Callback]] = {
    kind.__name__: kind for kind in (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)
}
ERROR_FILE = "error.txt"
EVENTS = "events.out.tfevents."
_ZONES = timedelta(hours=26)
_WHEN = re.compile(rb"^(Failure # \d+) \(occurred at ([^)]*)\)$", re.MULTILINE)


def project(facts: Facts, trial_id: str, loggers: Sequence[LoggerMaker], root: Path) -> dict[str, bytes]:
    """The derived files of one trial as the journal wants them: names and contents. ``root``: a scratch directory."""
    trial, scratch = facts.trial(trial_id), ExperimentPaths(root)
    directory = scratch.trial(trial.dirname).root
    if trial.started_at is not None:
        directory.mkdir(mode=0o700)
        calls = CallbackList([kind() for kind in loggers])
        view = TrialView(trial, scratch, facts.spec)
        calls.rebuild(view, facts.rows[trial_id])
        if trial.phase.final:
            calls.rebuilt(view, failed=trial.phase is Phase.ERROR)
        calls.close()
    for at, error in facts.failures.get(trial_id, ()):
        write_error(scratch.trial(trial.dirname), error, at)
    return {p.name: p.read_bytes() for p in sorted(directory.iterdir())} if directory.is_dir() else {}


def check_derived(
    facts: Facts, paths: ExperimentPaths, loggers: Sequence[LoggerMaker], *, every: bool, finalized_only: bool
) -> Iterator[Finding]:
    """Derived files that are missing or differ. ``every``: rebuild all of them, even if they are sound."""
    for trial in facts.state.trials.values():
        if finalized_only and not trial.finalized:
            continue
        with tempfile.TemporaryDirectory(prefix="hpctune-fsck-") as scratch:
            wanted = project(facts, trial.trial_id, loggers, Path(scratch))
        root = paths.trial(trial.dirname).root
        wrong = {name: why for name, data in wanted.items() if (why := differs(root / name, data, trial, every))}
        if wrong:
            yield _finding(trial, wrong)


def _finding(trial: Trial, wrong: dict[str, str]) -> Finding:
    words = "; ".join(f"{name} {why}" for name, why in wrong.items())
    fix = RebuildFiles(trial.trial_id, tuple(wrong))
    return Finding("derived files", trial.dirname, words, "rebuilt from the journal", fix)


def differs(path: Path, wanted: bytes, trial: Trial, every: bool = False) -> str:
    """What is wrong with ``path``; "" if nothing is."""
    if isinstance(trial.config, values.Sealed) and path.name in (PARAMS_FILE, PARAMS_PICKLE):
        return ""  # its values cannot be read here, so nothing better can be written
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return "is missing"
    except NotADirectoryError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if every:
        return "is to be rebuilt"
    if found == wanted or _same_content(path, found, wanted, trial):
        return ""
    return "is shorter than the journal" if wanted.startswith(found) else "does not agree with the journal"


def _same_content(path: Path, found: bytes, wanted: bytes, trial: Trial) -> bool:
    if path.name == ERROR_FILE:
        return _WHEN.sub(rb"\1", found) == _WHEN.sub(rb"\1", wanted) and _same_times(found, wanted)
    if path.name == PARAMS_PICKLE:
        return _same_pickle(path, found, trial)
    if path.name.startswith(EVENTS):
        return _same_events(found, wanted)
    return False


def _same_times(found: bytes, wanted: bytes) -> bool:
    """Whether the times are the same ones, perhaps in another time zone."""
    texts = [[m[2].decode() for m in _WHEN.finditer(data)] for data in (found, wanted)]
    try:
        ours, theirs = ([datetime.strptime(t, "%Y-%m-%d_%H-%M-%S") for t in times] for times in texts)
    except ValueError:
        return False
    apart = {a - b for a, b in zip(ours, theirs, strict=True)}
    return len(apart) <= 1 and all(abs(d) <= _ZONES and not d % timedelta(minutes=15) for d in apart)


def _same_pickle(path: Path, found: bytes, trial: Trial) -> bool:
    """Pickles of equal values may differ: one shared object in one may be two objects in the other."""
    if not values.trusted(path.stat()):
        return False
    stream = io.BytesIO(found)
    try:
        return bool(unpickling.load(stream) == dict(trial.config)) and not stream.read(1)
    except Exception:  # of unpickling, or of comparing what the user has put in
        return False


def _same_events(found: bytes, wanted: bytes) -> bool:
    from tensorboardX.proto.event_pb2 import Event

    def events(data: bytes) -> list[object] | None:
        payloads = records(data)
        try:
            return None if payloads is None else [Event.FromString(payload) for payload in payloads]
        except Exception:  # protobuf's own, of several packages
            return None

    ours = events(wanted)
    return ours is not None and events(found) == ours


def records(data: bytes) -> list[bytes] | None:
    """The payloads of a TensorBoard file (length, checksum, payload, checksum); None if one is damaged."""
    from hpctune.output.loggers.tfrecord import record

    found, position = [], 0
    while position < len(data):
        if position + 12 > len(data):
            return None
        (length,) = struct.unpack_from("<Q", data, position)
        payload = data[position + 12 : position + 12 + length]
        whole = record(payload) if len(payload) == length else b""
        if not whole or data[position : position + len(whole)] != whole:
            return None
        found.append(payload)
        position += len(whole)
    return found


def check_policy_log(facts: Facts, paths: ExperimentPaths, *, every: bool) -> Iterator[Finding]:
    """What of the log of exploits is missing, or differs."""
    found = policy_files(paths.root)
    wrong = tuple(name for name, data in facts.policy_files.items() if every or found.get(name) != data)
    if wrong:
        what = "is to be rebuilt" if every else "is missing, or does not agree with the journal"
        yield Finding("derived files", ", ".join(wrong), what, "rebuilt from the journal", RebuildPolicyLog(wrong))


def chosen_loggers(
    names: Container[str] | None, switched_on: Container[str], facts: Facts, paths: ExperimentPaths
) -> list[LoggerMaker]:
    """The loggers of the experiment: ``names`` as its driver's bundle has them, with the options ``switched_on``; None
    if that cannot be read: then those of which a file is there, or all if none is."""
    if names is not None:
        ray_names = "ray_names" in switched_on or "ray_names" not in names
        return [_maker(kind, ray_names) for name, kind in LOGGERS.items() if name in names]
    files = {"JsonLoggerCallback": (RESULT_FILE, PARAMS_FILE), "CSVLoggerCallback": (PROGRESS_FILE,)}
    there = {p.name: p for t in facts.state.trials.values() for p in paths.root.glob(f"{_glob(t.dirname)}/*")}
    seen = {name for name, own in files.items() if there.keys() & set(own)}
    events = [path for name, path in there.items() if name.startswith(EVENTS)]
    seen |= {"TBXLoggerCallback"} if events else set()
    ray_names = any(RAY.encode() in path.read_bytes() for path in events)
    return [_maker(kind, ray_names) for name, kind in LOGGERS.items() if name in seen or not seen]


def _maker(kind: type[Callback], ray_names: bool) -> LoggerMaker:
    return partial(kind, ray_names=ray_names) if kind is TBXLoggerCallback else kind


def _glob(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
