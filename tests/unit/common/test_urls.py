"""URLs of places: paths before options, options as pyarrow means them, and no secret in what is written."""

from __future__ import annotations

from typing import Any

import pytest

from hpctune.common import urls
from hpctune.errors import UsageError


@pytest.mark.parametrize(
    ("place", "inside", "name"),
    [
        ("s3://b/dir", "s3://b/dir/exp", "dir"),
        ("s3://b?endpoint_override=http://h:9000&scheme=http", "s3://b/exp?endpoint_override=http://h:9000&scheme=http",
         ""),
        ("s3://b/dir/?region=x", "s3://b/dir/exp?region=x", "dir"),
        ("hdfs://me@host:8020/d?replication=2", "hdfs://me@host:8020/d/exp?replication=2", "d"),
        ("sftp://me@host:22/why?/", "sftp://me@host:22/why?/exp", "why?"),
        ("file:///a/b?c", "file:///a/b?c/exp", "b?c"),
        ("/a/b?c/", "/a/b?c/exp", "b?c"),
    ],
)  # fmt: skip
def test_options_stay_at_the_end_of_a_url(place: str, inside: str, name: str) -> None:
    assert urls.below(place, "exp") == inside
    assert urls.last_name(place) == name
    assert urls.last_name(inside) == "exp"
    assert urls.parent(inside) == urls.plain(place)


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("s3://b/d", {}),
        ("s3://b?endpoint_override=localhost:9000&scheme=http", {"endpoint_url": "http://localhost:9000"}),
        ("s3://b?endpoint_override=localhost:9000", {"endpoint_url": "https://localhost:9000"}),
        ("s3://b?endpoint_override=http%3A%2F%2Fh%3A1", {"endpoint_url": "http://h:1"}),
        ("s3://b?endpoint_override=http:/h:1", {"endpoint_url": "http://h:1"}),
        ("s3://b?scheme=http", {"use_ssl": False}),
        ("s3://b?region=eu-west-1&allow_bucket_creation=true", {"client_kwargs": {"region_name": "eu-west-1"}}),
        ("s3://b?tls_verify_certificates=false", {"client_kwargs": {"verify": False}}),
        ("s3://k:s%2F+t@b/d", {"key": "k", "secret": "s/+t"}),
        ("gs://anonymous@b/d?endpoint_override=h:1&scheme=http", {"endpoint_url": "http://h:1", "token": "anon"}),
        ("hdfs://me@h:1/d?replication=2&kerb_ticket=/t", {"user": "me", "kerb_ticket": "/t", "replication": 2}),
    ],
)
def test_options_mean_what_they_mean_in_pyarrow(url: str, arguments: dict[str, Any]) -> None:
    assert urls.arguments(urls.parsed(url)) == arguments


@pytest.mark.parametrize(
    "url",
    ["s3://key:SECRET@b/d?regoin=x", "s3://b/d?secret=SECRET", "s3://key:SEC/RET@b/d", "hdfs://h/d?replication=a"],
)
def test_an_option_that_cannot_be_is_told_without_secrets(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        urls.arguments(urls.parsed(url))
    assert "SECRET" not in str(refused.value)
    assert "SEC/RET" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:SECRET@b/d?region=x", "s3://b/d?region=x"),
        ("s3://b/d?access_key=k&secret_key=SECRET&session_token=SECRET2&region=y", "s3://b/d?region=y"),
        ("ftp://me:SECRET@host/d", "ftp://me@host/d"),
        ("s3://open/d?region=x", "s3://open/d?region=x"),
        ("gs://anonymous@b/d", "gs://anonymous@b/d"),
        ("/a/me:pw@b", "/a/me:pw@b"),
    ],
)
def test_what_is_shown_of_a_url_has_no_secret_and_this_process_knows_it(url: str, shown: str) -> None:
    assert urls.public(url) == shown
    assert urls.public_text(f"--storage={url} -x") == f"--storage={shown} -x"
    assert urls.without_places(f"--storage={url} -x") == f"--storage={shown} -x"
    if "://" in url:
        assert urls.arguments(urls.with_secrets(shown)) == urls.arguments(urls.parsed(url))


def test_other_urls_stay_in_a_text_for_programs() -> None:
    assert urls.without_places("postgresql://me:pw@db/x") == "postgresql://me:pw@db/x"
    assert urls.public_text("postgresql://me:pw@db/x") == "postgresql://me@db/x"
