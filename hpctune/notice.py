"""Words to whoever watches."""

from __future__ import annotations

import contextlib
import sys


def tell(text: str) -> None:
    """Show a line on stderr; a closed stream is no error."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
