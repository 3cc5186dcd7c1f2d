"""Comet, with the real package and offline archives."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from hpctune.errors import UsageError
from tests.integrations.searches import killed_and_resumed, text_of

pytest.importorskip("comet_ml")


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_a_killed_driver_and_a_failed_trial_go_on_in_the_same_experiments(tmp_path: Path) -> None:
    callback = """from hpctune.integration.comet import CometLoggerCallback
callback = CometLoggerCallback(online=False, tags=["mine"], project_name="p")"""
    killed_and_resumed(tmp_path, callback, {"COMET_API_KEY": "not-in-any-file"})
    steps: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    parameters: dict[str, dict[str, object]] = defaultdict(dict)
    for archive in sorted((tmp_path / "exp" / "comet").glob("*.zip")):
        with zipfile.ZipFile(archive) as inside:
            key = json.loads(inside.read("experiment.json"))["offline_id"]
            for line in inside.read("messages.json").decode().splitlines():
                message = json.loads(line)
                payload = message["payload"]
                if message["type"] == "metric_msg":
                    metric = payload["metric"]
                    steps[key][metric["metricName"]].append(metric["step"])
                elif message["type"] == "parameter_msg":
                    param = payload["param"]
                    parameters[key][param["paramName"]] = param["paramValue"]
    assert len(steps) == 2
    assert sorted(float(str(given["x"])) for given in parameters.values()) == [1, 2]
    for found in steps.values():
        # the archive of the killed driver never came to be: what it held is delivered again
        assert sorted(found["loss"]) == list(range(1, 9))
        assert found["loss"] == found["nested/a"]
    assert b"not-in-any-file" not in text_of(tmp_path)


def test_a_key_is_needed_and_never_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hpctune.integration.comet import CometLoggerCallback

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    with pytest.raises(UsageError, match="online=False"):
        CometLoggerCallback()
    with pytest.raises(UsageError, match="COMET_API_KEY"):
        CometLoggerCallback(online=False, api_key="secret")
