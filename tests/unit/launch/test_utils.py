"""hpctune.utils."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from hpctune import utils
from hpctune.errors import NotYetSupportedError, UsageError


def test_date_str() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", utils.date_str())


def test_merge_dicts_changes_neither() -> None:
    one, two = {"a": {"x": 1, "y": [1]}, "b": 1}, {"a": {"x": 2, "z": 3}, "c": 4}
    assert utils.merge_dicts(one, two) == {"a": {"x": 2, "y": [1], "z": 3}, "b": 1, "c": 4}
    assert one == {"a": {"x": 1, "y": [1]}, "b": 1}


def test_deep_update_refuses_new_keys() -> None:
    with pytest.raises(UsageError, match="'c'"):
        utils.deep_update({"a": 1}, {"c": 1})
    with pytest.raises(UsageError, match="'y'"):
        utils.deep_update({"a": {"x": 1}}, {"a": {"y": 1}})
    assert utils.deep_update({"a": {"x": 1}}, {"a": {"y": 1}}, allow_new_subkey_list=["a"]) == {"a": {"x": 1, "y": 1}}


def test_deep_update_replaces_where_told() -> None:
    old = {"e": {"type": "A", "x": 1}, "f": {"x": 1}}
    new = {"e": {"type": "B", "y": 2}, "f": {"y": 2}}
    updated = utils.deep_update(old, new, override_all_if_type_changes=["e"], override_all_key_list=["f"])
    assert updated == new
    same_type = utils.deep_update({"e": {"type": "A", "x": 1}}, {"e": {"type": "A", "x": 2}}, False, None, ["e"])
    assert same_type == {"e": {"type": "A", "x": 2}}


def test_unflattened_lookup() -> None:
    nested = {"a": {"b": [1, {"c": 2}]}, "x/y": 3}
    assert utils.unflattened_lookup("a/b/1/c", nested) == 2
    assert utils.unflattened_lookup("x/y", nested) == 3
    assert utils.unflattened_lookup("a/z", nested, default=None) is None
    with pytest.raises(KeyError, match="a/b/7"):
        utils.unflattened_lookup("a/b/7", nested)


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH for a fake nvidia-smi, with nothing in it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def fake(directory: Path, *uses: int) -> None:
    """Each call says that GPU 1 uses the next of ``uses`` MiB of 1000; GPU 0 is free."""
    script = directory / "nvidia-smi"
    script.write_text(
        f"""#!/bin/sh
cd {directory}; n=$(cat count 2>/dev/null || echo 1); echo $((n+1)) > count
set -- {" ".join(map(str, uses))}
while [ "$n" -gt 1 ] && [ $# -gt 1 ]; do shift; n=$((n-1)); done
echo "0, GPU-aaaa-1, 1, 1000"; echo "1, GPU-bbbb-2, $1, 1000"
"""
    )
    script.chmod(0o755)


def test_wait_for_gpu_waits_until_memory_is_free(nvidia_smi: Path) -> None:
    fake(nvidia_smi, 800, 500, 5)
    assert utils.wait_for_gpu(1, retry=5, delay_s=0)
    assert (nvidia_smi / "count").read_text().strip() == "4"


def test_wait_for_gpu_by_uuid_and_by_what_is_visible(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(nvidia_smi, 5)
    assert utils.wait_for_gpu("GPU-bbbb", retry=1)
    assert utils.wait_for_gpu(retry=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert utils.wait_for_gpu(retry=1)


def test_wait_for_gpu_gives_up(nvidia_smi: Path) -> None:
    fake(nvidia_smi, 800)
    with pytest.raises(RuntimeError, match="800 of 1000 MiB"):
        utils.wait_for_gpu(1, retry=2, delay_s=0)
    assert utils.wait_for_gpu(1, retry=1, gpu_memory_limit=900)
    with pytest.raises(UsageError, match="no GPU '7'"):
        utils.wait_for_gpu(7)


def test_wait_for_gpu_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="nvidia-smi"):
        utils.wait_for_gpu(0)


LOCK = threading.Lock()


def test_diagnose_serialization_names_the_culprit(capsys: pytest.CaptureFixture[str]) -> None:
    lock = threading.Lock()

    def closes_over(config: object) -> None:
        lock.acquire()

    assert utils.diagnose_serialization(lambda config: 1) is True
    assert utils.diagnose_serialization(closes_over) == {"lock"}
    assert "lock" in capsys.readouterr().err


def test_warn_if_slow(capsys: pytest.CaptureFixture[str]) -> None:
    with utils.warn_if_slow("saving", threshold=0.0):
        pass
    assert "saving" in capsys.readouterr().err
    with utils.warn_if_slow("saving", threshold=100):
        pass
    with utils.warn_if_slow("saving", threshold=0.0, disable=True):
        pass
    assert capsys.readouterr().err == ""


def test_util_monitor_is_to_come() -> None:
    with pytest.raises(NotYetSupportedError):
        utils.UtilMonitor()
