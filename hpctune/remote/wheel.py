"""This hpctune as a wheel, so that a cluster gets the same version without a package index that has it."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import hpctune
from hpctune.errors import RemoteClusterError
from hpctune.version import VERSION

NAME = f"hpctune-{VERSION}-py3-none-any.whl"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: hpctune\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(directory: Path) -> Path:
    """Write the wheel into ``directory``. The same sources give the same bytes."""
    info = f"hpctune-{VERSION}.dist-info"
    contents = dict(_sources())
    contents |= {f"{info}/{name}": text.encode() for name, text in (("METADATA", _metadata()), ("WHEEL", _WHEEL))}
    contents[f"{info}/entry_points.txt"] = b"[console_scripts]\nhpctune = hpctune.cli.main:main\n"
    record = [f"{name},sha256={_digest(body)},{len(body)}" for name, body in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = directory / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in contents.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, body, zipfile.ZIP_DEFLATED)
    return path


def _sources() -> Iterator[tuple[str, bytes]]:
    assert hpctune.__file__ is not None
    package = Path(hpctune.__file__).parent
    for top in (package, package.parent / "hydra_plugins" / "hpctune_sweeper"):
        for folder, folders, files in os.walk(top):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for file in sorted(files):
                path = Path(folder, file)
                if path.suffix != ".pyc":
                    yield str(path.relative_to(package.parent)), path.read_bytes()


def _metadata() -> str:
    """The package's description; the long text is left out."""
    try:
        known = metadata.metadata("hpctune")
    except metadata.PackageNotFoundError as error:
        raise RemoteClusterError(
            "hpctune is not installed here, so what it needs is not known. Install it: pip install -e ."
        ) from error
    wanted = (
        "Metadata-Version", "Name", "Version", "Summary", "License-Expression", "Requires-Python", "Requires-Dist",
        "Provides-Extra",
    )  # fmt: skip
    lines = [f"{key}: {value}" for key in wanted for value in known.get_all(key) or ()]
    return "\n".join([*lines, "", ""])


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
