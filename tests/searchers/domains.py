"""The domains that every searcher can search, by name."""

from __future__ import annotations

from typing import Any

import hpctune.space as s

PLAIN_DOMAINS: dict[str, Any] = {
    "uniform": s.uniform(-1, 3),
    "quniform": s.quniform(0, 1, 0.1),
    "loguniform": s.loguniform(1e-4, 1),
    "qloguniform": s.qloguniform(1, 100, 1),
    "randn": s.randn(2, 3),
    "qrandn": s.qrandn(0, 1, 0.5),
    "randint": s.randint(-2, 3),
    "qrandint": s.qrandint(0, 20, 5),
    "lograndint": s.lograndint(1, 30),
    "qlograndint": s.qlograndint(4, 100, 4),
    "choice": s.choice(["a", 1, None, 2.5]),
}
