"""The text of Slurm's configuration files: pure functions of the options."""

from __future__ import annotations

import socket

from .layout import Layout, user_name
from .options import Options

CLUSTER_NAME = "dev"


def controller_port(base_port: int) -> int:
    return base_port


def database_port(base_port: int) -> int:
    return base_port + 1


def slurm_conf(options: Options, layout: Layout, base_port: int) -> str:
    host = socket.gethostname().split(".")[0]  # slurmctld insists on its own name; the address spares a resolver
    user = user_name()
    root = layout.root
    first, last = base_port + 2, base_port + 1 + options.nodes
    gres = f"Gres=gpu:{options.gpus_per_node} " if options.gpus_per_node else ""
    nodes = f"{options.prefix}[1-{options.nodes}]" if options.nodes > 1 else f"{options.prefix}1"
    ports = f"[{first}-{last}]" if options.nodes > 1 else str(first)
    return f"""\
# Written by slurm-cluster; rewritten at every fresh start.
ClusterName={CLUSTER_NAME}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={base_port}
SlurmUser={user}
SlurmdUser={user}

# A munged of this cluster alone: any user can run it, and no cluster accepts another one's messages.
# cred_expire is also how long a requeued job must wait before it may start again.
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket},cred_expire={options.requeue_delay}

StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/state/slurmctld.pid
SlurmdPidFile={root}/state/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info

# No cgroups: they would need root or delegation.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none

# Two cores may pose as sixty-four: believe NodeName below, not the hardware.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu

# Schedule at once: people and tests wait for it. (Real sites: every 30 to 60 s.)
# sched_min_interval is in microseconds.
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,bf_resolution=60,bf_max_job_test=500,sched_interval=1,sched_min_interval=100000,\
batch_sched_delay=0,default_queue_depth=500,nohold_on_prolog_fail

ReturnToService=2
KillWait={options.kill_wait}
OverTimeLimit=0
InactiveLimit=0
# How long squeue and scontrol still know a job that has ended.
MinJobAge={options.min_job_age}
SlurmdTimeout={options.slurmd_timeout}
SlurmctldTimeout=10
MessageTimeout=10
BatchStartTimeout=10
MaxArraySize={options.max_array_size}
MaxJobCount=20000

# Refuse at submission what no node or partition could ever run, as most sites do.
EnforcePartLimits=ALL
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PreemptExemptTime=0
{_accounting_lines(options, layout, base_port)}
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={options.cpus_per_node} \
RealMemory={options.memory_per_node_mb} {gres}Feature=fake State=UNKNOWN

# main: the default, never preempted. scavenge: requeued when a higher tier needs its place, after GraceTime.
# urgent: goes first. short: limits small enough to be refused by.
PartitionName=DEFAULT Nodes=ALL State=UP DefMemPerCPU=500 DefaultTime=60 MaxTime=INFINITE
PartitionName=main Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge PriorityTier=1 PreemptMode=REQUEUE GraceTime={options.grace_time}
PartitionName=urgent PriorityTier=100 PreemptMode=OFF
PartitionName=short PriorityTier=10 PreemptMode=OFF DefaultTime=1 MaxTime=5 MaxNodes=1
"""


def _accounting_lines(options: Options, layout: Layout, base_port: int) -> str:
    if not options.accounting:
        return ""  # no line at all is every version's way to say "none"
    lines = [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={database_port(base_port)}",
        f"AccountingStoragePass={layout.munge_socket}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStoreFlags=job_comment",
    ]
    if options.enforce:
        lines.append(f"AccountingStorageEnforce={options.enforce}")
    return "\n".join(lines) + "\n"


def gres_conf(options: Options, layout: Layout) -> str:
    """Fake GPUs: each is a symbolic link to /dev/null, which is all that Slurm looks at without cgroups."""
    if not options.gpus_per_node:
        return ""
    last = options.gpus_per_node - 1
    files = f"gpu[0-{last}]" if last else "gpu0"
    return f"Name=gpu File={layout.root}/gpu/{files}\n"


def cgroup_conf(version: tuple[int, int]) -> str:
    """slurmd loads a cgroup plugin even where nothing uses it: choose the one that touches nothing."""
    return "CgroupPlugin=disabled\n" if version >= (23, 11) else "CgroupPlugin=cgroup/v1\n"


def slurmdbd_conf(layout: Layout, base_port: int) -> str:
    user = user_name()
    return f"""\
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_port(base_port)}
SlurmUser={user}
DebugLevel=info
LogFile={layout.log}/slurmdbd.log
PidFile={layout.root}/state/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm_acct
"""
