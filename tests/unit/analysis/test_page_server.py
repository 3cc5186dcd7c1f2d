"""``hpctune serve``: who gets an answer, and when an experiment is read again."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.analysis.page import server
from hpctune.analysis.page.server import LiveExperiment, PageServer
from hpctune.common.throttle import Throttle
from hpctune.errors import TuneError
from tests.slurm.cluster import wait_for
from tests.support.output_support import Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path / "exp")
    made.start(made.add(lr=0.1))
    made.report("1f3a9_00000", [{"loss": 1.0}])
    return made


@pytest.fixture
def pages(recorder: Recorder, tmp_path: Path) -> Iterator[PageServer]:
    made = PageServer([LiveExperiment(recorder.paths.root), LiveExperiment(tmp_path / "gone")])
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made
    made.close()
    thread.join()


def ask(pages: PageServer, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", pages.port, timeout=30)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def body(answer: Any) -> bytes:
    return bytes(answer.body)


def test_the_page_needs_the_token(pages: PageServer) -> None:
    token = pages.http.token
    found = ask(pages, f"/?token={token}")
    assert (found.status, found.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    assert b"connect-src 'self'" in body(found)
    assert found.getheader("Cache-Control") == "no-store"
    for path in ("/", "/?token=", "/?token=wrong", f"/?token={token}x"):
        refused = ask(pages, path)
        assert (refused.status, b"hpctune serve has printed" in body(refused)) == (401, True)


def test_the_data_needs_the_token_and_this_machine(pages: PageServer) -> None:
    known = {"Authorization": f"Bearer {pages.http.token}"}
    assert ask(pages, "/experiment/0").status == 401
    assert ask(pages, "/experiment/0", Authorization="Bearer wrong").status == 401
    assert ask(pages, "/experiment/0", Host="elsewhere.example", **known).status == 401
    assert ask(pages, "/experiment/0", Host="localhost:1234", **known).status == 200
    for path in (
        "/experiment/2",
        "/experiment/-1",
        "/experiment/",
        "/etc/passwd",
        "/experiment/0/..",
        "/x/experiment/0",
    ):
        assert ask(pages, path, **known).status == 404, path


def test_an_experiment_that_is_gone_is_told(pages: PageServer) -> None:
    found = ask(pages, "/experiment/1", Authorization=f"Bearer {pages.http.token}")
    assert found.status == 410
    assert b"gone" in body(found)


def test_only_what_has_changed_is_sent_again(pages: PageServer, recorder: Recorder) -> None:
    known = {"Authorization": f"Bearer {pages.http.token}"}
    first = ask(pages, "/experiment/0", **known)
    assert json.loads(gzip.decompress(body(first)))["best"]["value"] == 1.0
    version = str(first.getheader("ETag"))
    assert ask(pages, "/experiment/0", If_None_Match=version, **known).status == 304
    recorder.report("1f3a9_00000", [{"loss": 0.5}])
    wait_for(lambda: ask(pages, "/experiment/0", If_None_Match=version, **known).status == 200, 60, "the new data")
    again = ask(pages, "/experiment/0", **known)
    assert json.loads(gzip.decompress(body(again)))["best"]["value"] == 0.5


def test_a_slow_reading_keeps_nobody_waiting(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = LiveExperiment(recorder.paths.root)
    first = shown.read()
    go_on, real = threading.Event(), server.data_of

    def slow(*given: Any) -> dict[str, Any]:
        go_on.wait(60)
        return real(*given)

    monkeypatch.setattr(server, "data_of", slow)
    shown._throttle = Throttle(0.0, 0.0)
    recorder.report("1f3a9_00000", [{"loss": 0.5}])
    assert [shown.read() for _ in range(3)] == [first] * 3
    go_on.set()
    wait_for(lambda: shown.read() != first, 60, "the new data")


def test_an_experiment_that_vanishes_keeps_what_was_known(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = LiveExperiment(recorder.paths.root)
    first = shown.read()
    asked = threading.Event()

    def gone(*_: Any) -> dict[str, Any]:
        asked.set()
        raise TuneError("gone")

    monkeypatch.setattr(server, "data_of", gone)
    shown._throttle = Throttle(0.0, 0.0)
    recorder.report("1f3a9_00000", [{"loss": 0.5}])
    assert shown.read() == first
    assert asked.wait(60)
    wait_for(lambda: not shown._lock.locked(), 60, "the end of the reading")
    assert shown.read() == first


def test_metric_and_mode(recorder: Recorder) -> None:
    _, data = LiveExperiment(recorder.paths.root, "loss", "max").read()
    assert json.loads(gzip.decompress(data))["mode"] == "max"


def test_no_secret_is_in_the_page(pages: PageServer) -> None:
    text = body(ask(pages, f"/?token={pages.http.token}")).decode()
    assert not re.search(re.escape(pages.http.token), text)
