"""URLs of places elsewhere: their paths, the options in their queries as pyarrow means them, and their secrets.

A secret in a URL is known to this process only: :func:`public` is what may be written or shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote

from hpctune.common.text import nearest
from hpctune.errors import UsageError

_S3, _GS, _HDFS = ("s3", "s3a"), ("gs", "gcs"), ("hdfs", "viewfs")
_BY_SSH = ("sftp", "ssh")
"""Their own module refuses passwords."""
_SECRET_OPTIONS = frozenset({"access_key", "secret_key", "session_token"})
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
_HTTP = re.compile(r"^(https?):/+")


@dataclass(frozen=True, slots=True)
class Url:
    """``scheme://user:password@host/path?options``. ``host``: with its port; of an object store the bucket."""

    scheme: str
    user: str
    host: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        query = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in self.options.items())
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.host}{self.path}{'?' if query else ''}{query}"


def parsed(url: str) -> Url:
    """The parts of a URL. Only object stores and HDFS have options: elsewhere ``?`` is a part of a name."""
    scheme, _, rest = url.partition("://")
    query = ""
    if scheme in (*_S3, *_GS, *_HDFS):
        rest, _, query = rest.partition("?")
    place, slash, path = rest.partition("/")
    user, _, host = place.rpartition("@")
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return Url(scheme, user, host, slash + path, {unquote(name): unquote(value) for name, _, value in pairs})


def _is_place(text: str) -> bool:
    return "://" in text and not text.startswith("file://")


def below(place: str, name: str) -> str:
    """The place ``name`` in a directory: a URL, whose options stay at its end, or a path."""
    if not _is_place(place):
        return f"{place.rstrip('/')}/{name}"
    url = parsed(place)
    return str(replace(url, path=f"{url.path.rstrip('/')}/{name}"))


def plain(place: str) -> str:
    """A place without a slash at the end of its path."""
    if not _is_place(place):
        return place.rstrip("/")
    url = parsed(place)
    return str(replace(url, path=url.path.rstrip("/")))


def last_name(place: str) -> str:
    """The last part of its path."""
    path = parsed(place).path if _is_place(place) else place
    return path.rstrip("/").rpartition("/")[2]


def parent(place: str) -> str:
    """The directory that a place is in."""
    if not _is_place(place):
        return place.rstrip("/").rpartition("/")[0]
    url = parsed(place)
    return str(replace(url, path=url.path.rstrip("/").rpartition("/")[0]))


# -- secrets ----------------------------------------------------------------------------------------------------------

_known: dict[tuple[str, str], Url] = {}
"""By scheme, and host with the user's name: URLs with secrets that this process was given."""
_shown: dict[str, str] = {}
"""The same as they were given, without their secrets."""


def public(place: str) -> str:
    """A place without its secrets, which :func:`with_secrets` knows from now on."""
    if not _is_place(place):
        return place
    url = parsed(place)
    shown = _without_secrets(url)
    if shown == url:
        return place
    _known[(shown.scheme, _address(shown))] = url
    _shown[place] = str(shown)
    return str(shown)


def _without_secrets(url: Url) -> Url:
    """Of an object store, the part before ``@`` is a key and its secret."""
    if url.scheme in _BY_SSH:
        return url
    store = url.scheme in (*_S3, *_GS)
    user = url.user.partition(":")[0]
    options = {name: value for name, value in url.options.items() if name not in _SECRET_OPTIONS}
    return replace(url, user=user if not store or user == "anonymous" else "", options=options)


def _address(url: Url) -> str:
    return f"{url.user}@{url.host}"


def with_secrets(place: str) -> Url:
    """The parts of a URL, with the secrets that :func:`public` took from one of the same host."""
    url = parsed(place)
    known = _known.get((url.scheme, _address(url)))
    if known is None:
        return url
    secrets = {name: value for name, value in known.options.items() if name in _SECRET_OPTIONS}
    return replace(url, user=known.user, options={**url.options, **secrets})


def public_text(text: str) -> str:
    """A text whose URLs are without secrets."""
    return _IN_TEXT.sub(lambda found: public(found[0]), text)


def without_places(text: str) -> str:
    """A text in which the places that this process was given are without secrets. Other URLs stay as they are."""
    for given, shown in _shown.items():
        text = text.replace(given, shown)
    return text


# -- options ----------------------------------------------------------------------------------------------------------


def _is_true(value: str) -> bool:
    return value.lower() in ("1", "true", "yes")


