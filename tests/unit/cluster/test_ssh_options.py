"""The options of workstations."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from hpctune.cluster.choice import ClusterChoice, reopen_cluster, resolve_cluster
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.errors import UsageError


def test_each_machine_has_the_options_that_it_does_not_set() -> None:
    options = SshOptions(
        hosts=[
            "ws1",
            {"host": "ann@ws2:2222", "gpus": [1, 3], "python": "python3.12"},
            Workstation(host="ws3", cpus=4),
        ],
        python="~/py/bin/python",
        directory="/scratch",
    )
    assert options.workstations == (
        Workstation(host="ws1", python="~/py/bin/python", directory="/scratch"),
        Workstation(host="ann@ws2:2222", gpus=("1", "3"), python="python3.12", directory="/scratch"),
        Workstation(host="ws3", cpus=4, python="~/py/bin/python", directory="/scratch"),
    )
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hosts": []}, "must be a list of machines"),
        ({"hosts": "ws1"}, "must be a list of machines"),
        ({"hosts": ["ws1", "ws1"]}, "names ws1 twice"),
        ({"hosts": ["a b"]}, "is not a host"),
        ({"hosts": [3]}, "must be a text"),
        ({"hosts": [{"cpus": 3}]}, "Workstation needs host"),
        ({"hosts": [{"host": "ws1", "gpu": 3}]}, "has no option 'gpu'. Did you mean 'gpus'?"),
        ({"hosts": [{"host": "ws1", "cpus": 0}]}, "cpus"),
        ({"hosts": ["ws1"], "lost_after_s": 0}, "lost_after_s"),
        ({"hosts": ["ws1"], "env": {"A B": "x"}}, "env"),
        ({"python": "python3"}, "SshOptions needs hosts"),
        ({"hosts": ["ws1"], "workers": 3}, "has no option 'workers'"),
    ],
)
def test_what_is_impossible_is_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        SshOptions.from_mapping(values)


def test_a_machine_that_the_command_line_names_keeps_its_options() -> None:
    own = Workstation(host="ws2", cpus=4, python="~/py/bin/python")
    choice = resolve_cluster(SshOptions(hosts=["ws1", own]), hosts=("ws2", "ws3"))
    assert isinstance(choice.options, SshOptions)
    assert choice.options.hosts == (own, Workstation(host="ws3"))


def test_a_resume_reads_what_was_stored() -> None:
    options = SshOptions(hosts=["ws1", Workstation(host="ws2", gpus=[0])], setup="module load x", patience_s=60.0)
    stored = json.loads(json.dumps(ClusterChoice("ssh", options).to_json()))
    assert reopen_cluster("ssh", stored).options == options
    changed = reopen_cluster("ssh", stored, hosts=("ws3",), slurm_changes={"python": "py", "partition": "p"}).options
    assert changed == SshOptions(hosts=["ws3"], setup="module load x", patience_s=60.0, python="py")
    assert reopen_cluster("local", {}, hosts=("ws3",)).options == SshOptions(hosts=["ws3"])
    assert reopen_cluster("ssh", stored, name="local").name == "local"


def test_the_command_line_and_the_script_name_machines() -> None:
    script = SshOptions(hosts=["ws1"], kill_wait_s=5.0)
    assert resolve_cluster(script).options == script
    assert resolve_cluster(script, hosts=("ws2", "ws3")).options == SshOptions(hosts=["ws2", "ws3"], kill_wait_s=5.0)
    assert resolve_cluster(LocalOptions(), hosts=("ws2",)).options == SshOptions(hosts=["ws2"])
    assert resolve_cluster(None, SlurmOptions(partition="p"), hosts=("ws2",)).name == "ssh"
    assert resolve_cluster(script, name="local").name == "local"
    assert resolve_cluster(script, name="slurm").name == "slurm"
    for name in ("slurm", "local", "debug", "auto"):
        with pytest.raises(UsageError, match="is another cluster"):
            resolve_cluster(None, name=name, hosts=("ws1",))
    with pytest.raises(UsageError, match="needs its machines"):
        resolve_cluster("ssh")
    with pytest.raises(UsageError, match="Workers that stay"):
        resolve_cluster(script).with_workers(2)
