"""The journal's files, read without trust: every line, whole or not, and the chain of segments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.errors import JournalError
from hpctune.model.events import DriverStarted, Recorded
from hpctune.storage import codec, values
from hpctune.storage.journal import JOURNAL_VERSION
from hpctune.version import VERSION

UNKNOWN_EVENT = "it names an event that does not exist"
_NAME = re.compile(r"\d{6,}\.jsonl")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its end. ``facts`` None: it cannot be read, ``why``."""

    number: int
    raw: bytes
    facts: Sequence[Recorded] | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file. ``header`` None: its first line is not whole, or is none. ``torn``: what follows the last line end."""

    path: Path
    header: Mapping[str, Any] | None
    head_raw: bytes
    lines: Sequence[Line]
    torn: bytes

    @property
    def number(self) -> int:
        return int(self.path.stem)

    @property
    def whole_bytes(self) -> int:
        """Bytes up to the last line end."""
        return len(self.head_raw) + sum(len(line.raw) for line in self.lines)


@dataclass(frozen=True, slots=True)
class Link:
    """A segment as part of the journal: its valid lines, and what is missing before and after them."""

    segment: Segment
    lines: Sequence[Line]
    missing_before: int | None = None
    """The number of the segment that it follows and that is not there."""
    cut_short: int = 0
    """Bytes that its successor had seen and that are not there any more."""
    ragged: bytes = b""
    """What the seal of its successor cuts in two."""


@dataclass(frozen=True, slots=True)
class RawJournal:
    """``chain``: the segments that count, oldest first. ``aside``: files that do not belong there, with the reason."""

    chain: Sequence[Link]
    aside: Sequence[tuple[Path, str]]

    @property
    def garbled(self) -> list[tuple[Segment, Line]]:
        """The lines that count and cannot be read."""
        return [(link.segment, line) for link in self.chain for line in link.lines if line.facts is None]

    @property
    def sound(self) -> bool:
        """Whether the journal can be read as it is; a torn end does no harm."""
        gaps = any(k.missing_before is not None or k.cut_short or k.ragged for k in self.chain)
        headless = any(link.segment.header is None for link in self.chain)
        return not (gaps or headless or self.garbled or self.aside)

    def facts(self) -> Iterator[Recorded]:
        """Every fact that can be read."""
        for link in self.chain:
            for line in link.lines:
                yield from line.facts or ()


def read(directory: Path) -> RawJournal:
    """The journal in ``directory``. Raises OSError if it cannot be read at all, JournalError for a newer format."""
    paths, aside = [], []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if _NAME.fullmatch(path.name) and path.is_file():
            paths.append(path)
        elif not path.name.startswith("."):
            aside.append((path, "no file of a journal is called that"))
    segments = []
    for path in paths:
        segment = _segment(path)
        if segment.header is not None and segment.header["segment"] != segment.number:
            aside.append((path, f"its header names segment {segment.header['segment']}"))
        elif segment.header is not None or segment.lines:
            segments.append(segment)
    chain, left_out = _chain(segments)
    journal = RawJournal(chain, [*aside, *left_out])
    _refuse_newer(journal)
    return journal


def _refuse_newer(journal: RawJournal) -> None:
    """An event that a newer version wrote is not garbled."""
    if not any(line.why == UNKNOWN_EVENT for _, line in journal.garbled):
        return
    for recorded in journal.facts():
        if isinstance(recorded.event, DriverStarted) and _parts(recorded.event.version) > _parts(VERSION):
            raise JournalError(
                f"A driver of hpctune {recorded.event.version} has written this journal, and this is {VERSION}: "
                "pip install --upgrade hpctune"
            )


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _segment(path: Path) -> Segment:
    with path.open("rb") as file:
        data, trusted = file.read(), values.trusted(os.fstat(file.fileno()))
    end = data.rfind(b"\n") + 1
    first, *rest = data[:end].splitlines(keepends=True) or [b""]
    header = _header(path, first) if first else None
    if first and header is None and _facts(first, trusted)[0] is not None:  # its header is gone, and nothing else
        first, rest = b"", [first, *rest]
    lines = []
    for number, raw in enumerate(rest, 2):
        facts, why = _facts(raw, trusted)
        lines.append(Line(number, raw, facts, why))
    return Segment(path, header, first, lines, data[end:])


def _header(path: Path, line: bytes) -> Mapping[str, Any] | None:
    try:
        header = json.loads(line)
        version = int(header["version"])
        int(header["segment"]), int(header.get("follows", 0)), int(header.get("bytes", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if version > JOURNAL_VERSION:
        raise JournalError(f"{path} was written by a newer hpctune: pip install --upgrade hpctune")
    return dict(header)


def _facts(raw: bytes, trusted: bool) -> tuple[Sequence[Recorded] | None, str]:
    if not raw.strip(b"\0 \r\n"):
        return None, "it is empty, as after a power failure"
    try:
        return codec.decode_group(json.loads(raw), trusted=trusted), ""
    except JournalError:
        return None, UNKNOWN_EVENT
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, f"it cannot be read ({type(error).__name__})"


def _chain(segments: Sequence[Segment]) -> tuple[list[Link], list[tuple[Path, str]]]:
    """Back from the newest segment, each to the one that it follows."""
    by_number = {segment.number: segment for segment in segments}
    chain: list[Link] = []
    current, limit = (segments[-1] if segments else None), None
    while current is not None:
        lower = max((n for n in by_number if n < current.number), default=None)
        header: Mapping[str, Any] = current.header if current.header is not None else {"follows": lower}
        follows: int | None = header.get("follows")
        missing = follows if follows is not None and follows not in by_number else None
        chain.insert(0, _link(current, limit, missing))
        limit = int(header["bytes"]) if missing is None and "bytes" in header else None
        before = lower if missing is not None else follows
        current = by_number[before] if before is not None and before < current.number else None
    used = {link.segment.number for link in chain}
    unused = [s for s in segments if s.number not in used]
    return chain, [(s.path, "no later segment follows it: what it holds never counted") for s in unused]


def _link(segment: Segment, limit: int | None, missing: int | None) -> Link:
    """The valid part of ``segment`` if its successor had read ``limit`` bytes of it."""
    if limit is None:
        return Link(segment, segment.lines, missing)
    offset, lines, ragged = len(segment.head_raw), [], b""
    for line in segment.lines:
        offset += len(line.raw)
        if offset > limit:
            ragged = line.raw if offset - len(line.raw) < limit else b""
            break
        lines.append(line)
    return Link(segment, lines, missing, max(0, limit - segment.whole_bytes), ragged)