def _of_s3(url: Url) -> dict[str, Any]:
    given = url.options
    made: dict[str, Any] = {}
    client: dict[str, Any] = {}
    if endpoint := _endpoint(given):
        made["endpoint_url"] = endpoint
    elif "scheme" in given:
        made["use_ssl"] = given["scheme"] != "http"
    config: dict[str, Any] = {}
    if region := given.get("region"):  # s3fs makes buckets in the region of "client_kwargs", and must not name this one
        (config if region == "us-east-1" else client)["region_name"] = region
    if "tls_ca_file_path" in given:
        client["verify"] = given["tls_ca_file_path"]
    if not _is_true(given.get("tls_verify_certificates", "true")):
        client["verify"] = False
    if _is_true(given.get("force_virtual_addressing", "")):
        config["s3"] = {"addressing_style": "virtual"}
    key, _, secret = url.user.partition(":")
    secrets = {
        "key": given.get("access_key") or unquote(key),
        "secret": given.get("secret_key") or unquote(secret),
        "token": given.get("session_token"),
    }
    made |= {name: value for name, value in secrets.items() if value}
    made |= {name: value for name, value in (("client_kwargs", client), ("config_kwargs", config)) if value}
    return made


def _of_gs(url: Url) -> dict[str, Any]:
    given, made = url.options, dict[str, Any]()
    if endpoint := _endpoint(given):
        made["endpoint_url"] = endpoint
    for theirs, ours in (("project_id", "project"), ("default_bucket_location", "default_location")):
        if theirs in given:
            made[ours] = given[theirs]
    return {**made, "token": "anon"} if url.user == "anonymous" else made


def _of_hdfs(url: Url) -> dict[str, Any]:
    given, made = url.options, dict[str, Any]()
    if user := given.get("user") or url.user:
        made["user"] = user
    if "kerb_ticket" in given:
        made["kerb_ticket"] = given["kerb_ticket"]
    if "replication" in given:
        made["replication"] = int(given["replication"])
    return made


def _of_others(url: Url) -> dict[str, Any]:
    return {}


def _endpoint(given: Mapping[str, str]) -> str:
    """``endpoint_override``, which may be host:port, with the protocol of ``scheme``."""
    endpoint = _HTTP.sub(r"\1://", given.get("endpoint_override", ""))  # a Path has only one slash
    return endpoint if not endpoint or "://" in endpoint else f"{given.get('scheme', 'https')}://{endpoint}"


_FOR_ARROW_ONLY = (
    "allow_bucket_deletion", "allow_delayed_open", "background_writes", "buffer_size",
    "check_directory_existence_before_creation", "retry_limit_seconds", "smart_defaults",
)  # fmt: skip
"""Options that say how pyarrow works, and nothing about the place."""
_OPTIONS: dict[str, tuple[tuple[str, ...], Callable[[Url], dict[str, Any]]]] = {
    **dict.fromkeys(
        _S3,
        (
            (
                "allow_bucket_creation", "endpoint_override", "force_virtual_addressing", "region", "scheme",
                "tls_ca_file_path", "tls_verify_certificates", *sorted(_SECRET_OPTIONS),
            ),
            _of_s3,
        ),
    ),
    **dict.fromkeys(_GS, (("default_bucket_location", "endpoint_override", "project_id", "scheme"), _of_gs)),
    **dict.fromkeys(_HDFS, (("kerb_ticket", "replication", "user"), _of_hdfs)),
}  # fmt: skip


def arguments(url: Url) -> dict[str, Any]:
    """The arguments of fsspec's filesystem that the options of a URL mean. Raises UsageError for an unknown one."""
    names, make = _OPTIONS.get(url.scheme, ((), _of_others))
    if url.scheme in (*_S3, *_GS) and ":" in url.host:
        raise UsageError(f"A key in an {url.scheme}:// URL must be written with %2F instead of /.")
    for name in url.options:
        if name not in (*names, *_FOR_ARROW_ONLY):
            hint = nearest(name, names)
            raise UsageError(
                f"{public(str(replace(url, options={})))}: the URL has an unknown option {name!r}. {hint}Possible are: "
                f"{', '.join(names)}."
            )
    try:
        return make(url)
    except ValueError as error:
        raise UsageError(
            f"{public(str(replace(url, options={})))}: an option of the URL cannot be: {error}."
        ) from error


def may_make_bucket(place: str) -> bool:
    """Whether the URL says that a bucket that is not there is made."""
    return _is_place(place) and _is_true(parsed(place).options.get("allow_bucket_creation", ""))
