"""What an experiment's files say about the filesystem of its copies: never a secret."""

from __future__ import annotations

import pickle
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from hpctune.mirror.options import MirrorOptions

SECRETS = {
    "key": "SECRET-1", "secret": "SECRET-2", "token": "SECRET-3", "password": "SECRET-4", "account_key": "SECRET-5",
    "connection_string": "SECRET-6", "sas_token": "SECRET-7",
    "client_kwargs": {"aws_secret_access_key": "SECRET-8", "region_name": "north"},
}  # fmt: skip


class Store(MemoryFileSystem):  # type: ignore[misc]
    protocol = "store"


def stored(filesystem: Any) -> tuple[bytes, Any]:
    """The pickle, and the filesystem in it."""
    text = pickle.dumps(MirrorOptions(place="bucket/dir", filesystem=filesystem))
    return text, pickle.loads(text).filesystem


@pytest.mark.parametrize("wrapped", [False, True])
def test_secrets_are_not_stored_and_other_options_are(wrapped: bool) -> None:
    own = Store(**SECRETS, endpoint_url="http://127.0.0.1:9000", anon=False)
    text, found = stored(DirFileSystem("bucket", own) if wrapped else own)
    assert b"SECRET" not in text
    assert (found.fs if wrapped else found).storage_options == {
        "client_kwargs": {"region_name": "north"}, "endpoint_url": "http://127.0.0.1:9000", "anon": False,
    }  # fmt: skip
    assert own.storage_options["key"] == "SECRET-1"


def test_a_filesystem_without_secrets_is_stored_as_it_is() -> None:
    own = fsspec.filesystem("file", auto_mkdir=True)
    assert stored(own)[1] == own
    assert stored(None)[1] is None


@pytest.mark.parametrize("wrapped", [False, True])
def test_secrets_of_pyarrow(wrapped: bool) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    own = fs.S3FileSystem(
        endpoint_override="127.0.0.1:9", scheme="http", region="north", access_key="SECRET-1", secret_key="SECRET-2"
    )
    text, found = stored(fs.SubTreeFileSystem("bucket", own) if wrapped else own)
    assert b"SECRET" not in text
    assert (found.base_fs if wrapped else found).region == "north"
