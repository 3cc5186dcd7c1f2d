"""The user's quota, from what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.storage import quota

LINUX = """Disk quotas for user me (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
 srv:/home       123456*  100000  200000   6days    1000       0       0
      /dev/sdb1     500       0       0              10       0       0
"""
LUSTRE = """        /lustre/some/long/name
                 123456   100000  200000       -    1000       0       0       -
"""


@pytest.mark.parametrize(
    ("source", "left"),
    [("srv:/home", (200000 - 123456) * 1024), ("/dev/sdb1", None), ("elsewhere", None)],
)
def test_the_command_of_linux(source: str, left: int | None) -> None:
    assert quota.bytes_left(quota.amounts_of(LINUX, source)) == left


@pytest.mark.parametrize(
    ("amounts", "left"),
    [(["90", "100", "0"], 10240), (["300*", "100", "200"], 0), (["[5]", "0", "6"], 1024), (["-", "-", "-"], None),
     (["1"], None), ([], None)],
)  # fmt: skip
def test_what_is_left(amounts: list[str], left: int | None) -> None:
    assert quota.bytes_left(amounts) == left


@pytest.mark.parametrize(("kind", "name", "prints"), [("lustre", "lfs", LUSTRE), ("nfs4", "quota", LINUX)])
def test_the_right_command_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, prints: str
) -> None:
    (tmp_path / "answer").write_text(prints)
    (tmp_path / name).write_text(f"#!/bin/sh\ncat {tmp_path / 'answer'}\n")
    (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(quota, "mount_of", lambda path, mounts: (kind, "srv:/home", ""))
    assert quota.quota_left(tmp_path) == (200000 - 123456) * 1024
    (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
    assert quota.quota_left(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert quota.quota_left(tmp_path) is None
