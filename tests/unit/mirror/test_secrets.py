"""What an experiment's files say about the filesystem of its copies: never a secret."""

from __future__ import annotations

import pickle
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from hpctune.mirror.options import MirrorOptions
from hpctune.mirror.secrets import without_secrets
from hpctune.mirror.target import as_fsspec, replaces_at_once

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


class Arrow:
    """What is used of pyarrow's filesystems: the module's name, and of what they say that they are made."""

    __module__ = "pyarrow._stand_in"
    type_name = "s3"

    def __init__(self, **options: Any) -> None:
        if bool(options.get("client_secret")) != bool(options.get("tenant_id")):
            raise ValueError("Invalid credential configuration")
        self.options = options

    def __reduce__(self) -> tuple[Any, ...]:
        return (lambda options: Arrow(**options)), (self.options,)


class ArrowSubTree:
    __module__ = "pyarrow._stand_in"
    type_name = "subtree"

    def __init__(self, base_path: str, base_fs: Any) -> None:
        self.base_path, self.base_fs = base_path, base_fs

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowSubTree, (self.base_path, self.base_fs)


class ArrowHandler:
    """As FSSpecHandler; pickle takes it apart in a way of its own."""

    __module__ = "pyarrow._stand_in"

    def __init__(self, fs: Any) -> None:
        self.fs = fs


class ArrowAround:
    """As PyFileSystem."""

    __module__ = "pyarrow._stand_in"
    type_name = "py::fsspec+store"

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowAround, (self.handler,)


ARROW = {"access_key": "SECRET", "secret_key": "SECRET", "session_token": "", "region": "north",
         "proxy_options": {"host": "p", "password": "SECRET"}}  # fmt: skip


def test_secrets_of_what_says_of_what_it_is_made() -> None:
    left = {"region": "north", "proxy_options": {"host": "p"}}
    own = Arrow(**ARROW)
    assert without_secrets(own).options == left
    assert without_secrets(ArrowSubTree("bucket", own)).base_fs.options == left
    assert own.options == ARROW
    open_one = Arrow(region="north", secret_key="")
    assert without_secrets(open_one) is open_one


def test_options_that_mean_nothing_without_a_secret_are_not_kept_either() -> None:
    azure = Arrow(account_name="a", tenant_id="t", client_id="c", client_secret="SECRET")
    assert without_secrets(azure).options == {"account_name": "a"}


@pytest.mark.parametrize("secrets", [{}, SECRETS])
def test_one_of_fsspec_in_one_of_pyarrow(secrets: dict[str, Any]) -> None:
    inner = Store(**secrets)
    around = ArrowAround(ArrowHandler(inner))
    found = without_secrets(around)
    assert "SECRET" not in str(found.handler.fs.storage_options)
    assert (found is around) == (not secrets)
    assert as_fsspec(around) is inner


def test_a_view_of_an_object_store_writes_in_one_step_as_the_store_does() -> None:
    store, files = MemoryFileSystem(), fsspec.filesystem("file")
    assert [replaces_at_once(DirFileSystem("d", fs)) for fs in (store, files)] == [True, False]
    assert replaces_at_once(ArrowSubTree("bucket", Arrow()))


@pytest.mark.parametrize("wrapped", [False, True])
def test_secrets_of_pyarrow(wrapped: bool) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    own = fs.S3FileSystem(
        endpoint_override="127.0.0.1:9", scheme="http", region="north", access_key="SECRET-1", secret_key="SECRET-2"
    )
    text, found = stored(fs.SubTreeFileSystem("bucket", own) if wrapped else own)
    assert b"SECRET" not in text
    assert (found.base_fs if wrapped else found).region == "north"


def test_one_of_fsspec_in_one_of_real_pyarrow() -> None:
    fs = pytest.importorskip("pyarrow.fs")
    text, found = stored(fs.PyFileSystem(fs.FSSpecHandler(Store(**SECRETS))))
    assert b"SECRET" not in text
    assert as_fsspec(found).storage_options == {"client_kwargs": {"region_name": "north"}}
