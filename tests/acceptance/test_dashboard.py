"""``hpctune dashboard`` as a user starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.support.output_support import usual

pytest.importorskip("optuna_dashboard")


@pytest.mark.nightly
def test_it_shows_the_experiment_to_those_who_have_the_token(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    words = ["hpctune", "dashboard", str(tmp_path / "exp"), "--port", "0", "-o", str(tmp_path / "kept.db")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        assert said[0] == "1 experiment. Open in a browser:\n"
        address = said[1].strip()
        base, _, _ = address.partition("/?")
        assert re.search(r"ssh -N -L (\d+):127.0.0.1:\1 \S+@\S+", said[3])
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{base}/api/studies", timeout=30)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with browser.open(address, timeout=30) as answer:
            assert answer.url == f"{base}/dashboard"
            assert b"Optuna Dashboard" in answer.read()

        def states() -> list[str]:
            with browser.open(f"{base}/api/studies/1", timeout=30) as answer:
                return [trial["state"] for trial in json.load(answer)["trials"]]

        assert states() == ["Complete", "Complete", "Fail", "Running", "Waiting"]
        made.report("1f3a9_00003", [{"loss": 0.5}])
        made.finish("1f3a9_00003")
        limit = time.monotonic() + 120
        while states()[3] != "Complete":
            assert time.monotonic() < limit, "the study does not follow the experiment"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert (tmp_path / "kept.db").exists()
