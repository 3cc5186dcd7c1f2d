"""The program that is brought to a cluster, as one file that an interpreter there can run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from importlib.resources import files

_MAIN = "import sys\n\nfrom cluster_side.main import main\n\nsys.exit(main())\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@cache
def build() -> tuple[str, bytes]:
    """Its name there, which tells one version from another, and its content."""
    package = files("hpctune.remote").joinpath("cluster_side")
    sources = {f"cluster_side/{item.name}": item.read_text() for item in package.iterdir() if item.name.endswith(".py")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in sorted({"__main__.py": _MAIN, **sources}.items()):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), text, zipfile.ZIP_DEFLATED)
    body = buffer.getvalue()
    return f"programs/{hashlib.sha256(body).hexdigest()[:16]}.pyz", body
