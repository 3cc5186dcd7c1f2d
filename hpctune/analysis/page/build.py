"""The page: the template with styles, script and data in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from hpctune.analysis.page.data import experiment_data
from hpctune.analysis.pictures.style import COLOURS, ON_DARK
from hpctune.analysis.pictures.trials import State
from hpctune.common.text import count
from hpctune.version import VERSION

_SCRIPTS = ("draw.js", "pictures.js", "table.js", "page.js")


def page(paths: Sequence[str | Path], metric: str | None = None, mode: str | None = None) -> str:
    """The page of the experiments in ``paths``, which needs nothing else."""
    experiments = [experiment_data(path, metric, mode) for path in paths]
    made = (
        f"Made {time.strftime('%Y-%m-%d %H:%M')}, hpctune {VERSION}. Everything is in this one file; it loads nothing."
    )
    return _document(experiments, made, _SCRIPTS, "begin(show);")


def live_page(experiments: Sequence[dict[str, Any]]) -> str:
    """The page of a server, which loads the data of an experiment when it is shown, and again when it has changed.

    ``experiments``: ``name`` and ``path`` of each.
    """
    scripts = (*_SCRIPTS, "live.js")
    return _document(experiments, f"By hpctune {VERSION}.", scripts, "begin(chooseLive);", "; connect-src 'self'")


def _document(
    experiments: Sequence[dict[str, Any]], note: str, scripts: Sequence[str], start: str, policy: str = ""
) -> str:
    names = [x["name"] for x in experiments]
    title = names[0] if len(names) == 1 else f"{count(len(names), 'experiment')}: {', '.join(names[:20])}"
    script = "(() => {\n'use strict';\n" + "\n".join(_asset(name) for name in scripts) + f"\n{start}\n}})();"
    style = _colours() + _asset("page.css")
    allowed = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'{policy}"
    parts = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; base-uri 'none'; {allowed}",
        "NOTE": html.escape(note),
        "STYLE": style,
        "DATA": embedded(list(experiments)),
        "SCRIPT": script,
    }
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], _asset("page.html"))


def as_text(data: Any) -> str:
    """``data`` as JSON without spaces."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def embedded(data: Any) -> str:
    """``data`` as JSON that cannot end the element that it stands in."""
    return as_text(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _colours() -> str:
    """The colours of states as variables of the style: those of the other pictures, and lighter ones on a dark page."""
    lines = [
        f"{root} {{ {' '.join(f'--s{n}: {colours[state]};' for n, state in enumerate(State))} }}\n"
        for root, colours in ((":root", COLOURS), (":root.dark", ON_DARK))
    ]
    return "".join(lines)


def _asset(name: str) -> str:
    return files("hpctune.analysis.page").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
