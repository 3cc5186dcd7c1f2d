"""Filesystems without the secrets that they were made with, for the files of an experiment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpctune.common.log import log

_SECRET = re.compile(
    r"^(key|auth|token)$|secret|passw|passphrase|access_key$|account_key|connection_string|credential|sas_|_token$",
    re.I,
)
_USELESS = ("client_id", "tenant_id")
"""What cannot be given without client_secret."""
_told: set[int] = set()


def without_secrets(filesystem: Any) -> Any:
    """A filesystem of fsspec or pyarrow as one that takes its secrets from the environment or the provider's own files.

    One that has none is returned as it is.
    """
    made = _arrow(filesystem) if type(filesystem).__module__.startswith("pyarrow") else _fsspec(filesystem)
    if made is not filesystem and id(filesystem) not in _told:
        _told.add(id(filesystem))
        log.info(
            "The keys of storage_filesystem are not written into the experiment. A driver that is started again, or as "
            "a job, takes them from the environment or the provider's own files."
        )
    return made


def _fsspec(filesystem: Any) -> Any:
    arguments, options = getattr(filesystem, "storage_args", ()), getattr(filesystem, "storage_options", {})
    if not _has_secret([*arguments, options]):
        return filesystem
    return type(filesystem)(*map(_plain, arguments), **_plain(options))


def _arrow(filesystem: Any) -> Any:
    """The same of pyarrow, whose filesystems say of what they are made; one of Python may be around one of fsspec."""
    if (handler := getattr(filesystem, "handler", None)) is not None:
        inner = getattr(handler, "fs", None)
        plain = without_secrets(inner) if inner is not None else None
        return filesystem if plain is inner else type(filesystem)(type(handler)(plain))
    make, arguments = filesystem.__reduce__()
    return make(*map(_plain, arguments)) if _has_secret(arguments) else filesystem


def _is_filesystem(value: Any) -> bool:
    return hasattr(value, "storage_options") or type(value).__module__.startswith("pyarrow")


def _has_secret(value: Any) -> bool:
    """Whether there is a secret in options, in those inside them, or in the filesystems among them."""
    if isinstance(value, Mapping):
        return any((_SECRET.search(str(name)) and one) or _has_secret(one) for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_has_secret, value))
    return _is_filesystem(value) and without_secrets(value) is not value


def _plain(value: Any) -> Any:
    """The same without secrets."""
    if isinstance(value, Mapping):
        lost = _USELESS if value.get("client_secret") else ()
        return {name: _plain(one) for name, one in value.items() if not _SECRET.search(str(name)) and name not in lost}
    return without_secrets(value) if _is_filesystem(value) else value
