"""A copy on another machine, by SFTP, against a real sshd: as strict as ssh, and enough to go on from."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from hpctune.storage.reader import read_experiment
from tests.support.ssh_lab import NAME, Laptop, Sshd, key, laptop, sshd  # noqa: F401

SCRIPT = """
import pathlib, sys, tempfile
import hpctune as tune

def train(config):
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint:
        start = int(pathlib.Path(checkpoint.path, "step").read_text())
    for step in range(start + 1, 5):
        if step == 3 and config["x"] == 1 and not pathlib.Path(config["go"]).exists():
            sys.exit("the first cluster is gone")
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory, "step").write_text(str(step))
            tune.report({"loss": config["x"] / step, "from": start}, checkpoint=tune.Checkpoint(directory))

tune.Tuner(
    train, param_space={"x": tune.grid_search([1, 2]), "go": sys.argv[1]},
    tune_config=tune.TuneConfig(metric="loss", mode="min"), cluster="local",
    run_config=tune.RunConfig(name="exp", storage_path=sys.argv[2], verbose=0),
).fit()
"""
READ = """
import sys
import hpctune as tune
url = sys.argv[1]
assert tune.ExperimentAnalysis(url).dataframe()["loss"].min() == 0.5
assert tune.Tuner.can_restore(url) and not tune.Tuner.can_restore(url + "-none")
"""


@pytest.mark.nightly
def test_a_second_machine_goes_on_from_a_copy_by_sftp(laptop: Laptop, sshd: Sshd) -> None:  # noqa: F811
    """By the name in ~/.ssh/config, from the home directory there."""
    (laptop.work / "search.py").write_text(SCRIPT)
    (laptop.work / "read.py").write_text(READ)
    url, one, two = f"sftp://{NAME}/~/copies", laptop.work / "one", laptop.work / "two"
    go, first, second = laptop.work / "go", {"HPCTUNE_RESULT_DIR": str(one)}, {"HPCTUNE_RESULT_DIR": str(two)}
    done = laptop.call("run", "search.py", "--", str(go), url, env=first)
    assert done.code == 1, done
    assert f"Copy: {url}/exp: complete" in laptop.call("status", "exp", env=first).out
    assert (sshd.home / "copies" / "exp" / "mirror.json").is_file()
    assert not list((sshd.home / "copies" / "exp").glob(".*")), "no draft is left"
    one.rename(laptop.work / "lost")
    listed = laptop.call("list", f"{url}/exp", "--csv", env=second)
    assert "TERMINATED" in listed.out, listed
    assert "loss = 0.5" in laptop.call("best", f"{url}/exp", env=second).out
    shown = laptop.call("status", f"{url}/exp", env=second).out
    assert "finished" in shown
    cached = next((laptop.home / ".cache" / "hpctune" / "mirrors").glob("*/exp"))
    read = laptop.call("run", "read.py", "--", f"{url}/exp", env=second)
    assert "Error" not in read.err, read
    for named in (f"{url}/exp", cached):
        refused = laptop.call("stop", named, env=second)
        assert "is a copy: it can be looked at, but not changed" in refused.err
    go.touch()
    resumed = laptop.call("resume", cached, "--errored", env=second)  # as the command in status says
    assert resumed.code == 0, resumed
    trials = read_experiment(two / "exp").state.trials.values()
    assert {(t.config["x"], t.last["loss"], t.last["from"]) for t in trials if t.last} == {(1, 0.25, 2), (2, 0.5, 0)}
    assert "copied 0 files" in laptop.call("sync", "exp", env=second).out
    packed = laptop.call("export", "exp", f"sftp://{NAME}/~/exp.tar.gz", env=second)  # directly in the home directory
    assert packed.code == 0, packed
    assert (sshd.home / "exp.tar.gz").is_file()
    fetched = laptop.call("fetch", f"{url}/exp", "here", env=second)
    assert fetched.code == 0, fetched
    assert read_experiment(laptop.work / "here").state.trials == read_experiment(two / "exp").state.trials


@pytest.mark.nightly
def test_a_server_that_refuses_is_told_before_anything_is_made(laptop: Laptop, sshd: Sshd) -> None:  # noqa: F811
    """An unknown host, with the command that accepts it; no key that it accepts; and a key of TUNE_CLUSTER_SSH_KEY."""
    (laptop.work / "search.py").write_text(SCRIPT)
    env = {"HPCTUNE_RESULT_DIR": str(laptop.work / "results")}
    url = f"sftp://{getpass.getuser()}@127.0.0.1:{sshd.port}{laptop.work}/copies"
    run = ("run", "search.py", "--", str(laptop.work), url)
    known = laptop.known_hosts.read_text()
    laptop.known_hosts.write_text("")
    unknown = laptop.call(*run, env=env)
    assert unknown.code != 0
    assert "is not known" in unknown.err, unknown
    assert ">>" in unknown.err, "the command that accepts it"
    assert not list(laptop.work.glob("results/*")), "nothing was made"
    assert "is not known" in laptop.call("status", f"{url}/exp", env=env).err
    laptop.known_hosts.write_text(known)
    other = key(laptop.home / "other")
    sshd.authorized.write_text(other.with_suffix(".pub").read_text())
    refused = laptop.call(*run, env=env)
    assert "does not let you in" in refused.err, refused
    done = laptop.call(*run, env=env | {"TUNE_CLUSTER_SSH_KEY": str(other)})
    assert done.code == 0, done
    assert "no effect" not in done.err
    assert Path(laptop.work, "copies", "exp", "mirror.json").is_file()
    missing = laptop.call("status", f"{url}/exp", env=env | {"TUNE_CLUSTER_SSH_KEY": "/none"})
    assert "TUNE_CLUSTER_SSH_KEY: there is no file /none" in missing.err, missing


def test_urls_that_cannot_be(laptop: Laptop) -> None:  # noqa: F811
    assert "password must not be in a URL" in laptop.call("status", "sftp://me:secret@host/dir").err
    for url in ("sftp://host", "sftp://host:port/dir", "sftp:///dir"):
        assert "must be sftp://USER@HOST:PORT/DIRECTORY" in laptop.call("status", url).err
    assert "secret" not in laptop.call("status", "sftp://me:secret@host/dir").err
