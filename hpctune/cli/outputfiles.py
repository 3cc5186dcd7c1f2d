"""Output files of trials, read while they grow."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 16


@dataclass(slots=True)
class Stream:
    """One output file, read from the end of the last read. It is opened again each time, because NFS shows other nodes'
    writes only to a new open."""

    title: str
    path: Path
    offset: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def last(self, lines: int | None) -> str:
        """All current content, or its last ``lines`` lines."""
        if lines is not None:
            self.offset = self._start_of_last(lines)
        return self.news()

    def _start_of_last(self, lines: int) -> int:
        """Offset of the last ``lines`` lines. Reads from the end, because the file may be huge."""
        try:
            with self.path.open("rb") as file:
                start = end = file.seek(0, 2)
                ends = 0
                while start > 0:
                    size = min(BLOCK, start)
                    file.seek(start - size)
                    block = file.read(size)
                    searched = len(block) - (start == end and block.endswith(b"\n"))
                    while (at := block.rfind(b"\n", 0, searched)) >= 0:
                        ends += 1
                        if ends >= lines:
                            return start - size + at + 1 if lines else end
                        searched = at
                    start -= size
        except FileNotFoundError:
            pass
        return 0

    def news(self) -> str:
        """The text appended since the last call."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self.offset:  # the file was started again
                    self.offset = 0
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return ""
        self.offset += len(data)
        return self.decoder.decode(data)
