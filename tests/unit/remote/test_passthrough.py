"""What a command there prints, as it is shown here."""

from __future__ import annotations

import io

from hpctune.remote.passthrough import _sink


def test_a_file_that_is_brought_here_is_called_as_here() -> None:
    shown = io.BytesIO()
    write = _sink(io.TextIOWrapper(shown), True, {".out-1.csv": "täble.csv"})
    write(b"Wrote 1 row to .out-1.csv.\r\n")
    assert shown.getvalue().decode() == "Wrote 1 row to täble.csv.\n"
