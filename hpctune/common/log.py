"""Words to whoever watches."""

from __future__ import annotations

import contextlib
import sys


def tell(text: str) -> None:
    """Show a line on stderr; a stream that is closed, or that user code has replaced by something else, is no error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)
