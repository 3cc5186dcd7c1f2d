"""Checks of the experiment's pickled code. None of the code is run."""

from __future__ import annotations

import io
import json
import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.repair.findings import Finding
from hpctune.storage.layout import ExperimentPaths

_OBJECT = re.compile(r"\d{3,}\.(npy|pkl)")
_KEPT = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
REMEDY = "It cannot be repaired here: restore it from a backup, or resume from your script, which stores it again"


@dataclass(frozen=True, slots=True)
class Bundle:
    """``names``: every text in the pickle, None if it cannot be read. ``switched_on``: those before a True, as names
    of attributes are. ``damage``: why it cannot be read."""

    names: frozenset[str] | None
    switched_on: frozenset[str] = frozenset()
    damage: str = ""


def look_through(path: Path) -> Bundle:
    """The texts in a bundle: names of modules, classes and objects among them."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Bundle(None, damage="is missing")
    except OSError as error:
        return Bundle(None, damage=f"cannot be read ({error.strerror or error})")
    head, _, body = data.partition(b"\n")
    try:
        place = json.loads(head)
        place["sys_path"], place["cwd"]
        return _texts(body)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, UnicodeError) as error:
        return Bundle(None, damage=f"is damaged ({type(error).__name__})")


def _texts(body: bytes) -> Bundle:
    found: set[str] = set()
    switched_on: set[str] = set()
    operation, text = "", ""
    for opcode, argument, _ in _operations(body):
        if opcode.name in _KEPT:
            continue
        operation = opcode.name
        if operation == "NEWTRUE" and text:
            switched_on.add(text)
        text = argument if isinstance(argument, str) else ""
        found.update(text.split(" ") if operation == "GLOBAL" else [text])
    if operation != "STOP":
        raise ValueError("it ends too early")
    return Bundle(frozenset(found), frozenset(switched_on))


def _operations(body: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    """Those of all pickles in ``body``, one behind the other."""
    stream = io.BytesIO(body)
    while True:
        yield from pickletools.genops(stream)
        if stream.tell() == len(body):
            return


def check_bundles(paths: ExperimentPaths) -> tuple[list[Finding], Bundle]:
    """The damage of the bundles, and the contents of the driver's bundle."""
    findings: list[Finding] = []
    needed: set[str] = set()
    bundle = Bundle(None)
    for path in (Path(paths.trainable), paths.driver_bundle):
        bundle = look_through(path)
        if bundle.names is None:
            findings.append(Finding("code", path.name, bundle.damage, REMEDY))
        else:
            needed |= {name for name in bundle.names if _OBJECT.fullmatch(name)}
    for name in sorted(needed):
        stored = paths.objects / name
        if not stored.is_file() or stored.stat().st_size == 0:
            findings.append(Finding("code", f"objects/{name}", "is missing or empty", REMEDY))
    return findings, bundle
