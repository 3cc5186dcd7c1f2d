"""Checks of the journal: its damage, and its content after a repair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpctune.model import events as e
from hpctune.model.ids import trial_id
from hpctune.model.spec import ExperimentSpec
from hpctune.repair.evidence import DiskEvidence
from hpctune.repair.facts import Facts, gather
from hpctune.repair.findings import Finding, ReplaceJournal, Rewrite
from hpctune.repair.mend import JournalRepairer, Mended
from hpctune.repair.segments import Link, RawJournal, read
from hpctune.storage import codec, values
from hpctune.storage.journal import JOURNAL_VERSION
from hpctune.storage.layout import ExperimentPaths

KEPT = "the old journal is kept in quarantine"


@dataclass(frozen=True, slots=True)
class CheckedJournal:
    """``facts``: the experiment of the journal, or of the repaired journal; None if it cannot be repaired."""

    findings: Sequence[Finding]
    facts: Facts | None


def check_journal(paths: ExperimentPaths, spec: ExperimentSpec) -> CheckedJournal:
    """Read everything; change nothing. Raises JournalError for the journal of a newer version, OSError."""
    raw = read(paths.journal)
    contradiction, before = "", -1
    while raw.sound and not contradiction:
        try:
            facts = gather(spec, raw.facts())
        except (KeyError, AssertionError, AttributeError, TypeError, ValueError) as error:
            contradiction = f"its facts contradict each other ({type(error).__name__}: {error})"
            break
        following = len(facts.state.trials)
        if DiskEvidence(paths, spec).added(following, trial_id(spec.experiment_id, following)) is None:
            return CheckedJournal(list(_torn(raw)), facts)
        if following == before:
            contradiction = f"trial number {following} has a directory, but the journal ends before it: its end is lost"
        raw, before = read(paths.journal), following  # a driver may have added the trial since
    mended = _mend(raw, paths, spec)
    if mended.lost_trials:
        return CheckedJournal(_hopeless(raw, mended, contradiction), None)
    fix = ReplaceJournal(dict(_segments(raw, mended)))
    done = f"repaired: {mended.restored} facts put back, {len(mended.left_out)} left out; {KEPT}"
    findings = [Finding(kind, where, what, done, fix) for kind, where, what in _damages(raw, contradiction)]
    return CheckedJournal(findings, gather(spec, (fact for part in mended.parts for fact in part)))


def _torn(raw: RawJournal) -> Iterator[Finding]:
    """What follows the last line end of the newest segment. What follows a seal never counted, and stays."""
    if raw.chain and raw.chain[-1].segment.torn:
        segment = raw.chain[-1].segment
        data = segment.head_raw + b"".join(line.raw for line in segment.lines)
        yield Finding(
            "torn tail",
            f"journal/{segment.path.name}",
            f"{len(segment.torn)} bytes at its end are not a whole line: a driver was killed while it wrote them",
            "cut off, and kept in quarantine",
            Rewrite(segment.path, data, segment.torn),
        )


def _damages(raw: RawJournal, contradiction: str) -> Iterator[tuple[str, str, str]]:
    """(kind, where, what) of every defect."""
    for path, why in raw.aside:
        yield "foreign segment", f"journal/{path.name}", why
    for link in raw.chain:
        where = f"journal/{link.segment.path.name}"
        if link.missing_before is not None:
            yield "missing segment", f"journal/{link.missing_before:06d}.jsonl", f"{where} follows it; it is missing"
        if link.segment.header is None:
            yield "garbled line", where, "line 1, its header, cannot be read"
        if link.cut_short or link.ragged:
            lost = link.cut_short or len(link.ragged)
            yield "truncated segment", where, f"{lost} bytes that a later driver had read are missing"
    for segment, line in raw.garbled:
        yield "garbled line", f"journal/{segment.path.name}", f"line {line.number}: {line.why}"
    if contradiction:
        yield "contradiction", "journal", contradiction


def _hopeless(raw: RawJournal, mended: Mended, contradiction: str) -> list[Finding]:
    ids = ", ".join(list(mended.lost_trials)[:5])
    remedy = "Bring the journal, or that trial's directory, back from a backup or snapshot; nothing was changed"
    found = [Finding(kind, where, what, remedy) for kind, where, what in _damages(raw, contradiction)]
    what = f"trial {ids} is missing in the journal, and no other file describes it"
    return [*found, Finding("lost trial", "journal", what, remedy)]


def _mend(raw: RawJournal, paths: ExperimentPaths, spec: ExperimentSpec) -> Mended:
    mender = JournalRepairer(spec, DiskEvidence(paths, spec))
    for link in raw.chain:
        mender.part([fact for line in link.lines for fact in line.facts or ()])
    return mender.finish()


def _segments(raw: RawJournal, mended: Mended) -> Iterator[tuple[str, bytes]]:
    """Name and content of each segment; lines of which all facts stay are as they were, byte for byte."""
    before: tuple[int, int] | None = None
    for link, part in zip(raw.chain, mended.parts, strict=True):
        header = {"segment": link.segment.number, "version": JOURNAL_VERSION}
        if before is not None:
            header |= {"follows": before[0], "bytes": before[1]}
        data = f"{values.dumps(header)}\n".encode() + b"".join(_lines(link, part))
        before = link.segment.number, len(data)
        yield link.segment.path.name, data


def _lines(link: Link, part: Sequence[e.Recorded]) -> Iterator[bytes]:
    starts = {id(line.facts[0]): line for line in link.lines if line.facts}
    position = 0
    while position < len(part):
        line = starts.get(id(part[position]))
        facts = line.facts if line is not None else None
        if line is not None and facts is not None:
            after = position + len(facts)
            if [id(f) for f in part[position:after]] == [id(f) for f in facts]:
                yield line.raw
                position = after
                continue
        yield f"{codec.encode(part[position])}\n".encode()
        position += 1
